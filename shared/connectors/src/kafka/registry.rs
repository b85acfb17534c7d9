//! Schemas of a registry (Confluent's API), fetched once each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use halcyon_egress::{Error as EgressError, Guard, Http, HttpError};
use http::{Method, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

use super::{avro::Codec, config::Registry};
use crate::{Error, Secrets};

/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, the most schemas that one refers to, and the most that are kept.
const ANSWER: usize = 1 << 20;
const REFERENCES: usize = 64;
const KEPT: usize = 1_000;

/// What became of a schema.
#[derive(Clone)]
pub(super) enum Schema {
    Known(Arc<Codec>),
    /// There is none of that number, or it is of no use; why.
    None(Arc<str>),
}

/// A registry's schemas by their number.
pub(super) struct Schemas {
    http: Http,
    base: String,
    registry: Registry,
    secrets: Secrets,
    known: HashMap<u32, Schema>,
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Clone, Deserialize, PartialEq)]
struct Reference {
    subject: String,
    version: i64,
}

impl Schemas {
    pub(super) fn new(registry: Registry, secrets: Secrets, guard: Guard) -> Result<Self, Error> {
        let http = Http::new(guard, PATIENCE)
            .map_err(|error| Error::System(format!("no HTTP client could be made: {error}")))?;
        Ok(Self {
            http,
            base: registry.url.trim_end_matches('/').to_owned(),
            registry,
            secrets,
            known: HashMap::new(),
        })
    }

    /// The schema of a number.
    ///
    /// # Errors
    /// The registry cannot be asked, or does not let us.
    pub(super) async fn get(&mut self, id: u32) -> Result<Schema, Error> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let found = match self.fetch(&format!("/schemas/ids/{id}")).await? {
            None => Schema::None("the registry has no schema of this number".into()),
            Some(answer) => self.build(answer).await?,
        };
        // A schema that is not there yet may come.
        if matches!(found, Schema::Known(_)) {
            if self.known.len() >= KEPT {
                self.known.clear();
            }
            self.known.insert(id, found.clone());
        }
        Ok(found)
    }

    async fn build(&self, answer: Answer) -> Result<Schema, Error> {
        if answer.kind.as_deref().is_some_and(|kind| kind != "AVRO") {
            return Ok(Schema::None("the schema is not Avro".into()));
        }
        let mut open = answer.references;
        let (mut seen, mut others) = (Vec::new(), Vec::new());
        while let Some(reference) = open.pop() {
            if seen.contains(&reference) {
                continue;
            }
            if seen.len() >= REFERENCES {
                return Ok(Schema::None("the schema refers to too many others".into()));
            }
            let path = format!(
                "/subjects/{}/versions/{}",
                escaped(&reference.subject),
                reference.version
            );
            seen.push(reference);
            let Some(found) = self.fetch(&path).await? else {
                return Ok(Schema::None(
                    "the registry lacks a schema that this one refers to".into(),
                ));
            };
            others.push(found.schema);
            open.extend(found.references);
        }
        Ok(match Codec::new(&answer.schema, &others) {
            Ok(codec) => Schema::Known(Arc::new(codec)),
            Err(why) => Schema::None(why.into()),
        })
    }

    /// An answer; `None` where there is no such thing.
    async fn fetch(&self, path: &str) -> Result<Option<Answer>, Error> {
        let url = format!("{}{path}", self.base).parse();
        let url = url.map_err(|_| Error::System("the registry's URL cannot be used".to_owned()))?;
        let mut request = self.http.request(Method::GET, url);
        if let (Some(user), Some(password)) = (&self.registry.username, &self.registry.password) {
            request = request.basic_auth(user, Some(password.text(&self.secrets)?));
        } else if let Some(token) = &self.registry.token {
            request = request.bearer_auth(token.text(&self.secrets)?);
        }
        let request = request.header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        let request = request
            .build()
            .map_err(|error| away(&error.without_url().to_string()))?;
        let mut answer = self.http.send(request).await.map_err(unreached)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Error::Refused {
                    message: "the schema registry does not accept the credentials".to_owned(),
                });
            }
            status => {
                let wait = answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|wait| wait.to_str().ok()?.parse().ok());
                return Err(Error::Transient {
                    message: format!("the schema registry answers with {status}"),
                    retry_after: wait.map(Duration::from_secs),
                });
            }
        }
        let mut body = Vec::new();
        while let Some(part) = answer
            .chunk()
            .await
            .map_err(|error| away(&error.without_url().to_string()))?
        {
            if body.len() + part.len() > ANSWER {
                return Err(away("its answer is too large"));
            }
            body.extend_from_slice(&part);
        }
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|_| away("its answer is not a registry's"))
    }
}

fn away(why: &str) -> Error {
    Error::transient(format!("the schema registry cannot be asked: {why}"))
}

fn unreached(error: HttpError) -> Error {
    match error {
        HttpError::Host(error @ EgressError::Refused { .. }) => error.into(),
        HttpError::Elsewhere(_) | HttpError::Scheme(_) => Error::Refused {
            message: format!("the schema registry cannot be asked: {error}"),
        },
        error => away(&error.to_string()),
    }
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_do_not_change_the_path() {
        assert_eq!(super::escaped("a/../b?c d-v1"), "a%2F..%2Fb%3Fc%20d-v1");
    }
}
