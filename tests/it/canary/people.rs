//! What people and programs sign in with: passwords that are set and changed, cookies, tokens.

use reqwest::{
    Method,
    header::{COOKIE, SET_COOKIE},
};
use serde_json::{Value, json};

use halcyon_tests::client::Client;

use super::recorder::{Canaries, Recorder};

/// A user whom the administrator adds, who changes their password, and whose password is set anew.
pub(super) async fn users(recorder: &mut Recorder, canaries: &Canaries, url: &str) {
    let email = "canary@example.test";
    let (first, own) = (
        canaries.get("password-of-the-administrator's-choice"),
        canaries.get("password-of-the-user's-choice"),
    );
    let refused = canaries.get("refused");
    for body in [
        json!({"email": email, "name": "", "password": refused}),
        json!({"email": "nowhere", "name": "Canary", "password": refused}),
        json!({"email": email, "name": "Canary", "password": [refused]}),
        json!({"email": email, "name": "Canary", "password": "short", "unknown": refused}),
    ] {
        let answer = recorder.post("/api/v1/users", body).await;
        assert!(answer.status.is_client_error(), "{}", answer.body);
    }
    let body = json!({"email": email, "name": "Canary", "password": first});
    let user = recorder.post("/api/v1/users", body.clone()).await.expect(201);
    recorder.post("/api/v1/users", body).await.expect(409);
    let user = user["id"].as_str().unwrap().to_owned();
    let organization = recorder.get("/api/v1/me").await.expect(200)["organization"].clone();
    let scope = json!({"kind": "organization", "id": organization});
    let role = json!({"user_id": user, "role": "viewer", "scope": scope});
    recorder.post("/api/v1/role-bindings", role).await.expect(201);

    let admin = recorder.go_on_as(Client::login(url, email, first).await);
    let wrong = canaries.get("wrong-password");
    for (current, new, status) in [(wrong, own, 422), (first, email, 422), (first, own, 204)] {
        let body = json!({"current": current, "new": new});
        recorder.put("/api/v1/me/password", body).await.expect(status);
    }
    recorder.go_on_as(Client::login(url, email, own).await);
    recorder.get("/api/v1/me").await.expect(200);
    recorder.get("/api/v1/me/sessions").await.expect(200);
    recorder.go_on_as(admin);
    let anew = json!({"password": canaries.get("password-set-anew")});
    let path = format!("/api/v1/users/{user}");
    recorder.put(&path, anew).await.expect(200);
    recorder.get(&path).await.expect(200);
}

/// A browser's session: signed in, renewed, a token that is not right, signed out.
pub(super) async fn browser(recorder: &mut Recorder, url: &str, email: &str, password: &str) {
    let login = json!({"email": email, "password": password});
    let first = cookies(recorder, url, "/auth/login", None, &login).await;
    let second = cookies(recorder, url, "/auth/refresh", Some(&first), &json!({})).await;
    assert_ne!(first, second, "a refresh token works once");
    // What is nearly right, and what was right before, is refused and not repeated.
    let near = format!("{second}x");
    refused(recorder, url, &near).await;
    let out = answer(url, "/auth/logout", Some(&second), &json!({})).await;
    assert_eq!(out.status(), 204);
    refused(recorder, url, &second).await;
    // A program's session has the same in the body.
    let login = json!({"email": email, "password": password, "return_refresh_token": true});
    let shown = answer(url, "/auth/login", None, &login).await;
    let shown: Value = shown.json().await.unwrap();
    recorder.learn(
        "refresh token of a program",
        shown["refresh_token"].as_str().unwrap(),
    );
    let body = json!({"refresh_token": shown["refresh_token"], "unknown": 1});
    let refused = recorder.post("/api/v1/auth/refresh", body).await;
    assert!(refused.status.is_client_error(), "{}", refused.body);
    let body = json!({"refresh_token": shown["refresh_token"]});
    recorder
        .post("/api/v1/auth/logout", body.clone())
        .await
        .expect(204);
    recorder.post("/api/v1/auth/refresh", body).await.expect(401);
}

async fn refused(recorder: &mut Recorder, url: &str, cookies: &str) {
    let answer = answer(url, "/auth/refresh", Some(cookies), &json!({})).await;
    assert_eq!(answer.status(), 401);
    let text = answer.text().await.unwrap();
    recorder
        .answers
        .push(("a refresh token that is refused".to_owned(), text));
}

/// Asks for cookies, and remembers them as credentials: what a browser sends back.
async fn cookies(
    recorder: &mut Recorder,
    url: &str,
    path: &str,
    cookies: Option<&str>,
    body: &Value,
) -> String {
    let answer = answer(url, path, cookies, body).await;
    assert_eq!(answer.status(), 200, "{path}");
    let mut pairs = Vec::new();
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let (name, value) = pair.split_once('=').unwrap();
        recorder.learn(&format!("cookie {name}"), value);
        pairs.push(pair);
    }
    assert_eq!(pairs.len(), 2, "an access token and a refresh token: {path}");
    pairs.join("; ")
}

async fn answer(url: &str, path: &str, cookies: Option<&str>, body: &Value) -> reqwest::Response {
    let http = reqwest::Client::new();
    let mut request = http.post(format!("{url}/api/v1{path}")).json(body);
    if let Some(cookies) = cookies {
        request = request
            .header(COOKIE, cookies)
            .header("sec-fetch-site", "same-origin");
    }
    request.send().await.unwrap()
}

/// A program's token, while it holds and afterwards.
pub(super) async fn service_account(recorder: &mut Recorder, url: &str) {
    let accounts = "/api/v1/service-accounts";
    let made = recorder
        .post(accounts, json!({"name": "canary"}))
        .await
        .expect(201);
    let account = format!("{accounts}/{}", made["id"].as_str().unwrap());
    let organization = recorder.get("/api/v1/me").await.expect(200)["organization"].clone();
    let scope = json!({"kind": "organization", "id": organization});
    let role = json!({"service_account_id": made["id"], "role": "viewer", "scope": scope});
    recorder.post("/api/v1/role-bindings", role).await.expect(201);
    let tokens = format!("{account}/tokens");
    // This answer is the one that tells the token.
    let made = recorder
        .client
        .call(Method::POST, &tokens, Some(json!({"name": "canary"})))
        .await
        .expect(201);
    let token = made["token"].as_str().unwrap();
    recorder.learn("service account's token", token);
    let me = format!("{url}/api/v1/me");
    let http = reqwest::Client::new();
    let by_token = async |token: &str| http.get(&me).bearer_auth(token).send().await.unwrap();
    for (shown, status) in [(token.to_owned(), 200), (format!("{token}x"), 401)] {
        let answer = by_token(&shown).await;
        assert_eq!(answer.status(), status);
        recorder
            .answers
            .push(("who a program is".to_owned(), answer.text().await.unwrap()));
    }
    recorder.get(&tokens).await.expect(200);
    recorder.get(&account).await.expect(200);
    let path = format!(
        "{tokens}/{}",
        made["token_id"].as_str().or(made["id"].as_str()).unwrap()
    );
    recorder.call(Method::DELETE, &path, None).await.expect(204);
    let answer = by_token(token).await;
    assert_eq!(answer.status(), 401);
    recorder.answers.push((
        "a token that was revoked".to_owned(),
        answer.text().await.unwrap(),
    ));
}
