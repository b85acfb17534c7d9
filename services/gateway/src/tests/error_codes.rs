//! Every code that an error can have is described, and `docs/reference/errors.md` is made of the descriptions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use halcyon_tests::reference::{check, code, page, table};

const LIST: &str = include_str!("../error_codes.toml");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The crates whose errors come to users of the API.
const CRATES: [&str; 5] = [
    "services/gateway",
    "shared/domain",
    "shared/connectors",
    "shared/mapping",
    "shared/sandbox",
];

#[derive(serde::Deserialize)]
struct List {
    problem: BTreeMap<String, (u16, String)>,
    input: BTreeMap<String, String>,
}

fn list() -> List {
    toml::from_str(LIST).unwrap()
}

/// The crate whose errors of fields come to users through the gateway.
const BEHIND: &str = "services/registry";

/// What makes an error of a code: what is before the arguments, and which of them is the code.
const PROBLEMS: [(&str, usize); 2] = [("Problem::new(", 1), ("Problem::conflict(", 0)];
/// The same in the problem's own file.
const OWN: [(&str, usize); 2] = [("Self::new(", 1), ("Self::conflict(", 0)];
const INPUTS: [(&str, usize); 4] = [
    ("InputError::new(", 1),
    ("Error::field(", 1),
    ("notes.add(", 1),
    ("Failure::new(", 0),
];

/// Every source file of a crate that is no test.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, files);
        } else if name.ends_with(".rs") && !name.contains("tests") {
            files.push(path);
        }
    }
}

/// The arguments that follow an opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        let last = all.last_mut().unwrap();
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(c);
    }
    all
}

/// The code that an argument is, if it is written out there.
fn literal(argument: &str) -> Option<String> {
    let word = argument.trim().strip_prefix('"')?.strip_suffix('"')?;
    let fits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    fits.then(|| word.to_owned())
}

fn calls(text: &str, calls: &[(&str, usize)], codes: &mut BTreeSet<String>) {
    for (call, index) in calls {
        for (at, _) in text.match_indices(call) {
            let open = at + call.find('(').unwrap() + 1;
            codes.extend(
                arguments(&text[open..])
                    .get(*index)
                    .and_then(|code| literal(code)),
            );
        }
    }
}

/// The codes in a struct's field `code`, and those that a `fn code` gives.
fn named(text: &str, codes: &mut BTreeSet<String>) {
    for (at, field) in text.match_indices("code: \"") {
        let rest = &text[at + field.len() - 1..];
        codes.extend(
            arguments(rest)
                .first()
                .and_then(|code| literal(code.trim_end_matches('}'))),
        );
    }
    for (at, function) in text.match_indices("fn code(") {
        let body = &text[at + function.len()..];
        let body = &body[..body.find("\n    }\n").unwrap_or(body.len())];
        let arms = body
            .split("=>")
            .skip(1)
            .filter_map(|arm| arm.trim_start().split(',').next());
        codes.extend(arms.filter_map(literal));
    }
}

/// The codes of problems and of fields, as the sources spell them.
fn used() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut problems, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    let mut files = Vec::new();
    for name in CRATES {
        sources(&Path::new(ROOT).join(name).join("src"), &mut files);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        calls(text, &PROBLEMS, &mut problems);
        if file.ends_with("gateway/src/problem.rs") {
            calls(text, &OWN, &mut problems);
        }
        calls(text, &INPUTS, &mut inputs);
        let of_requests = file.ends_with("http_webhook/body.rs") || file.ends_with("http_webhook/request.rs");
        let is_gateway = file.starts_with(Path::new(ROOT).join(CRATES[0]));
        named(
            text,
            if of_requests || is_gateway {
                &mut problems
            } else {
                &mut inputs
            },
        );
    }
    let mut behind = Vec::new();
    sources(&Path::new(ROOT).join(BEHIND).join("src"), &mut behind);
    for file in behind {
        let text = fs::read_to_string(&file).unwrap();
        calls(
            text.split("#[cfg(test)]\nmod tests").next().unwrap(),
            &INPUTS,
            &mut inputs,
        );
    }
    (problems, inputs)
}

#[test]
fn every_code_is_described_and_none_is_made_up() {
    let (list, (problems, inputs)) = (list(), used());
    assert!(
        problems.len() > 25 && inputs.len() > 20,
        "{problems:?} {inputs:?}"
    );
    let missing = |used: &BTreeSet<String>, known: &BTreeSet<String>| used - known;
    let known_problems: BTreeSet<_> = list.problem.keys().cloned().collect();
    let known_inputs: BTreeSet<_> = list.input.keys().cloned().collect();
    let of = "describe it in services/gateway/src/error_codes.toml";
    assert_eq!(
        missing(&problems, &known_problems),
        BTreeSet::new(),
        "[problem]: {of}"
    );
    assert_eq!(missing(&inputs, &known_inputs), BTreeSet::new(), "[input]: {of}");
    let all: BTreeSet<_> = problems.union(&inputs).cloned().collect();
    let unused = |known: &BTreeSet<String>| known - &all;
    assert_eq!(
        unused(&known_problems),
        BTreeSet::new(),
        "[problem]: no source has it"
    );
    assert_eq!(
        unused(&known_inputs),
        BTreeSet::new(),
        "[input]: no source has it"
    );
    for (code, (status, _)) in &list.problem {
        assert!((400..600).contains(status), "{code}");
    }
}

#[test]
fn the_errors_reference_is_up_to_date() {
    let list = list();
    let mut text = page("Errors", &["services/gateway/src/error_codes.toml"]);
    text.push_str(
        "Every error of the API is a problem (RFC 9457, `application/problem+json`): `type` is \
         `urn:halcyon:problem:` and a code of the first table, `errors` names what does not fit by JSON pointer and a \
         code of the second. GraphQL has the first in `extensions.code`. Codes are a contract: they stay, texts may \
         change. `trace_id` and the header `X-Request-Id` lead to the log.\n\n## Problems\n\n",
    );
    let rows = list
        .problem
        .iter()
        .map(|(word, (status, what))| vec![code(word), status.to_string(), what.clone()]);
    text.push_str(&table(&["Code", "Status", "What it says"], rows));
    text.push_str(
        "## Fields\n\nOf a body, a query (`/` and the parameter's name), a configuration or a payload.\n\n",
    );
    let rows = list
        .input
        .iter()
        .map(|(word, what)| vec![code(word), what.clone()]);
    text.push_str(&table(&["Code", "What it says"], rows));
    check("errors.md", &text);
}
