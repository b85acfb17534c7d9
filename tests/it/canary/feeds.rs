//! What feeds take credentials for: requests that pass and that do not, secrets that are written and rotated.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::json;

use halcyon_tests::client::hmac_sha256_hex;

use super::recorder::{Canaries, Recorder};

fn event(seq: u64) -> Vec<u8> {
    json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"})
        .to_string()
        .into_bytes()
}

/// Feeds of each kind of authentication; requests that pass and requests that do not.
pub(super) async fn ingest(recorder: &mut Recorder, canaries: &Canaries) -> Vec<String> {
    let reference = json!({"$secret": "key"});
    let bearer = json!({"type": "bearer", "secret": reference});
    let api_key = json!({"type": "api_key", "header": "x-api-key", "secret": reference});
    let basic = json!({"type": "basic", "username": "sender", "secret": reference});
    let hmac = json!({"type": "hmac", "preset": "github", "secret": reference});
    let login = STANDARD.encode(format!("sender:{}", canaries.get("basic")));
    let signature = hmac_sha256_hex(canaries.get("hmac").as_bytes(), &event(1));
    let feeds = [
        (
            "bearer",
            bearer,
            canaries.get("bearer"),
            ("authorization", format!("Bearer {}", canaries.get("bearer"))),
        ),
        (
            "api-key",
            api_key,
            canaries.get("api-key"),
            ("x-api-key", canaries.get("api-key").to_owned()),
        ),
        (
            "basic",
            basic,
            canaries.get("basic"),
            ("authorization", format!("Basic {login}")),
        ),
        (
            "hmac",
            hmac,
            canaries.get("hmac"),
            ("x-hub-signature-256", format!("sha256={signature}")),
        ),
    ];
    let mut ids = Vec::new();
    for (kind, auth, secret, header) in feeds {
        let id = recorder.feed(kind, auth, secret).await;
        assert_eq!(
            recorder
                .ingest(&id, &event(1), std::slice::from_ref(&header))
                .await,
            202,
            "{kind}"
        );
        // What cannot be mapped is kept with its headers; a wrong credential is near a right one.
        if kind != "hmac" {
            recorder
                .ingest(&id, b"not JSON", std::slice::from_ref(&header))
                .await;
            let near = [(header.0, format!("{}x", header.1))];
            assert_eq!(recorder.ingest(&id, &event(2), &near).await, 401, "{kind}");
        }
        ids.push(id);
    }
    ids
}

/// Secrets written, rotated, refused, listed and deleted; logins that fail.
pub(super) async fn administer(recorder: &mut Recorder, canaries: &Canaries, id: &str) {
    let secrets = format!("/api/v1/datasources/{id}/secrets");
    let rotated = json!({"value": canaries.get("rotated"), "overlap": "1h"});
    recorder
        .post(&format!("{secrets}/key/rotate"), rotated)
        .await
        .expect(200);
    let refused = [
        json!({"value": canaries.get("refused"), "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"value": canaries.get("refused"), "unknown": canaries.get("refused")}),
        json!({"value": canaries.get("refused"), "expires_at": canaries.get("refused")}),
        json!({"value": {"nested": canaries.get("refused")}, "expires_at": 7}),
        json!([canaries.get("refused")]),
    ];
    for body in refused {
        let answer = recorder.put(&format!("{secrets}/other"), body).await;
        assert!(answer.status.is_client_error(), "{}", answer.body);
    }
    let too_long = json!({"value": canaries.get("refused"), "overlap": "900d"});
    recorder
        .post(&format!("{secrets}/key/rotate"), too_long)
        .await
        .expect(422);
    recorder
        .put(
            &format!("{secrets}/gone"),
            json!({"value": canaries.get("refused")}),
        )
        .await
        .expect(200);
    recorder
        .call(Method::DELETE, &format!("{secrets}/gone"), None)
        .await
        .expect(204);
    recorder.get(&secrets).await.expect(200);
    // Where only a reference belongs, a value is refused and not repeated.
    let literal =
        json!({"config": {"connection": {"auth": {"type": "bearer", "secret": canaries.get("refused")}}}});
    let answer = recorder
        .post(&format!("/api/v1/datasources/{id}/versions"), literal)
        .await;
    assert!(answer.status.is_client_error(), "{}", answer.body);
    for email in ["admin@halcyon.local", "nobody@example.test"] {
        let login = json!({"email": email, "password": canaries.get("wrong-password")});
        recorder.post("/api/v1/auth/login", login).await.expect(401);
    }
    let malformed = json!({"email": "admin@halcyon.local", "password": [canaries.get("wrong-password")]});
    recorder.post("/api/v1/auth/login", malformed).await;
}

/// Rotates the key that a feed's events are signed with, twice: the first key counts on beside the second one until
/// the third takes the place of both.
pub(super) async fn rotate_signing(recorder: &mut Recorder, canaries: &Canaries, id: &str) {
    let path = format!("/api/v1/datasources/{id}/secrets/key/rotate");
    let steps = [
        ("hmac, the second", "1h", &["hmac", "hmac, the second"][..], 202),
        ("hmac, the third", "0s", &["hmac, the third"], 202),
        ("hmac, the third", "1h", &["hmac", "hmac, the second"], 401),
    ];
    for (number, (key, overlap, signers, expected)) in steps.into_iter().enumerate() {
        if expected == 202 {
            let body = json!({"value": canaries.get(key), "overlap": overlap});
            recorder.post(&path, body).await.expect(200);
        }
        for signer in signers {
            let body = event(10 + number as u64);
            let signature = hmac_sha256_hex(canaries.get(signer).as_bytes(), &body);
            let headers = [("x-hub-signature-256", format!("sha256={signature}"))];
            recorder
                .client
                .wait_for("the gateway to have the keys", async |client| {
                    client.ingest_with(id, body.clone(), &headers).await.status == expected
                })
                .await;
            assert_eq!(recorder.ingest(id, &body, &headers).await, expected, "{signer}");
        }
    }
}
