//! A gateway without a bus: its store is an SQLite file, the other services are stand-ins.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    assignment::ConfigChange,
    audit::{AuditEntry, AuditOutcome},
    clock::{Clock, SystemClock, Timestamp},
    id::{OrganizationId, ProjectId, RoleBindingId, SessionId, UserId},
};
use halcyon_infra::{Health, Metrics, Mode};
use halcyon_store::{AllTenants, FirstAdmin, RoleBinding, Session, Store, StoreSettings, Topic, User};
use salvo::{
    Service,
    http::Method,
    test::{RequestBuilder, ResponseExt},
};
use serde_json::Value;

use super::stand::Stand;
use crate::{
    Settings,
    app::{App, Options},
    auth::{
        ExternalIssuer, Holder, LoginThrottle, Passwords, SessionSettings, ThrottleSettings, TokenSettings,
        Tokens, test_key,
    },
    edge::Edge,
    graphql::Graphql,
    hash_password, routes,
};

/// The first admin's e-mail and password.
pub(super) const ADMIN: (&str, &str) = ("admin@example.org", "correct horse battery");

/// A gateway to ask.
pub(super) struct Gateway {
    pub(super) service: Service,
    pub(super) app: Arc<App>,
    signed_in: Holder,
    pub(super) stand: Arc<Stand>,
    pub(super) store: Store,
    pub(super) tokens: Arc<Tokens>,
    pub(super) organization: OrganizationId,
    pub(super) project: ProjectId,
    pub(super) admin: UserId,
    _folder: Arc<tempfile::TempDir>,
}

/// Another organisation.
pub(super) struct Elsewhere {
    pub(super) organization: OrganizationId,
    pub(super) project: ProjectId,
    /// Its admin.
    pub(super) user: UserId,
    /// A token of its admin.
    pub(super) token: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) cookies: Vec<String>,
    pub(super) body: Value,
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn edge(settings: &Settings, clock: Arc<dyn Clock>) -> Edge {
    let metrics = Metrics::new().unwrap();
    Edge::new(settings, Mode::Development, clock, metrics).unwrap()
}

/// The use cases and paths of a gateway over `store`.
fn service(
    store: &Store,
    stand: &Arc<Stand>,
    clock: Arc<dyn Clock>,
    tokens: &Arc<Tokens>,
    settings: &Settings,
) -> (Arc<App>, Service) {
    let app = App::new(
        store.clone(),
        stand.clone(),
        clock.clone(),
        tokens.clone(),
        Passwords::new().unwrap(),
        LoginThrottle::new(
            ThrottleSettings {
                per_email: 3,
                ..ThrottleSettings::default()
            },
            clock.clone(),
        ),
        Options {
            test_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            production: false,
            secure_cookies: false,
            sessions: SessionSettings::default(),
            audit_public_keys: None,
        },
    );
    let edge = edge(settings, clock.clone());
    let external = settings.external_issuer.clone();
    let external = external.map(|external| ExternalIssuer::new(external, clock.clone()).unwrap());
    let app = app.with_external_issuer(external);
    let app = Arc::new(app);
    let graphql = Graphql::new(app.clone(), &settings.graphql).unwrap();
    let service = routes::service(app.clone(), graphql, None, Health::new(), edge);
    (app, service)
}

/// A new session that lasts.
async fn session_of(store: &Store, user: UserId, organization: OrganizationId) -> Holder {
    let now = SystemClock.now();
    let session = Session {
        id: SessionId::generate(),
        organization,
        user,
        created_at: now,
        last_seen_at: now,
        expires_at: now + TimeDelta::days(365),
        user_agent: None,
        remote_ip: None,
        ended_at: None,
        end_reason: None,
    };
    let tx = store.begin().await.unwrap();
    tx.sessions().insert(&session).await.unwrap();
    tx.commit().await.unwrap();
    Holder {
        user,
        organization,
        session: session.id,
        until: session.expires_at,
    }
}

impl Gateway {
    /// A gateway with organisation and project `default` and an admin.
    pub(super) async fn start() -> Self {
        Self::start_with(&Settings::default()).await
    }

    /// The same with an edge of these settings.
    pub(super) async fn start_with(settings: &Settings) -> Self {
        Self::start_at(settings, Arc::new(SystemClock)).await
    }

    /// The same at a time of the test's own.
    pub(super) async fn start_at(settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display());
        let store = Store::connect(&StoreSettings {
            url,
            ..StoreSettings::default()
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let admin = FirstAdmin {
            email: ADMIN.0.to_owned(),
            name: "Admin".to_owned(),
            password_hash: hash_password(ADMIN.1).unwrap(),
        };
        let made = store.bootstrap(&admin, SystemClock.now()).await.unwrap().unwrap();
        let tokens = Arc::new(Tokens::new(TokenSettings::default(), clock.clone()));
        tokens.set_keys(&[test_key("one", 1)]).unwrap();
        let stand = Arc::new(Stand::default());
        let (app, service) = service(&store, &stand, clock, &tokens, settings);
        let signed_in = session_of(&store, made.admin, made.organization).await;
        Self {
            service,
            app,
            signed_in,
            stand,
            store,
            tokens,
            organization: made.organization,
            project: made.project,
            admin: made.admin,
            _folder: Arc::new(folder),
        }
    }

    /// Another gateway on the same database.
    pub(super) fn beside(&self) -> Self {
        self.beside_with(&Settings::default())
    }

    /// The same with an edge of these settings.
    pub(super) fn beside_with(&self, settings: &Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stand = Arc::new(Stand::default());
        let (app, service) = service(&self.store, &stand, clock, &self.tokens, settings);
        Self {
            service,
            app,
            stand,
            store: self.store.clone(),
            tokens: self.tokens.clone(),
            _folder: self._folder.clone(),
            ..*self
        }
    }

    /// The same paths over the same use cases once more, for a server.
    pub(super) fn same(&self) -> Service {
        let settings = Settings::default();
        let graphql = Graphql::new(self.app.clone(), &settings.graphql).unwrap();
        let edge = edge(&settings, Arc::new(SystemClock));
        routes::service(self.app.clone(), graphql, None, Health::new(), edge)
    }

    /// A token of the admin.
    pub(super) fn admin(&self) -> String {
        self.tokens.issue(&self.signed_in).unwrap().token
    }

    /// A token of a new user with one role.
    pub(super) async fn user(&self, role: Role, scope: Scope) -> String {
        self.user_of(self.organization, role, scope).await.0
    }

    /// A token of a new user of an organisation with one role, and who it is.
    pub(super) async fn user_of(
        &self,
        organization: OrganizationId,
        role: Role,
        scope: Scope,
    ) -> (String, UserId) {
        let id = self.person(organization, role.as_str()).await;
        self.grant(organization, id, role, scope).await;
        (self.token(id, organization).await, id)
    }

    /// A new user of an organisation, without a role and without a password.
    pub(super) async fn person(&self, organization: OrganizationId, name: &str) -> UserId {
        let id = UserId::generate();
        let at = Timestamp::default();
        let user = User {
            id,
            organization,
            email: format!("{id}@example.org"),
            name: name.to_owned(),
            disabled: false,
            external: None,
            created_at: at,
            updated_at: at,
            revision: 1,
        };
        let tx = self.store.begin().await.unwrap();
        tx.users().insert(&user, None).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Gives a role.
    pub(super) async fn grant(&self, organization: OrganizationId, user: UserId, role: Role, scope: Scope) {
        let at = Timestamp::default();
        let binding = RoleBinding {
            id: RoleBindingId::generate(),
            organization: Some(organization),
            subject: Subject::User(user),
            grant: Grant { role, scope },
            created_at: at,
            created_by: None,
            updated_at: at,
            revision: 1,
        };
        let tx = self.store.begin().await.unwrap();
        tx.role_bindings().insert(&binding).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A token of a new session of a user.
    pub(super) async fn token(&self, user: UserId, organization: OrganizationId) -> String {
        let holder = session_of(&self.store, user, organization).await;
        self.tokens.issue(&holder).unwrap().token
    }

    /// The only session that the admin has.
    pub(super) async fn only_session(&self) -> SessionId {
        let reason = AllTenants::because("a test");
        let read = self.store.read();
        let found = read
            .sessions()
            .standing(reason, self.admin, SystemClock.now())
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        found[0].id
    }

    /// Sets whether the organisation requires approvals.
    pub(super) async fn require_approval(&self, policy: &str) {
        let tx = self.store.begin().await.unwrap();
        let found = tx.organizations().find(self.organization.into()).await.unwrap();
        let mut organization = found.unwrap();
        organization.approval_policy = policy.parse().unwrap();
        tx.organizations()
            .update(&organization, SystemClock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Sets whether the project requires approvals, or says nothing of it.
    pub(super) async fn require_approval_in_project(&self, policy: Option<&str>) {
        let tx = self.store.begin().await.unwrap();
        let found = tx
            .organizations()
            .project(self.organization.into(), self.project)
            .await
            .unwrap();
        let mut project = found.unwrap();
        project.approval_policy = policy.map(|policy| policy.parse().unwrap());
        tx.organizations()
            .update_project(&project, SystemClock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Sends a body as it is written.
    pub(super) async fn send(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) -> Answer {
        let url = format!("http://localhost{path}");
        let mut request = RequestBuilder::new(url, Method::POST);
        for (name, value) in headers {
            request = request.add_header(*name, *value, true);
        }
        self.answer(request.body(body)).await
    }

    /// A token of the user of this identifier, as an answer names it.
    pub(super) async fn token_of(&self, user: &Value) -> String {
        let id = user.as_str().unwrap().parse().unwrap();
        self.token(id, self.organization).await
    }

    /// What time it is there.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// Another organisation with a project and an admin.
    pub(super) async fn elsewhere(&self) -> Elsewhere {
        let body = serde_json::json!({"name": "elsewhere"});
        let made = self
            .call(&self.admin(), "POST", "/organizations", Some(body))
            .await
            .expect(201);
        let organization: OrganizationId = made["id"].as_str().unwrap().parse().unwrap();
        let inside = self.token(self.admin, organization).await;
        let projects = self.call(&inside, "GET", "/projects", None).await.expect(200);
        let body = serde_json::json!({
            "email": "them@example.org", "name": "Them", "password": "correct horse battery",
        });
        let user = self.call(&inside, "POST", "/users", Some(body)).await.expect(201);
        let body = serde_json::json!({
            "user_id": user["id"], "role": "admin", "scope": {"kind": "organization", "id": organization},
        });
        self.call(&inside, "POST", "/role-bindings", Some(body))
            .await
            .expect(201);
        let user: UserId = user["id"].as_str().unwrap().parse().unwrap();
        Elsewhere {
            organization,
            project: projects["items"][0]["id"].as_str().unwrap().parse().unwrap(),
            user,
            token: self.token(user, organization).await,
        }
    }

    /// Asks with headers.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut request = RequestBuilder::new(format!("http://localhost{path}"), method);
        for (name, value) in headers {
            request = request.add_header(*name, *value, true);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: RequestBuilder) -> Answer {
        let mut response = request.send(&self.service).await;
        let set = response.headers().get_all("set-cookie").iter();
        let cookies = set.map(|value| value.to_str().unwrap().to_owned()).collect();
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let status = response.status_code.unwrap_or_default().as_u16();
        let text = response.take_string().await.unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            cookies,
            body,
        }
    }

    /// Asks below `/api/v1` with a token.
    pub(super) async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask(
            method,
            &format!("/api/v1{path}"),
            &[("authorization", &bearer)],
            body.as_ref(),
        )
        .await
    }

    /// Asks by GraphQL.
    pub(super) async fn graphql(&self, token: &str, query: &str, variables: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let body = serde_json::json!({"query": query, "variables": variables});
        self.ask("POST", "/graphql", &[("authorization", &bearer)], Some(&body))
            .await
    }

    /// The entries of the trail on their way, oldest first.
    pub(super) async fn trail(&self) -> Vec<AuditEntry> {
        self.outbox(Topic::Audit).await
    }

    /// The notices on their way, oldest first.
    pub(super) async fn notices(&self) -> Vec<ConfigChange> {
        self.outbox(Topic::Config).await
    }

    async fn outbox<T: serde::de::DeserializeOwned>(&self, topic: Topic) -> Vec<T> {
        let all = self
            .store
            .read()
            .outbox()
            .next(AllTenants::because("a test"), 1_000)
            .await
            .unwrap();
        let wanted = all.into_iter().filter(|message| message.message.topic == topic);
        wanted
            .map(|message| serde_json::from_str(&message.message.body).unwrap())
            .collect()
    }

    /// The refusals that were published before their answer.
    pub(super) fn refusals(&self) -> Vec<String> {
        let audit = self.stand.audit.lock().unwrap();
        let refused = audit
            .iter()
            .filter(|entry| entry.outcome == AuditOutcome::Refused);
        refused.map(|entry| entry.action.clone()).collect()
    }
}

/// A configuration that can be published once the secret `token` is there.
pub(super) fn config(title: &str) -> Value {
    serde_json::json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": "id", "title": title, "time": {"expr": "ts", "as": "timestamp"}}}]},
    })
}
