//! A gateway's ingest on a real nats-server, with a registry that only opens secrets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use halcyon_bus::{
    Bus, BusSettings, Identity, InstanceKey, Service,
    requests::{OpenSecrets, OpenedSecrets, SealedSecret, SecretsOpen},
    rpc::Serving,
};
use halcyon_domain::{
    assignment::IngestRoute,
    clock::{SystemClock, Timestamp},
    duration::HumanDuration,
    event::IngestEvent,
    id::{DatasourceId, InstanceId, OrganizationId},
    lifecycle::DatasourceStatus,
};
use halcyon_infra::{Health, Metrics};
use halcyon_tests::{nats::Nats, wait};
use salvo::{
    Router,
    test::{RequestBuilder, ResponseExt, TestClient},
};
use serde_json::{Value, json};

use crate::ingest::{IngestContext, IngestState, router};

pub(super) const SOON: Duration = Duration::from_secs(10);

type Values = Arc<Mutex<BTreeMap<String, Vec<(String, Option<Timestamp>)>>>>;

pub(super) struct Fixture {
    pub(super) nats: Nats,
    pub(super) registry: Bus,
    pub(super) gateway: Bus,
    pub(super) health: Health,
    pub(super) service: salvo::Service,
    _state: Arc<IngestState>,
    pub(super) values: Values,
    pub(super) serving: Option<Serving>,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let mut fixture = Self::without_registry(None).await;
        fixture.serve().await;
        wait::eventually(SOON, || async { fixture.health.report().ready })
            .await
            .unwrap();
        fixture
    }

    /// `there` is a route from before the gateway's start.
    pub(super) async fn without_registry(there: Option<&IngestRoute>) -> Self {
        let nats = Nats::start().await.unwrap();
        let registry = connect(&nats, Service::Registry).await;
        registry.ensure_streams(1).await.unwrap();
        if let Some(route) = there {
            registry
                .routes()
                .put(&route.datasource.to_string(), route)
                .await
                .unwrap();
        }
        let gateway = connect(&nats, Service::Gateway).await;
        let health = Health::new();
        let state = IngestState::start(IngestContext {
            bus: gateway.clone(),
            clock: Arc::new(SystemClock),
            metrics: Metrics::new().unwrap(),
            instance: InstanceId::generate(),
            key: Arc::new(InstanceKey::generate()),
            check: health.check("ingest"),
        });
        let service = salvo::Service::new(Router::with_path("ingest").push(router(&state)));
        let values = Values::default();
        Self {
            nats,
            registry,
            gateway,
            health,
            service,
            _state: state,
            values,
            serving: None,
        }
    }

    /// A registry that opens the fixture's secrets.
    pub(super) async fn serve(&mut self) {
        let serving = self
            .registry
            .serve("registry", "0.0.0", "of a test")
            .await
            .unwrap();
        let (values, key) = (self.values.clone(), Arc::new(InstanceKey::generate()));
        serving
            .endpoint::<SecretsOpen, _, _>(move |question: OpenSecrets, _| {
                let (values, key) = (values.clone(), key.clone());
                async move {
                    let values = values.lock().unwrap();
                    let seal = |name: &String| {
                        let sealed = values.get(name)?.iter().map(|(value, expires_at)| SealedSecret {
                            version: 1,
                            value: key.seal(&question.public_key, value.as_bytes()).unwrap(),
                            expires_at: *expires_at,
                        });
                        Some((name.clone(), sealed.collect()))
                    };
                    let secrets = question.names.iter().filter_map(seal).collect();
                    Ok(OpenedSecrets {
                        from: key.public_key().to_owned(),
                        secrets,
                    })
                }
            })
            .await
            .unwrap();
        self.serving = Some(serving);
    }

    pub(super) fn set_secret(&self, values: &[(&str, Option<Timestamp>)]) {
        let values = values
            .iter()
            .map(|(value, at)| ((*value).to_owned(), *at))
            .collect();
        self.values.lock().unwrap().insert("signing".to_owned(), values);
    }

    /// Puts a route, and waits until requests are judged by it.
    pub(super) async fn feed(&self, connection: Value) -> Feed<'_> {
        let feed = self.route(route(connection)).await;
        feed.until(|status| status != 404 && status != 503).await;
        feed
    }

    pub(super) async fn route(&self, route: IngestRoute) -> Feed<'_> {
        self.registry
            .routes()
            .put(&route.datasource.to_string(), &route)
            .await
            .unwrap();
        Feed { fixture: self, route }
    }
}

pub(super) struct Feed<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) route: IngestRoute,
}

impl Feed<'_> {
    pub(super) fn post(&self) -> RequestBuilder {
        TestClient::post(format!("http://127.0.0.1/ingest/{}", self.route.datasource))
    }

    pub(super) async fn change(&mut self, change: impl FnOnce(&mut IngestRoute)) {
        change(&mut self.route);
        let routes = self.fixture.registry.routes();
        routes
            .put(&self.route.datasource.to_string(), &self.route)
            .await
            .unwrap();
    }

    /// Waits until a GET, which is never an event, is answered as wished.
    pub(super) async fn until(&self, wish: impl Fn(u16) -> bool) {
        wait::eventually(SOON, || async {
            let url = format!("http://127.0.0.1/ingest/{}", self.route.datasource);
            let answer = TestClient::get(url).send(&self.fixture.service).await;
            wish(answer.status_code.unwrap().as_u16())
        })
        .await
        .unwrap();
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> (u16, Value, Option<String>) {
        let mut answer = request.send(&self.fixture.service).await;
        let retry = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let text = answer.take_string().await.unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (answer.status_code.unwrap().as_u16(), body, retry)
    }

    pub(super) async fn stored(&self, count: usize) -> Vec<IngestEvent> {
        let partition = self
            .fixture
            .gateway
            .partitions()
            .of(None, self.route.datasource, 0)
            .unwrap();
        let mut consumer = self.fixture.registry.ingest_consumer(partition);
        let mut events = Vec::new();
        while events.len() < count {
            let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
            events.extend(delivery.events().unwrap());
            delivery.ack().await.unwrap();
        }
        events
    }
}

pub(super) async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        publish_deadline: HumanDuration::from_millis(1_500),
        ack_timeout: HumanDuration::from_millis(500),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

pub(super) fn route(connection: Value) -> IngestRoute {
    IngestRoute {
        datasource: DatasourceId::generate(),
        organization: OrganizationId::generate(),
        connector: "http_webhook".to_owned(),
        status: DatasourceStatus::Active,
        version: Some(1),
        connection,
        parallelism: 1,
        pool: None,
        secrets_revision: 1,
        backlog_full: false,
    }
}

pub(super) fn open() -> Value {
    json!({"auth": {"type": "none"}})
}

pub(super) fn bearer() -> Value {
    json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}})
}
