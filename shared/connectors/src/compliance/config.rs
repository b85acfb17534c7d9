//! Connections: good ones pass, errors point at their field, secrets stay names.

use halcyon_domain::{clock::ManualClock, test_run::CheckStatus};
use serde_json::{Value, json};

use super::{ALONE, LISTENING, nowhere};
use crate::{
    CheckContext, SecretValue, Secrets, SourceContext, catalog, secret_names, specs, validate_connection,
};

#[test]
fn the_example_is_valid_and_unknown_fields_are_not() {
    for spec in specs() {
        let connection = spec.example.clone();
        assert_eq!(
            validate_connection(spec.type_name, &connection),
            [],
            "{}",
            spec.type_name
        );
        let mut extra = connection;
        extra["no_such_field"] = json!("canary");
        let errors = validate_connection(spec.type_name, &extra);
        assert_eq!(errors.len(), 1);
        assert_eq!(
            (errors[0].pointer.as_str(), errors[0].code.as_str()),
            ("/no_such_field", "unknown_field")
        );
    }
}

#[test]
fn a_wrong_type_is_said_at_its_field_without_its_value() {
    for spec in specs() {
        let properties = spec.config_schema["properties"].as_object().unwrap();
        for name in properties.keys() {
            let mut connection = spec.example.clone();
            // No field of any connector holds a list of a list.
            connection[name] = json!([["canary"]]);
            let errors = validate_connection(spec.type_name, &connection);
            assert!(!errors.is_empty(), "{}/{name}", spec.type_name);
            for error in errors {
                assert!(
                    error.pointer.starts_with(&format!("/{name}")),
                    "{}: {error}",
                    spec.type_name
                );
                assert!(!error.detail.contains("canary"), "{}: {error}", spec.type_name);
            }
        }
        for wrong in [json!(null), json!([]), json!("canary"), json!(1)] {
            let errors = validate_connection(spec.type_name, &wrong);
            assert!(
                !errors.is_empty() && !format!("{errors:?}").contains("canary"),
                "{}",
                spec.type_name
            );
        }
    }
    assert_eq!(
        validate_connection("nothing", &json!({}))[0].code,
        "unknown_connector"
    );
}

#[tokio::test]
async fn a_check_names_its_results_and_never_shows_a_secret() {
    let clock = ManualClock::at(chrono::DateTime::from_timestamp(0, 0).unwrap());
    for connector in catalog() {
        let connection = connector.spec().example.clone();
        let mut full = Secrets::none();
        for name in secret_names(&connection) {
            full.insert(name, SecretValue::new("canary-value"));
        }
        for (secrets, complete) in [
            (&full, true),
            (&Secrets::none(), secret_names(&connection).is_empty()),
        ] {
            let context = CheckContext {
                connection: &connection,
                secrets,
                clock: &clock,
                guard: &nowhere(),
            };
            let results = connector.check(&context).await;
            assert!(!results.is_empty());
            let ok = results.iter().all(|result| result.status != CheckStatus::Failed);
            // Whoever has another side cannot reach it here, and must say so.
            let spec = connector.spec();
            let alone = !spec.capabilities.pull
                || ALONE.contains(&spec.type_name)
                || LISTENING.contains(&spec.type_name);
            assert_eq!(ok, complete && alone, "{results:?}");
            let mut names: Vec<_> = results.iter().map(|result| &result.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), results.len(), "names are unique");
            for result in &results {
                assert!(!result.name.is_empty() && !result.message.is_empty());
                assert!(
                    result.status != CheckStatus::Failed || result.remedy.is_some(),
                    "{result:?}"
                );
            }
            assert!(!format!("{results:?}").contains("canary"), "{results:?}");
        }
        let context = CheckContext {
            connection: &Value::Null,
            secrets: &full,
            clock: &clock,
            guard: &nowhere(),
        };
        let results = connector.check(&context).await;
        assert!(
            results.iter().any(|result| result.status == CheckStatus::Failed),
            "{results:?}"
        );
    }
}

#[test]
fn no_secret_is_in_what_debug_prints() {
    for connector in catalog() {
        let spec = connector.spec();
        let mut secrets = Secrets::none();
        secrets.insert("signing", SecretValue::new("canary-value"));
        let context = SourceContext {
            connection: json!({"password": "canary-value"}),
            secrets: secrets.clone(),
            checkpoint: None,
            limits: crate::BatchLimits::default(),
            share: crate::Share::WHOLE,
            range: None,
            sample: false,
            clock: std::sync::Arc::new(halcyon_domain::clock::SystemClock),
            guard: nowhere(),
        };
        assert!(!format!("{secrets:?} {context:?} {spec:?}").contains("canary-value"));
        let text = serde_json::to_string(spec).unwrap();
        assert!(text.contains(spec.type_name));
    }
}

#[test]
fn each_side_is_there_that_the_capabilities_promise() {
    for connector in catalog() {
        let connection = connector.spec().example.clone();
        let capabilities = connector.spec().capabilities;
        assert_eq!(connector.verifier(&connection).is_ok(), capabilities.push);
        // Whether a source can be made of the example's secrets is for the connector's own tests.
        let made = super::source::open(*connector, None);
        assert_eq!(
            matches!(made, Err(crate::Error::Unsupported { .. })),
            !capabilities.pull
        );
    }
}
