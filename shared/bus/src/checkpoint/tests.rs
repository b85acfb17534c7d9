//! The history of places.

use serde_json::json;

use super::*;

#[test]
fn earlier_places_are_kept_one_a_minute_and_whenever_another_writes() {
    let at = |seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
    let mut checkpoint = Checkpoint::new(1, Value::Null, at(0));
    for second in 1..=180 {
        checkpoint.advance(json!(second), "worker a", at(second));
    }
    let places = |checkpoint: &Checkpoint| -> Vec<Value> {
        let history = checkpoint.history.iter();
        history.map(|earlier| earlier.position.clone()).collect()
    };
    assert_eq!(places(&checkpoint), [json!(1), json!(61), json!(121)]);
    checkpoint.advance(json!(5), "carol", at(181));
    checkpoint.advance(json!(6), "worker b", at(182));
    let history = &checkpoint.history;
    assert_eq!(
        (history[3].by.as_deref(), &history[3].position),
        (Some("worker a"), &json!(180))
    );
    assert_eq!(
        (history[4].by.as_deref(), &history[4].position),
        (Some("carol"), &json!(5))
    );
    for minute in 4..100 {
        checkpoint.advance(json!("x".repeat(3_000)), "worker b", at(minute * 60));
    }
    assert_eq!(checkpoint.history.len(), 10);
    for minute in 100..200 {
        checkpoint.advance(json!(minute), "worker b", at(minute * 60));
    }
    assert_eq!(checkpoint.history.len(), HISTORY.0);
}

#[test]
fn a_large_place_that_was_left_by_hand_is_kept_alone_of_its_kind() {
    let at = |minutes| Timestamp::UNIX_EPOCH + TimeDelta::minutes(minutes);
    let large = |fill: &str| json!(fill.repeat(HISTORY.1));
    let mut checkpoint = Checkpoint::new(1, Value::Null, at(0));
    for minute in 1..4 {
        checkpoint.advance(large("a"), "worker a", at(minute));
    }
    assert_eq!(checkpoint.history, []);
    checkpoint.go_to(Value::Null, "carol", at(4), true);
    checkpoint.advance(json!(1), "worker a", at(5));
    checkpoint.advance(json!(2), "worker a", at(6));
    let places = |checkpoint: &Checkpoint| -> Vec<Value> {
        let history = checkpoint.history.iter();
        history.map(|earlier| earlier.position.clone()).collect()
    };
    assert_eq!(places(&checkpoint), [large("a"), json!(1)]);
    checkpoint.advance(large("b"), "worker a", at(8));
    checkpoint.go_to(json!(3), "carol", at(9), true);
    assert_eq!(places(&checkpoint), [json!(1), json!(2), large("b")]);
}
