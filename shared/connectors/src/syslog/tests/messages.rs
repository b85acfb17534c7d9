//! The examples of RFC 5424 and RFC 3164, what vendors make of the latter, and any bytes at all.

use chrono::{DateTime, FixedOffset};
use halcyon_domain::clock::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    framing::{Decoder, Frame, Framing},
    message::{Message, parse},
    record::{Origin, Reading, record},
};

fn now() -> Timestamp {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

fn utc() -> FixedOffset {
    FixedOffset::east_opt(0).unwrap()
}

fn read(text: &str) -> Message<'_> {
    parse(text, now(), utc())
}

#[test]
fn the_examples_of_rfc_5424_are_read() {
    let first = read(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
    );
    assert_eq!(
        (first.format, first.facility(), first.severity()),
        ("rfc5424", Some("auth"), Some("crit"))
    );
    assert_eq!(first.timestamp.as_deref(), Some("2003-10-11T22:14:15.003Z"));
    assert_eq!(
        (first.host, first.app, first.procid, first.msgid),
        (Some("mymachine.example.com"), Some("su"), None, Some("ID47"))
    );
    assert_eq!(first.text, "'su root' failed for lonvick on /dev/pts/8");

    let second = read(
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
    );
    assert_eq!(
        (second.facility(), second.severity()),
        (Some("local4"), Some("notice"))
    );
    assert_eq!(
        second.timestamp.as_deref(),
        Some("2003-08-24T05:14:15.000003-07:00")
    );
    assert_eq!((second.host, second.procid), (Some("192.0.2.1"), Some("8710")));
    assert_eq!(second.text, "%% It's time to make the do-nuts.");

    let third = read(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"]",
    );
    assert_eq!(
        Value::Object(third.structured_data),
        json!({"exampleSDID@32473": {"iut": "3", "eventSource": "Application", "eventID": "1011"}, "examplePriority@32473": {"class": "high"}})
    );
    assert_eq!(third.text, "");
}

#[test]
fn structured_data_keeps_escapes_repeats_and_empty_elements() {
    let found = read(r#"<13>1 - - - - - [a@1 v="x\"y\\z\]w\n" ip="1" ip="2" ip="3"][timeQuality] text"#);
    assert_eq!(
        Value::Object(found.structured_data),
        json!({"a@1": {"v": "x\"y\\z]w\\n", "ip": ["1", "2", "3"]}, "timeQuality": {}})
    );
    assert_eq!((found.text, found.timestamp, found.host), ("text", None, None));
    for broken in [
        "[a@1 v=\"x\" text",
        "[a@1 v=x] text",
        "[] text",
        "[a \"b\"] text",
        "x text",
        "[a@1 v=\"x\\\"] text",
    ] {
        let text = format!("<13>1 - - - - - {broken}");
        let found = read(&text);
        assert_eq!(found.format, "rfc3164", "{broken}");
        assert!(found.text.ends_with(broken), "nothing of it is lost: {found:?}");
    }
}

#[test]
fn the_examples_of_rfc_3164_are_read() {
    let first = read("<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8");
    assert_eq!(
        (first.format, first.facility(), first.severity()),
        ("rfc3164", Some("auth"), Some("crit"))
    );
    assert_eq!(first.timestamp.as_deref(), Some("2025-10-11T22:14:15Z"));
    assert_eq!(
        (first.host, first.app, first.procid),
        (Some("mymachine"), Some("su"), None)
    );
    assert_eq!(first.text, "'su root' failed for lonvick on /dev/pts/8");

    let second = read("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!");
    assert_eq!(
        (second.host, second.app, second.text),
        (Some("10.0.0.99"), None, "Use the BFG!")
    );

    let third = read("Use the BFG!");
    assert_eq!(
        (third.format, third.priority, third.text),
        ("none", None, "Use the BFG!")
    );

    let fourth =
        read("<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!");
    assert_eq!(fourth.severity(), Some("emerg"));
    assert!(fourth.text.ends_with("sched[0]: That's All Folks!"));
}

#[test]
fn what_vendors_send_is_read() {
    type Expected = (
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
    );
    let cases: [(&str, Expected); 10] = [
        (
            "<30>Jan  1 00:00:01 web sshd[4711]: hello",
            (
                Some("2026-01-01T00:00:01Z"),
                Some("web"),
                Some("sshd"),
                Some("4711"),
                "hello",
            ),
        ),
        (
            "<166>Jan 01 2026 00:00:01: %ASA-6-302013: Built",
            (
                Some("2026-01-01T00:00:01Z"),
                None,
                Some("%ASA-6-302013"),
                None,
                "Built",
            ),
        ),
        (
            "<166>Jan 01 2026 00:00:01 asa : %ASA-6-302013: Built",
            (
                Some("2026-01-01T00:00:01Z"),
                Some("asa"),
                None,
                None,
                ": %ASA-6-302013: Built",
            ),
        ),
        (
            "<30>2026-01-01T00:00:01.5+02:00 web app: hello",
            (
                Some("2026-01-01T00:00:01.500+02:00"),
                Some("web"),
                Some("app"),
                None,
                "hello",
            ),
        ),
        (
            "<30>Jan  1 00:00:01.250 web app[a-b] hello",
            (
                Some("2026-01-01T00:00:01.250Z"),
                Some("web"),
                Some("app"),
                Some("a-b"),
                "hello",
            ),
        ),
        ("<30>su: bare", (None, None, Some("su"), None, "bare")),
        (
            "<30>just some: words",
            (None, None, None, None, "just some: words"),
        ),
        (
            "<134>Jan  1 00:00:01 fw CEF:0|a|b|c|d|e|5|",
            (
                Some("2026-01-01T00:00:01Z"),
                Some("fw"),
                None,
                None,
                "CEF:0|a|b|c|d|e|5|",
            ),
        ),
        (
            "<134>CEF:0|a|b|c|d|e|5|",
            (None, None, None, None, "CEF:0|a|b|c|d|e|5|"),
        ),
        (
            "<30>Feb 30 00:00:01 web app: hello",
            (None, None, None, None, "Feb 30 00:00:01 web app: hello"),
        ),
    ];
    for (text, (timestamp, host, app, procid, rest)) in cases {
        let found = read(text);
        assert_eq!(
            (
                found.timestamp.as_deref(),
                found.host,
                found.app,
                found.procid,
                found.text
            ),
            (timestamp, host, app, procid, rest),
            "{text}"
        );
    }
}

#[test]
fn a_priority_is_at_most_191() {
    assert_eq!(read("<191>x: y").priority, Some(191));
    for wrong in [
        "<192>x", "<>x", "<1234>x", "<-1>x", "<1 >x", "<34", "34>x", "", "<+1>x",
    ] {
        assert_eq!((read(wrong).priority, read(wrong).text), (None, wrong));
    }
}

#[test]
fn the_year_is_the_one_that_does_not_lie_ahead() {
    let zone = FixedOffset::east_opt(7_200).unwrap();
    let at = |now: &str, text: &str| {
        let now = DateTime::parse_from_rfc3339(now).unwrap().to_utc();
        parse(&format!("<1>{text} h t: m"), now, zone).timestamp.unwrap()
    };
    assert_eq!(
        at("2026-01-01T00:30:00Z", "Dec 31 23:59:59"),
        "2025-12-31T23:59:59+02:00"
    );
    // A clock that is fast.
    assert_eq!(
        at("2025-12-31T21:00:00Z", "Jan  1 00:00:10"),
        "2026-01-01T00:00:10+02:00"
    );
    assert_eq!(
        at("2025-02-01T00:00:00Z", "Feb 29 12:00:00"),
        "2024-02-29T12:00:00+02:00"
    );
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let frame = Frame {
        bytes: b"<13>Jan  1 00:00:01 h t: \xff\x00x".to_vec(),
        truncated: true,
    };
    let made = make(&frame, false);
    assert_eq!(made["raw_base64"], "PDEzPkphbiAgMSAwMDowMDowMSBoIHQ6IP8AeA==");
    assert_eq!((&made["truncated"], &made["host"]), (&json!(true), &json!("h")));
}

#[test]
fn equal_content_is_one_event_only_where_that_is_asked_for() {
    let origin = |last| Origin {
        sender: [192, 0, 2, last].into(),
        transport: "udp",
    };
    let frame = Frame {
        bytes: b"<13>same".to_vec(),
        truncated: false,
    };
    let key = |by_content, last, own: &str| {
        let reading = Reading {
            zone: utc(),
            by_content,
        };
        record(&frame, origin(last), reading, now(), || own.to_owned())
            .unwrap()
            .dedupe_key
            .unwrap()
    };
    assert_eq!(key(false, 1, "a-1"), "a-1");
    assert_eq!(key(true, 1, "a-1"), key(true, 1, "a-2"));
    assert_ne!(key(true, 1, "a-1"), key(true, 2, "a-1"));
}

fn make(frame: &Frame, by_content: bool) -> Value {
    let origin = Origin {
        sender: [192, 0, 2, 1].into(),
        transport: "tcp",
    };
    let reading = Reading {
        zone: utc(),
        by_content,
    };
    let made = record(frame, origin, reading, now(), || "1".to_owned()).unwrap();
    serde_json::from_slice(&made.bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_make_a_record(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        make(&Frame { bytes, truncated: false }, true);
    }

    #[test]
    fn what_looks_like_a_message_makes_a_record(
        text in r#"<[0-9]{1,3}>(1 )?(Jan|Feb|2026-01-01T00:00:00Z|-)? ?([0-9]{1,2} )?([0-9:.]{8} )?[a-z\[\]:"= \\-]{0,40}(CEF:0\||LEEF:2\.0\|)?[a-zA-Z\\|=^\u{80}-\u{fff} \[\]"]{0,80}"#
    ) {
        let made = make(&Frame { bytes: text.clone().into_bytes(), truncated: false }, false);
        prop_assert_eq!(made["raw"].as_str(), Some(text.as_str()));
        prop_assert!(text.ends_with(made["message"].as_str().unwrap()));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn frames_do_not_depend_on_how_the_bytes_came(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' '), b'0'..=b'9'], 0..200),
        cuts in proptest::collection::vec(1_usize..20, 1..30),
        framing in prop_oneof![Just(Framing::Auto), Just(Framing::OctetCounted), Just(Framing::Newline)],
    ) {
        let whole = decode(framing, &bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(decode(framing, &bytes, &cuts), whole);
    }
}

fn decode(framing: Framing, mut bytes: &[u8], cuts: &[usize]) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new(framing, 50);
    let mut found = Vec::new();
    for cut in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (here, rest) = bytes.split_at(bytes.len().min(*cut));
        if decoder.take(here, &mut found).is_err() {
            return (found, false);
        }
        bytes = rest;
    }
    decoder.finish(&mut found);
    assert!(found.iter().all(|frame| frame.bytes.len() <= 50));
    (found, true)
}
