//! What requests are refused for before they are run.

use super::*;

fn survey(text: &str, variables: serde_json::Value) -> Result<(), String> {
    check_text(text).map_err(|error| error.message)?;
    let document = async_graphql::parser::parse_query(text).unwrap();
    let paged = BTreeSet::from(["datasources".to_owned()]);
    Survey::new(&document, &Variables::from_json(variables), &paged)
        .check()
        .map_err(|error| error.message)
}

#[track_caller]
fn refused_for(text: &str, what: &str) {
    let message = survey(text, serde_json::Value::Null).unwrap_err();
    assert!(message.contains(what), "{message}");
}

#[test]
fn a_page_costs_as_many_times_as_it_has_objects() {
    let query = |first: &str| {
        format!("query q($n: Int) {{ datasources(first: {first}) {{ edges {{ node {{ id name }} }} }} }}")
    };
    assert!(survey(&query("200"), serde_json::Value::Null).is_ok());
    refused_for(&query("99999"), "a cost");
    assert!(survey(&query("$n"), serde_json::json!({"n": 99_999})).is_err());
    assert!(survey(&query("$n"), serde_json::json!({"n": 10})).is_ok());
    // What an operation takes for a variable that is not given counts, too.
    let defaulted = query("$n").replace("Int)", "Int = 99999)");
    refused_for(&defaulted, "a cost");
    assert!(survey(&defaulted, serde_json::json!({"n": 10})).is_ok());
    let nested = "{ datasources { a: datasources { b: datasources { id } } } }";
    refused_for(nested, "a cost");
}

#[test]
fn fragments_that_double_are_added_up_in_no_time() {
    let mut text = String::from("{ ...f0 }");
    for number in 0..40 {
        let next = number + 1;
        text += &format!(" fragment f{number} on Query {{ me {{ ...f{next} }} you: me {{ ...f{next} }} }}");
    }
    text += " fragment f40 on Query { id }";
    assert!(survey(&text, serde_json::Value::Null).is_err());
    // One that uses itself ends, too.
    let _ = survey(
        "{ ...f } fragment f on Query { me { ...f } }",
        serde_json::Value::Null,
    );
}

#[test]
fn aliases_roots_depth_and_directives_have_limits() {
    let many = |number: usize, one: &dyn Fn(usize) -> String| (0..number).map(one).collect::<String>();
    refused_for(
        &format!("{{ me {{ {} }} }}", many(31, &|n| format!("a{n}: id "))),
        "aliases",
    );
    refused_for(
        &format!("{{ {} }}", many(21, &|n| format!("f{n} "))),
        "at its root",
    );
    refused_for(
        &format!("{{ {} id {} }}", "a { ".repeat(20), "} ".repeat(20)),
        "a depth",
    );
    refused_for(
        &format!("{{ id {} }}", "@skip(if: true) ".repeat(31)),
        "directives",
    );
    refused_for("subscription { a b }", "subscriptions");
    let lists = "{ __schema { types { fields { type { fields { type { inputFields { name } } } } } } } }";
    refused_for(lists, "schema's lists");
}

#[test]
fn a_text_is_judged_before_it_is_parsed() {
    refused_for(&"{a".repeat(20_000), "a nesting");
    refused_for(&"[".repeat(49), "a nesting");
    refused_for(&" ".repeat(MAX_TEXT + 1), "a text");
    // What is in quotes or comments is no nesting.
    let text = format!("{{ me }} # {}", "{".repeat(100));
    assert!(check_text(&text).is_ok());
    let text = format!(
        "{{ a(b: \"{0}\\\"{0}\", c: \"\"\"{0}\\\"\"\"{0}\"\"\") }}",
        "{".repeat(100)
    );
    assert!(check_text(&text).is_ok());
}

/// What the whole schema says of a text, with all that looks at it before it is run.
fn answered(text: String) -> Vec<String> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let api = crate::graphql::api();
        let limits = Limits::new(api.paged.clone());
        let schema = api
            .finish(|builder| builder.extension(limits).limit_recursive_depth(MAX_DEPTH))
            .unwrap();
        let answer = futures::executor::block_on(schema.execute(text));
        drop(tell.send(answer.errors.into_iter().map(|error| error.message).collect()));
    });
    told.recv_timeout(std::time::Duration::from_secs(60))
        .expect("the text is looked at without end")
}

#[test]
fn fragments_that_multiply_are_refused_before_anybody_follows_them() {
    let mut text = String::from("{ ...f0 }");
    for number in 0..18 {
        let next = format!("...f{} ", number + 1).repeat(10);
        text += &format!(" fragment f{number} on Query {{ {next} }}");
    }
    text += " fragment f18 on Query { me { id } }";
    assert!(answered(text)[0].contains("a cost"));
}

#[test]
fn a_chain_of_fragments_is_refused_before_the_stack_ends() {
    for begin in ["{ ...f0 }", "{ me { id } }"] {
        let links = (0..2_000).map(|number| format!("fragment f{number} on Q{{...f{}}}", number + 1));
        let text = format!("{begin} {} fragment f2000 on Q{{id}}", links.collect::<String>());
        assert!(answered(text)[0].contains("a depth"), "{begin}");
    }
}
