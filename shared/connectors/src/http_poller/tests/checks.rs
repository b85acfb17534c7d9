//! What a check says, at which step, and who is reached at all.

use halcyon_domain::{
    clock::SystemClock,
    test_run::{CheckResult, CheckStatus},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::{Reply, Server, context, rows, run};
use crate::{
    CheckContext, Connector, Error, SecretValue, Secrets, compliance::loopback, http_poller::HttpPoller,
};

async fn check(connection: &Value) -> Vec<CheckResult> {
    let mut secrets = Secrets::none();
    secrets.insert("token", SecretValue::new("canary-token"));
    let context = CheckContext {
        connection,
        secrets: &secrets,
        clock: &SystemClock,
        guard: &loopback(),
    };
    let results = HttpPoller.check(&context).await;
    assert!(!format!("{results:?}").contains("canary"), "{results:?}");
    results
}

fn failed(results: &[CheckResult]) -> Vec<&str> {
    let failed = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed);
    failed.map(|result| result.name.as_str()).collect()
}

#[tokio::test]
async fn a_check_names_the_step_that_failed() {
    let good = Reply::json(&json!({"rows": rows(0..3)}));
    for (reply, expected) in [
        (good.clone(), None),
        (Reply::text(401, ""), Some("authenticate")),
        (Reply::text(403, ""), Some("permission")),
        (Reply::text(404, ""), Some("sample")),
        (Reply::text(500, ""), Some("sample")),
        (Reply::text(200, "<html>"), Some("sample")),
        (Reply::text(200, "{\"other\": []}"), Some("sample")),
    ] {
        let told = reply.status;
        let server = Server::start(move |_| reply.clone()).await;
        let connection = json!({
            "url": server.url("/"), "records": "rows", "auth": {"type": "bearer", "secret": {"$secret": "token"}},
        });
        let results = check(&connection).await;
        assert_eq!(
            failed(&results),
            expected.into_iter().collect::<Vec<_>>(),
            "{told}: {results:?}"
        );
        if expected.is_none() {
            let names: Vec<_> = results.iter().map(|result| result.name.as_str()).collect();
            let steps = [
                "configuration",
                "secrets",
                "resolve",
                "connect",
                "tls",
                "authenticate",
                "permission",
                "sample",
            ];
            assert_eq!(names, steps);
            assert!(results[7].message.contains('3'), "{results:?}");
        }
    }
    let all = good.clone();
    let server = Server::start(move |_| all.clone()).await;
    let cursor = json!({"path": "time", "kind": "timestamp"});
    let connection = json!({"url": server.url("/"), "records": "rows", "cursor": cursor});
    assert_eq!(failed(&check(&connection).await), ["sample"]);
    let (server, ca) = Server::start_tls(move |_| good.clone(), None).await;
    let at = |host: &str, port: u16| json!({"url": format!("https://{host}:{port}/"), "records": "rows"});
    assert_eq!(failed(&check(&at("localhost", server.port)).await), ["tls"]);
    assert_eq!(
        failed(&check(&at("no-such-host.invalid", 443)).await),
        ["resolve"]
    );
    let closed = halcyon_tests::ports::free();
    assert_eq!(failed(&check(&at("127.0.0.1", closed)).await), ["connect"]);
    let mut trusted = at("localhost", server.port);
    trusted["tls"] = json!({"ca": ca});
    assert_eq!(failed(&check(&trusted).await), [""; 0]);
    // A certificate of another name does not get better by trying again.
    trusted["url"] = format!("https://127.0.0.1:{}/", server.port).into();
    let outcome = run(context(trusted, None)).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_server_may_ask_for_a_certificate() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["client".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let good = Reply::json(&json!(rows(0..3)));
    let (server, ca) = Server::start_tls(move |_| good.clone(), Some(certificate.der().clone())).await;
    let url = format!("https://localhost:{}/", server.port);
    let without = json!({"url": url, "tls": {"ca": ca}});
    assert!(run(context(without, None)).await.is_err());
    let shown = json!({"ca": ca, "certificate": certificate.pem(), "key": {"$secret": "key"}});
    let mut context = context(json!({"url": url, "tls": shown}), None);
    context
        .secrets
        .insert("key", SecretValue::new(key.serialize_pem()));
    let (records, _) = run(context).await.unwrap();
    assert_eq!(records.len(), 3);
}

#[tokio::test]
async fn a_token_endpoint_inside_is_not_reached() {
    let server = Server::start(|_| Reply::json(&json!(rows(0..1)))).await;
    for inside in [
        "http://169.254.169.254/latest",
        "http://10.0.0.1/token",
        "http://[fd00::1]/",
    ] {
        let auth = json!({
            "type": "oauth2", "token_url": inside, "client_id": "c", "secret": {"$secret": "token"},
        });
        let outcome = run(context(json!({"url": server.url("/"), "auth": auth}), None)).await;
        assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    }
    assert_eq!(server.heard().len(), 0);
}
