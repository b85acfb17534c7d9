//! Whatever sequence of grants somebody makes, with whomever they work together: what they hold among them at a
//! place never grows beyond what they held there at first.

use halcyon_domain::{
    access::{Role, Scope},
    id::{DatasourceId, ProjectId},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::support::Gateway;

/// What one of the conspirators tries.
#[derive(Clone, Debug)]
enum Step {
    /// Gives a role at a place to one of them.
    Give {
        who: usize,
        to: usize,
        role: Role,
        place: usize,
    },
    /// Makes one of them owner of a datasource.
    Delegate {
        who: usize,
        to: usize,
        role: Role,
        place: usize,
    },
    /// Changes the role of a binding that they see.
    Change { who: usize, nth: usize, role: Role },
    /// Moves a datasource into a project.
    Move {
        who: usize,
        place: usize,
        project: usize,
    },
    /// Sets the password of somebody who is not one of them.
    Take { who: usize },
}

const PEOPLE: usize = 3;
const PLACES: usize = 8;

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PEOPLE, 0..PEOPLE, role(), 0..PLACES)
            .prop_map(|(who, to, role, place)| Step::Give { who, to, role, place }),
        2 => (0..PEOPLE, 0..PEOPLE, role(), 4..PLACES - 1)
            .prop_map(|(who, to, role, place)| Step::Delegate { who, to, role, place }),
        1 => (0..PEOPLE, 0..8_usize, role()).prop_map(|(who, nth, role)| Step::Change { who, nth, role }),
        1 => (0..PEOPLE, 4..PLACES - 1, 2..4_usize)
            .prop_map(|(who, place, project)| Step::Move { who, place, project }),
        1 => (0..PEOPLE).prop_map(|who| Step::Take { who }),
    ]
}

/// An organisation with two projects, a datasource in each and one in none, and three people, of whom the first
/// holds a role at one place.
struct World {
    gateway: Gateway,
    /// Global, organisation, project, project, datasource of the first, of the second, of the first again, of
    /// another organisation.
    places: [Scope; PLACES],
    tokens: Vec<String>,
    people: Vec<Value>,
}

impl World {
    async fn new(role: Role, place: usize) -> Self {
        let gateway = Gateway::start().await;
        let admin = gateway.admin();
        let elsewhere = gateway.elsewhere().await;
        let other = gateway
            .call(&admin, "POST", "/projects", Some(json!({"name": "other"})))
            .await;
        let other: ProjectId = other.expect(201)["id"].as_str().unwrap().parse().unwrap();
        let feed = async |name: &str, project: ProjectId| {
            let body = json!({"name": name, "type": "http_webhook", "project": project});
            let made = gateway
                .call(&admin, "POST", "/datasources", Some(body))
                .await
                .expect(201);
            made["id"].as_str().unwrap().parse::<DatasourceId>().unwrap()
        };
        let places = [
            Scope::Global,
            Scope::Organization(gateway.organization),
            Scope::Project(gateway.project),
            Scope::Project(other),
            Scope::Datasource(feed("one", gateway.project).await),
            Scope::Datasource(feed("two", other).await),
            Scope::Datasource(feed("three", gateway.project).await),
            Scope::Organization(elsewhere.organization),
        ];
        // The others begin with nothing.
        let mut tokens = vec![gateway.user(role, places[place]).await];
        let mut people = Vec::new();
        for name in ["b", "c"] {
            let body = json!({
                "email": format!("{name}@example.org"), "name": name, "password": "correct horse battery",
            });
            let made = gateway
                .call(&admin, "POST", "/users", Some(body))
                .await
                .expect(201);
            tokens.push(gateway.token_of(&made["id"]).await);
        }
        for token in &tokens {
            people.push(gateway.call(token, "GET", "/me", None).await.expect(200)["id"].clone());
        }
        Self {
            gateway,
            places,
            tokens,
            people,
        }
    }

    /// The strongest role of any of them at each place: what the gateway lets them do there.
    async fn reach(&self) -> Vec<u16> {
        let mut reach = Vec::new();
        for scope in &self.places {
            let (read, change) = match scope {
                Scope::Datasource(id) => (format!("/datasources/{id}"), format!("/datasources/{id}/secrets")),
                Scope::Project(id) => (format!("/projects/{id}"), format!("/role-bindings?scope_id={id}")),
                Scope::Organization(_) => ("/alerts".to_owned(), "/users".to_owned()),
                Scope::Global => (
                    format!("/organizations/{}", self.elsewhere()),
                    "/role-bindings?scope_kind=global".to_owned(),
                ),
            };
            let mut strongest = 0;
            for token in &self.tokens {
                if *scope == self.places[PLACES - 1] {
                    continue;
                }
                let sees = self.gateway.call(token, "GET", &read, None).await.status == 200;
                let rules = self.gateway.call(token, "GET", &change, None).await;
                let rules = match scope {
                    Scope::Datasource(_) | Scope::Organization(_) => rules.status == 200,
                    _ => self.holds_admin(token, *scope).await,
                };
                strongest = strongest.max(u16::from(sees) + u16::from(rules));
            }
            reach.push(strongest);
        }
        reach
    }

    async fn holds_admin(&self, token: &str, scope: Scope) -> bool {
        let me = self.gateway.call(token, "GET", "/me", None).await.expect(200);
        let roles = me["roles"].as_array().unwrap();
        let around = |held: &Value| match held["scope"]["kind"].as_str().unwrap() {
            "global" => true,
            "organization" => scope != Scope::Global,
            kind => kind == scope.kind().as_str() && held["scope"]["id"] == json!(scope.id()),
        };
        roles.iter().any(|held| held["role"] == "admin" && around(held))
    }

    fn elsewhere(&self) -> String {
        self.places[PLACES - 1].id().unwrap().to_string()
    }

    async fn take(&self, step: &Step) {
        let scope = |place: usize| json!({"kind": self.places[place].kind(), "id": self.places[place].id()});
        let (who, method, path, body) = match step {
            Step::Give { who, to, role, place } => {
                let body = json!({"user_id": self.people[*to], "role": role, "scope": scope(*place)});
                (who, "POST", "/role-bindings".to_owned(), body)
            }
            Step::Delegate { who, to, role, place } => {
                let path = format!("/datasources/{}/owner", self.places[*place].id().unwrap());
                (
                    who,
                    "POST",
                    path,
                    json!({"user_id": self.people[*to], "grant": role}),
                )
            }
            Step::Move { who, place, project } => {
                let path = format!("/datasources/{}", self.places[*place].id().unwrap());
                (who, "PUT", path, json!({"project": self.places[*project].id()}))
            }
            Step::Take { who } => {
                let path = format!("/users/{}", self.gateway.admin);
                (who, "PUT", path, json!({"password": "now it is all mine"}))
            }
            Step::Change { who, nth, role } => {
                let seen = self
                    .gateway
                    .call(&self.tokens[*who], "GET", "/role-bindings", None)
                    .await;
                let Some(id) = seen.body["items"][*nth]["id"].as_str() else {
                    return;
                };
                (who, "PUT", format!("/role-bindings/{id}"), json!({"role": role}))
            }
        };
        let answer = self
            .gateway
            .call(&self.tokens[*who], method, &path, Some(body))
            .await;
        assert!(answer.status < 500, "{step:?}: {}", answer.body);
    }
}

#[test]
fn no_sequence_of_grants_yields_what_was_not_held() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let start = (role(), 1..PLACES - 1);
    let strategy = (start, proptest::collection::vec(step(), 1..12));
    TestRunner::new(config)
        .run(&strategy, |((role, place), steps)| {
            runtime.block_on(async {
                let world = World::new(role, place).await;
                let before = world.reach().await;
                for step in &steps {
                    world.take(step).await;
                }
                let after = world.reach().await;
                for (place, (before, after)) in before.iter().zip(&after).enumerate() {
                    prop_assert!(
                        after <= before,
                        "{role} at {place}: {before} became {after} at {place}"
                    );
                }
                Ok(())
            })
        })
        .unwrap();
}
