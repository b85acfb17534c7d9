//! RFC 6587: counted octets and lines, in any pieces.

use super::super::framing::{Decoder, Frame, Framing, Lost};

fn frames(framing: Framing, most: usize, pieces: &[&str]) -> Result<Vec<(String, bool)>, Lost> {
    let mut decoder = Decoder::new(framing, most);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.take(piece.as_bytes(), &mut found)?;
    }
    decoder.finish(&mut found);
    let text = |Frame { bytes, truncated }: Frame| (String::from_utf8(bytes).unwrap(), truncated);
    Ok(found.into_iter().map(text).collect())
}

fn whole(texts: &[&str]) -> Result<Vec<(String, bool)>, Lost> {
    Ok(texts.iter().map(|text| ((*text).to_owned(), false)).collect())
}

#[test]
fn counted_octets_may_hold_anything() {
    for framing in [Framing::Auto, Framing::OctetCounted] {
        assert_eq!(
            frames(framing, 99, &["6 <1>a\nb8 <2>", "12345", "3 <3>"]),
            whole(&["<1>a\nb", "<2>12345", "<3>"])
        );
        assert_eq!(
            frames(framing, 99, &["5 <1>ab\n5 <2>cd\n"]),
            whole(&["<1>ab", "<2>cd"])
        );
        // Cut off: it is not known what is missing.
        assert_eq!(frames(framing, 99, &["9 <1>abc"]), whole(&[]));
    }
}

#[test]
fn lines_end_as_senders_end_them() {
    for framing in [Framing::Auto, Framing::Newline] {
        assert_eq!(
            frames(framing, 99, &["<1>a\n<2>b\r\n\n<3>c\0<4>", "d"]),
            whole(&["<1>a", "<2>b", "<3>c", "<4>d"])
        );
    }
    assert_eq!(frames(Framing::Newline, 99, &["5 abcde\n"]), whole(&["5 abcde"]));
    assert_eq!(
        frames(Framing::Auto, 99, &["2026-01-01 x\n12:00\n0 a\n"]),
        whole(&["2026-01-01 x", "12:00", "0 a"])
    );
}

#[test]
fn both_may_come_over_one_connection() {
    assert_eq!(
        frames(Framing::Auto, 99, &["5 <1>ab<2>line\n4 <3>c"]),
        whole(&["<1>ab", "<2>line", "<3>c"])
    );
}

#[test]
fn what_is_too_long_is_cut_and_the_next_is_whole() {
    let expected = Ok(vec![("12345".to_owned(), true), ("<2>b".to_owned(), false)]);
    assert_eq!(
        frames(Framing::OctetCounted, 5, &["10 12345", "67890", "4 <2>b"]),
        expected
    );
    assert_eq!(frames(Framing::Newline, 5, &["12345", "67890\n<2>b\n"]), expected);
}

#[test]
fn a_sender_that_does_not_count_is_found_out() {
    for text in ["<1>a\n", "05 <1>ab", "5<1>ab", "1234567890 x", " 5 x"] {
        assert_eq!(frames(Framing::OctetCounted, 99, &[text]), Err(Lost), "{text}");
    }
}
