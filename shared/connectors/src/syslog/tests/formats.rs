//! CEF and LEEF, with what their descriptions say of escapes.

use serde_json::{Value, json};

use super::super::event::{cef, leef};

#[test]
fn cef_is_read() {
    let found = cef(
        "CEF:0|Security|threatmanager|1.0|100|worm successfully stopped|10|src=10.0.0.1 dst=2.1.2.2 spt=1232",
    )
    .unwrap();
    assert_eq!(
        serde_json::to_value(found).unwrap(),
        json!({
            "version": "0", "device_vendor": "Security", "device_product": "threatmanager", "device_version": "1.0",
            "device_event_class_id": "100", "name": "worm successfully stopped", "severity": "10",
            "extension": {"src": "10.0.0.1", "dst": "2.1.2.2", "spt": "1232"},
        })
    );
}

#[test]
fn the_escapes_of_cef_are_taken_away() {
    let found = cef(r"CEF:0|security|threat\|manager|1.0|100|detected a \\ in packet|10|src=10.0.0.1 act=blocked a \\ dst=1.1.1.1").unwrap();
    assert_eq!(
        (found.device_product.as_str(), found.name.as_str()),
        ("threat|manager", r"detected a \ in packet")
    );
    assert_eq!(
        Value::Object(found.extension),
        json!({"src": "10.0.0.1", "act": r"blocked a \", "dst": "1.1.1.1"})
    );

    let found = cef(r"CEF:0|security|threatmanager|1.0|100|detected a = in message|10|src=10.0.0.1 act=blocked a \= dst=1.1.1.1").unwrap();
    assert_eq!(found.name, "detected a = in message");
    assert_eq!(found.extension["act"], "blocked a =");

    let found =
        cef(r"CEF:0|s|t|1|1|n|10|src=10.0.0.1 msg=Detected a threat.\n No action needed.\r.").unwrap();
    assert_eq!(
        found.extension["msg"],
        "Detected a threat.\n No action needed.\r."
    );
}

#[test]
fn values_of_cef_have_spaces_pipes_and_unescaped_equals() {
    let found = cef("prefix CEF:1|v|p|1|1|n|High|request=https://x.example/?a=b&c=d cs1Label=Rule Name cs1=Block | all  filePath=C:\\Users\\a b deviceExternalId=").unwrap();
    assert_eq!(
        Value::Object(found.extension),
        json!({
            "request": "https://x.example/?a=b&c=d", "cs1Label": "Rule Name", "cs1": "Block | all",
            "filePath": "C:\\Users\\a b", "deviceExternalId": "",
        })
    );
}

#[test]
fn what_is_no_cef_is_none() {
    for text in [
        "",
        "CEF:",
        "CEF:x|a|b|c|d|e|f|",
        "CEF:0|a|b|c",
        "xCEF:0|a|b|c|d|e|f|",
        "about CEF: 12 events",
    ] {
        assert_eq!(cef(text), None, "{text}");
    }
    // Without the last bar, and twice the word.
    assert_eq!(cef("CEF: CEF:0|a|b|c|d|e|9").unwrap().severity, "9");
}

#[test]
fn leef_is_read() {
    let found = leef("LEEF:1.0|Microsoft|MSExchange|2013 SP1|15345|src=192.0.2.0\tdst=172.50.123.1\tsev=5\tcat=anomaly\turl=/a?b=c\tpath=\\\\srv\\share").unwrap();
    assert_eq!(
        serde_json::to_value(found).unwrap(),
        json!({
            "version": "1.0", "vendor": "Microsoft", "product": "MSExchange", "product_version": "2013 SP1", "event_id": "15345",
            "attributes": {"src": "192.0.2.0", "dst": "172.50.123.1", "sev": "5", "cat": "anomaly", "url": "/a?b=c", "path": "\\\\srv\\share"},
        })
    );
}

#[test]
fn leef_2_names_its_delimiter() {
    for (delimiter, written) in [
        ('^', "^"),
        ('\t', "x09"),
        ('\t', "0x09"),
        ('\t', ""),
        ('¦', "0xA6"),
        ('|', "0x7c"),
    ] {
        let text = format!("LEEF:2.0|V|P|1|E|{written}|a=1{delimiter}b=x y{delimiter}c=");
        let found = leef(&text).unwrap();
        assert_eq!(
            Value::Object(found.attributes),
            json!({"a": "1", "b": "x y", "c": ""}),
            "{text}"
        );
    }
    let escaped = leef(r"LEEF:2.0|V|P|1|E|^|a=1\^2^b\=c=d\=e^no value^=nothing").unwrap();
    assert_eq!(
        Value::Object(escaped.attributes),
        json!({"a": "1^2", "b=c": "d=e"})
    );
    // Without the field, some write 2.0 all the same.
    let without = leef("LEEF:2.0|V|P|1|E|src=1\tmsg=a|b").unwrap();
    assert_eq!(
        Value::Object(without.attributes),
        json!({"src": "1", "msg": "a|b"})
    );
}

#[test]
fn hostile_events_are_read_in_good_time() {
    let begun = std::time::Instant::now();
    for part in ["=", "a=", " a", " a=", "\\", "|", "CEF:", "CEF:0|", "\\=", "^"] {
        let long = part.repeat(1_000_000 / part.len());
        let _ = cef(&format!("CEF:0|a|b|c|d|e|f|{long}"));
        let _ = leef(&format!("LEEF:2.0|a|b|c|d|^|{long}"));
        let _ = cef(&long);
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
