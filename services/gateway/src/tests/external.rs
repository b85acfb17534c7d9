//! Users of another issuer: made when they come, known by the issuer's word alone, and with no more rights than they
//! were given there or here.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    clock::{Clock, ManualClock, SystemClock},
    id::{OrganizationId, RoleBindingId, UserId},
};
use halcyon_store::{RoleBinding, Tenant};
use serde_json::{Value, json};

use super::support::{ADMIN, Gateway};
use crate::{
    Settings,
    auth::external_tests::{Published, Signer, document, settings},
};

struct Fixture {
    gateway: Gateway,
    signer: Signer,
    clock: ManualClock,
}

impl Fixture {
    async fn new() -> Self {
        let signer = Signer::new(jsonwebtoken::Algorithm::ES256, "k");
        let published = Published::serve(&document(&[&signer])).await;
        let clock = ManualClock::at(SystemClock.now());
        let settings = Settings {
            external_issuer: Some(settings(&published)),
            ..Settings::default()
        };
        let gateway = Gateway::start_at(&settings, Arc::new(clock.clone())).await;
        Self {
            gateway,
            signer,
            clock,
        }
    }

    fn token(&self, subject: &str, organization: OrganizationId, roles: &Value) -> String {
        let now = self.clock.now().timestamp();
        self.signer.sign(&json!({
            "iss": "https://issuer.example", "aud": "halcyon", "sub": subject, "iat": now, "exp": now + 300,
            "org": organization, "email": ADMIN.0, "name": "Somebody", "roles": roles,
        }))
    }
}

#[tokio::test]
async fn somebody_is_made_once_and_is_nobody_elses_namesake() {
    let fixture = Fixture::new().await;
    let (gateway, here) = (&fixture.gateway, fixture.gateway.organization);
    let token = fixture.token("u-1", here, &json!(["datasource:operator"]));
    let (one, two) = tokio::join!(
        gateway.call(&token, "GET", "/me", None),
        gateway.call(&token, "GET", "/me", None),
    );
    let (one, two) = (one.expect(200), two.expect(200));
    assert_eq!(one["id"], two["id"], "two first requests make one user");
    assert_ne!(
        one["id"],
        json!(gateway.admin),
        "an e-mail address proves nothing"
    );
    assert_eq!(
        (&one["email"], &one["name"]),
        (&json!(ADMIN.0), &json!("Somebody"))
    );
    assert_eq!(one["roles"][0]["role"], "operator");
    gateway
        .call(&token, "GET", "/datasources", None)
        .await
        .expect(200);
    let body = json!({"name": "EDR", "type": "generator"});
    gateway
        .call(&token, "POST", "/datasources", Some(body.clone()))
        .await
        .expect(403);
    let stranger = fixture.token("u-2", here, &json!([]));
    let other = gateway.call(&stranger, "GET", "/me", None).await.expect(200);
    assert_ne!(other["id"], one["id"]);
    let list = gateway
        .call(&stranger, "GET", "/me/sessions", None)
        .await
        .expect(200);
    assert_eq!(list["items"], json!([]));
    let body = json!({"organization": here});
    gateway
        .call(&stranger, "POST", "/auth/switch-organization", Some(body))
        .await
        .expect(409);
    let made = gateway
        .trail()
        .await
        .into_iter()
        .filter(|entry| entry.action == "user.create")
        .count();
    assert_eq!(made, 2);
    // The local user signs in as before.
    let login = json!({"email": ADMIN.0, "password": ADMIN.1});
    gateway
        .ask("POST", "/api/v1/auth/login", &[], Some(&login))
        .await
        .expect(200);
}

#[tokio::test]
async fn roles_of_a_token_count_in_its_organisation_and_bindings_beside_them() {
    let fixture = Fixture::new().await;
    let (gateway, here) = (&fixture.gateway, fixture.gateway.organization);
    let viewer = fixture.token("u-1", here, &json!(["datasource:viewer"]));
    let me = gateway.call(&viewer, "GET", "/me", None).await.expect(200);
    let user: UserId = me["id"].as_str().unwrap().parse().unwrap();
    let nowhere = fixture.token("u-1", OrganizationId::generate(), &json!(["datasource:admin"]));
    gateway.call(&nowhere, "GET", "/me", None).await.expect(401);
    let body = json!({"name": "EDR", "type": "generator"});
    gateway
        .call(&viewer, "POST", "/datasources", Some(body.clone()))
        .await
        .expect(403);
    let now = SystemClock.now();
    let binding = RoleBinding {
        id: RoleBindingId::generate(),
        organization: Some(here),
        subject: Subject::User(user),
        grant: Grant {
            role: Role::Admin,
            scope: Scope::Organization(here),
        },
        created_at: now,
        created_by: None,
        updated_at: now,
        revision: 1,
    };
    let tx = gateway.store.begin().await.unwrap();
    tx.role_bindings().insert(&binding).await.unwrap();
    tx.commit().await.unwrap();
    gateway
        .call(&viewer, "POST", "/datasources", Some(body))
        .await
        .expect(201);
}

#[tokio::test]
async fn they_are_out_when_disabled_deleted_or_out_of_time() {
    let fixture = Fixture::new().await;
    let (gateway, here) = (&fixture.gateway, fixture.gateway.organization);
    let token = fixture.token("u-1", here, &json!(["datasource:viewer"]));
    let me = gateway.call(&token, "GET", "/me", None).await.expect(200);
    let user: UserId = me["id"].as_str().unwrap().parse().unwrap();
    let read = gateway.store.read();
    let mut found = read.users().find(Tenant(here), user).await.unwrap().unwrap();
    found.disabled = true;
    let tx = gateway.store.begin().await.unwrap();
    tx.users()
        .update(&found, None, fixture.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    gateway.call(&token, "GET", "/me", None).await.expect(401);
    let token = fixture.token("u-2", here, &json!(["datasource:viewer"]));
    let me = gateway.call(&token, "GET", "/me", None).await.expect(200);
    let user: UserId = me["id"].as_str().unwrap().parse().unwrap();
    let found = read.users().find(Tenant(here), user).await.unwrap().unwrap();
    let tx = gateway.store.begin().await.unwrap();
    tx.users().delete(&found, fixture.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    gateway.call(&token, "GET", "/me", None).await.expect(401);
    let again = fixture.token("u-2", here, &json!(["datasource:viewer"]));
    gateway.call(&again, "GET", "/me", None).await.expect(401);
    let token = fixture.token("u-3", here, &json!([]));
    gateway.call(&token, "GET", "/me", None).await.expect(200);
    fixture.clock.advance(TimeDelta::minutes(6));
    gateway.call(&token, "GET", "/me", None).await.expect(401);
}
