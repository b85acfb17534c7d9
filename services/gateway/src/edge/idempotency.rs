//! `Idempotency-Key`: a request that is sent again takes effect once, and gets the first one's answer.

use std::sync::Arc;

use halcyon_domain::clock::Timestamp;
use halcyon_store::{KeptAnswer, Remembered};
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderMap, HeaderName, Method, ParseError, StatusCode, header::IF_MATCH},
};

use super::{fingerprint, identity, kept};
use crate::{
    app::{App, repeats::Run},
    problem::Problem,
    rest::{MAX_BODY, PATIENCE},
};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
pub(crate) const MAX_KEY: usize = 255;

/// Requests below this path set cookies and tokens, and are not kept.
const NEVER: &str = "/api/v1/auth/";

/// Handles the key of POST requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Idempotency {
    /// Every answer of success is kept.
    Rest,
    /// An answer is kept if there was an effect: GraphQL's questions are POST requests too, and its failures have
    /// the status of success.
    Graphql,
}

#[async_trait]
impl Handler for Idempotency {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let has_key = req.method() == Method::POST && req.headers().contains_key(KEY);
        if !has_key || req.uri().path().starts_with(NEVER) {
            ctrl.call_next(req, depot, res).await;
            return;
        }
        match begin(req, depot).await {
            Ok(Begun::Run(claim)) => {
                claim.run.clone().scope(ctrl.call_next(req, depot, res)).await;
                claim.finish(*self, res).await;
            }
            Ok(Begun::Repeated(answer)) => {
                kept::replay(
                    answer.status,
                    &answer.headers,
                    answer.body.unwrap_or_default(),
                    res,
                );
                ctrl.skip_rest();
            }
            // Whoever is not signed in is told so by the operation itself.
            Ok(Begun::Unknown) => drop(ctrl.call_next(req, depot, res).await),
            Err(problem) => {
                problem.render(req, depot, res);
                ctrl.skip_rest();
            }
        }
    }
}

/// What becomes of a request with a key.
enum Begun {
    /// It runs.
    Run(Claim),
    /// It is answered as before.
    Repeated(KeptAnswer),
    /// Nobody knows who sent it.
    Unknown,
}

async fn begin(req: &mut Request, depot: &mut Depot) -> Result<Begun, Problem> {
    let key = read_key(req.headers())?;
    let Ok(context) = identity::caller(req, depot).await else {
        return Ok(Begun::Unknown);
    };
    let body = tokio::time::timeout(PATIENCE, req.payload_with_max_size(MAX_BODY)).await;
    let body = body
        .map_err(|_| Problem::too_slow())?
        .map_err(|error| match error {
            ParseError::PayloadTooLarge => Problem::too_large(MAX_BODY),
            _ => Problem::bad_request("the body could not be read to its end"),
        })?;
    let body = body.clone();
    let target = req.uri().path_and_query().map_or("/", |target| target.as_str());
    let condition = req.headers().get(IF_MATCH).map_or(&b""[..], |tag| tag.as_bytes());
    let hash = fingerprint::of(req.method().as_str(), target, condition, &body);
    let app = identity::app(depot)?;
    let run = Arc::new(Run::new(&context, key, hash));
    let known = app.claim(&run).await?;
    match known {
        Remembered::New => Ok(Begun::Run(Claim { app, run, open: true })),
        Remembered::Answered(answer) if answer.body.is_some() => Ok(Begun::Repeated(answer)),
        other => Err(refusal(other, app.clock.now())),
    }
}

/// The one key of a request.
fn read_key(headers: &HeaderMap) -> Result<String, Problem> {
    let invalid = |detail: &str| {
        let detail = format!("`Idempotency-Key`: {detail}");
        Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail)
    };
    let mut keys = headers.get_all(KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(invalid("given more than once"));
    };
    let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    match key.as_bytes() {
        bytes if bytes.is_empty() || bytes.len() > MAX_KEY => Err(invalid("1 to 255 characters are needed")),
        bytes if !visible(bytes) => Err(invalid("only visible ASCII characters are allowed")),
        bytes => Ok(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Why a request is neither run nor answered as before.
fn refusal(known: Remembered, now: Timestamp) -> Problem {
    match known {
        Remembered::OtherRequest => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "the key was used for a request with another path or body",
        ),
        Remembered::AnswerLost(object) => {
            let done = object.map_or_else(String::new, |object| format!(" on {object}"));
            let detail = format!("the request was carried out{done}; its answer is lost");
            Problem::conflict("answer_lost", detail)
        }
        Remembered::Answered(_) => Problem::conflict(
            "answer_held_secret",
            "the request was carried out; its answer held a secret and is not kept",
        ),
        Remembered::InFlight(until) => {
            let wait = (until - now).to_std().unwrap_or_default();
            Problem::conflict(
                "request_in_flight",
                "the request with this key is being carried out",
            )
            .with_retry_after(wait.max(std::time::Duration::from_secs(1)))
        }
        Remembered::New => Problem::internal(&"a new request was refused"),
    }
}

/// A key that this process holds. Dropped before [`Claim::finish`] (the sender went away, or it took too long), it
/// lets the request run again if it had no effect.
struct Claim {
    app: Arc<App>,
    run: Arc<Run>,
    open: bool,
}

impl Claim {
    async fn finish(mut self, kind: Idempotency, res: &Response) {
        self.open = false;
        let status = res.status_code.unwrap_or(StatusCode::OK);
        let worth = match kind {
            Idempotency::Rest => status.is_success() || status.is_redirection(),
            Idempotency::Graphql => false,
        };
        // A failure without effect may be tried again. One after an effect is final, unless it is a failure of
        // ours: then what happened is known, and the answer is not.
        let final_answer = worth || (self.run.took_effect() && !status.is_server_error());
        let answer = if final_answer {
            kept::keep(res, self.run.holds_secret())
        } else {
            None
        };
        let done = match answer {
            Some(answer) => self.app.keep_answer(&self.run, &answer).await,
            None => self.app.give_up(&self.run).await,
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "the answer to a request with a key could not be kept");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (app, run) = (self.app.clone(), self.run.clone());
        tokio::spawn(async move {
            if let Err(error) = app.give_up(&run).await {
                tracing::debug!(error = %error, "a key could not be given up; its claim runs out");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use salvo::http::HeaderValue;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, HeaderValue::from_bytes(value).unwrap());
        }
        read_key(&headers).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn a_key_has_1_to_255_visible_characters() {
        assert_eq!(key(&[b"a-1/~!"]).as_deref(), Ok("a-1/~!"));
        assert_eq!(key(&[&[b'a'; 255]]).map(|key| key.len()), Ok(255));
        for wrong in [&b""[..], b"a b", b"\xc3\xa9", &[b'a'; 256]] {
            assert_eq!(key(&[wrong]), Err(400), "{wrong:?}");
        }
        assert_eq!(key(&[b"a", b"a"]), Err(400));
    }
}
