//! What is open ends when the right to it does.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Permission, Role, Scope, Subject},
    clock::{Clock, ManualClock, SystemClock},
    id::{DatasourceId, UserId},
    session::EndReason,
};
use halcyon_store::{AllTenants, Tenant};
use serde_json::json;

use super::support::Gateway;
use crate::Settings;
use crate::app::{RequestContext, StandingAccess, Watched};
use crate::context::RequestInfo;

const WHY: AllTenants = AllTenants::because("a test");

struct Fixture {
    gateway: Gateway,
    clock: ManualClock,
    token: String,
    user: UserId,
    datasource: DatasourceId,
}

impl Fixture {
    async fn new() -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let gateway = Gateway::start_at(&Settings::default(), Arc::new(clock.clone())).await;
        let body = json!({"name": "EDR", "type": "generator"});
        let made = gateway
            .call(&gateway.admin(), "POST", "/datasources", Some(body))
            .await
            .expect(201);
        let scope = Scope::Organization(gateway.organization);
        let token = gateway.user(Role::Viewer, scope).await;
        let me = gateway.call(&token, "GET", "/me", None).await.expect(200);
        Self {
            user: me["id"].as_str().unwrap().parse().unwrap(),
            datasource: made["id"].as_str().unwrap().parse().unwrap(),
            gateway,
            clock,
            token,
        }
    }

    async fn watch(&self, watched: Watched) -> StandingAccess {
        let caller = self.gateway.app.authenticate(&self.token).await.unwrap();
        let info = RequestInfo {
            request_id: String::new(),
            trace_id: String::new(),
            remote_ip: None,
            user_agent: None,
        };
        let context = RequestContext::new(caller, info);
        self.gateway.app.watch_access(&context, watched)
    }

    /// Whether what is watched ends after `change`, seen by one look; it is to stand before.
    async fn ends<F: Future<Output = ()>>(&self, watched: Watched, change: F) -> bool {
        let mut ended = Box::pin(self.watch(watched).await.ended());
        let mut look = async || {
            self.gateway.app.look_at_access().await;
            tokio::time::timeout(Duration::from_millis(300), &mut ended)
                .await
                .is_ok()
        };
        assert!(!look().await, "{watched:?} stands before");
        change.await;
        look().await
    }

    fn log(&self) -> Watched {
        Watched::Datasource(Permission::DatasourceRead, self.datasource)
    }

    async fn take_role(&self) {
        let tx = self.gateway.store.begin().await.unwrap();
        let taken = tx.role_bindings().delete_of(WHY, Subject::User(self.user)).await;
        assert_eq!(taken.unwrap().len(), 1);
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn it_ends_with_the_token_and_the_session() {
    let fixture = Fixture::new().await;
    let expire = async || fixture.clock.advance(TimeDelta::minutes(15));
    assert!(fixture.ends(fixture.log(), expire()).await);

    let fixture = Fixture::new().await;
    let end = async || {
        let tx = fixture.gateway.store.begin().await.unwrap();
        let now = fixture.clock.now();
        let ended = tx
            .sessions()
            .end_all_of(fixture.user, EndReason::Revoked, now)
            .await
            .unwrap();
        assert_eq!(ended, 1);
        tx.commit().await.unwrap();
    };
    assert!(fixture.ends(fixture.log(), end()).await);
}

#[tokio::test]
async fn it_ends_with_the_user_the_role_and_the_datasource() {
    let fixture = Fixture::new().await;
    let disable = async || {
        let tenant = Tenant(fixture.gateway.organization);
        let read = fixture.gateway.store.read();
        let mut user = read.users().find(tenant, fixture.user).await.unwrap().unwrap();
        user.disabled = true;
        let tx = fixture.gateway.store.begin().await.unwrap();
        tx.users().update(&user, None, fixture.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    };
    assert!(fixture.ends(Watched::Caller, disable()).await);

    let organization = Watched::Organization(Permission::OntologyRead);
    for watched in [Watched::Caller, organization] {
        let fixture = Fixture::new().await;
        assert!(fixture.ends(watched, fixture.take_role()).await, "{watched:?}");
    }
    let fixture = Fixture::new().await;
    assert!(fixture.ends(fixture.log(), fixture.take_role()).await);

    let fixture = Fixture::new().await;
    let delete = async || {
        let path = format!("/datasources/{}", fixture.datasource);
        let admin = fixture.gateway.admin();
        fixture
            .gateway
            .call(&admin, "DELETE", &path, None)
            .await
            .expect(204);
    };
    assert!(fixture.ends(fixture.log(), delete()).await);
}

#[tokio::test]
async fn what_concerns_others_ends_nothing() {
    let fixture = Fixture::new().await;
    let others = async || {
        let scope = Scope::Organization(fixture.gateway.organization);
        fixture.gateway.user(Role::Viewer, scope).await;
        let path = format!("/datasources/{}", fixture.datasource);
        let admin = fixture.gateway.admin();
        let body = json!({"description": "another"});
        fixture
            .gateway
            .call(&admin, "PUT", &path, Some(body))
            .await
            .expect(200);
    };
    assert!(!fixture.ends(Watched::Caller, others()).await);
    let before = fixture.gateway.store.read().sessions().epochs(WHY).await.unwrap();
    let body = json!({"description": "and another"});
    let path = format!("/datasources/{}", fixture.datasource);
    fixture
        .gateway
        .call(&fixture.gateway.admin(), "PUT", &path, Some(body))
        .await
        .expect(200);
    let after = fixture.gateway.store.read().sessions().epochs(WHY).await.unwrap();
    assert_eq!(before, after, "an edit of a datasource is no change of rights");
}
