//! A gateway is killed while it carries out a request with an `Idempotency-Key`; the request is sent again to
//! another one.

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, Sync},
    ports,
    postgres::Postgres,
    wait,
};
use serde_json::json;

/// The answer of a run that is held up is waited for no longer than this; so the claim runs out soon, too.
const QUICK: [&str; 3] = [
    "gateway.test_timeout=1s",
    "gateway.request_timeout=6s",
    "database.statement_timeout=60s",
];

/// Holds the gateway's hand where it writes `column`, for the datasource's own request.
fn hold(column: &str) -> String {
    format!(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$; \
         CREATE TRIGGER hold BEFORE UPDATE OF {column} ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION hold()"
    )
}

const LET_GO: &str = "DROP TRIGGER hold ON idempotency_keys; DROP FUNCTION hold; \
                      SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

struct Pair {
    postgres: Postgres,
    database: String,
    cluster: Cluster,
    /// The gateway that is killed, and the one that is not.
    clients: [Client; 2],
}

impl Pair {
    async fn start() -> Self {
        let postgres = Postgres::start().await.unwrap();
        let database = postgres.database().await.unwrap();
        let services = ["registry"];
        let mut cluster = Cluster::prepare(crate::halcyon(), &database, Sync::Always, &services)
            .await
            .unwrap();
        let mut clients = Vec::new();
        for name in ["one", "two"] {
            let address = format!("127.0.0.1:{}", ports::free());
            let listen = format!("gateway.listen={address}");
            let settings = [&QUICK[..], &[listen.as_str()]].concat();
            cluster.spawn_as(name, "gateway", &settings).unwrap();
            wait::eventually(std::time::Duration::from_secs(30), || {
                wait::answers_200(&address, "/readyz")
            })
            .await
            .unwrap();
            clients
                .push(Client::login(&format!("http://{address}"), &cluster.email, &cluster.password).await);
        }
        Self {
            postgres,
            database,
            cluster,
            clients: clients.try_into().ok().unwrap(),
        }
    }

    /// Sends a request to the first gateway, kills that where it would write `column`, and lets go.
    async fn kill_at(&mut self, column: &str) {
        self.postgres
            .execute(&self.database, &hold(column))
            .await
            .unwrap();
        let [one, two] = self.clients.clone();
        let asked = tokio::spawn(async move { one.post_keyed("/datasources", "k", body()).await });
        let (postgres, database) = (&self.postgres, &self.database);
        let held = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep') \
                    THEN RAISE 'not yet'; END IF; END $$";
        two.wait_for("the request to be held up", async |_| {
            postgres.execute(database, held).await.is_ok()
        })
        .await;
        self.cluster.kill("one").unwrap();
        assert_eq!(asked.await.unwrap().status.as_u16(), 502);
        self.postgres.execute(&self.database, LET_GO).await.unwrap();
    }

    async fn count(&self) -> usize {
        self.clients[1].all("/datasources").await.len()
    }

    /// The first answer that does not say that the request is under way.
    async fn again(&self) -> (u16, serde_json::Value) {
        let client = &self.clients[1];
        let answer = std::sync::Mutex::new(None);
        client
            .wait_for("the claim to run out", async |client| {
                let again = client.post_keyed("/datasources", "k", body()).await;
                let under_way = again.body["type"] == "urn:halcyon:problem:request_in_flight";
                *answer.lock().unwrap() = Some((again.status.as_u16(), again.body));
                !under_way
            })
            .await;
        answer.into_inner().unwrap().unwrap()
    }
}

fn body() -> serde_json::Value {
    json!({"name": "A", "type": "generator"})
}

#[tokio::test]
async fn a_gateway_killed_before_the_commit_has_done_nothing_and_the_request_runs_again() {
    let mut pair = Pair::start().await;
    pair.kill_at("committed_at").await;
    assert_eq!(pair.count().await, 0);
    let (status, made) = pair.again().await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(pair.again().await, (201, made));
    assert_eq!(pair.count().await, 1);
}

#[tokio::test]
async fn a_gateway_killed_between_commit_and_answer_has_done_it_once() {
    let mut pair = Pair::start().await;
    pair.kill_at("status").await;
    assert_eq!(pair.count().await, 1);
    let (status, problem) = pair.again().await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("urn:halcyon:problem:answer_lost"))
    );
    let id = pair.clients[1].all("/datasources").await[0]["id"].clone();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(id.as_str().unwrap()), "{detail}");
    assert_eq!(pair.count().await, 1);
}
