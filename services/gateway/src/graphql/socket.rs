//! Subscriptions: the protocol `graphql-transport-ws` over a websocket.

use std::{collections::HashMap, time::Duration};

use async_graphql::{
    Request as Query, Response as Answer,
    parser::{
        parse_query,
        types::{DocumentOperations, OperationType},
    },
};
use futures::{
    SinkExt, StreamExt,
    future::AbortHandle,
    stream::{BoxStream, SelectAll, SplitSink, once},
};
use halcyon_domain::error::from_value;
use salvo::{
    http::StatusCode,
    websocket::{Message, WebSocket},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::{
    context::Call,
    error::of_request,
    limits,
    server::{Body, Graphql, document, was_run},
};
use crate::{
    app::{RequestContext, Watched},
    context::RequestInfo,
    edge::rate::RateLimit,
    problem::Problem,
};

/// The protocol's name.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";
/// The largest message that is taken, in bytes.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;
/// The subscriptions that one connection may have.
pub(super) const MAX_SUBSCRIPTIONS: usize = 50;
/// How long the first message may take.
const INIT: Duration = Duration::from_secs(10);
/// How often a sign of life is asked for; a connection that gives none for twice as long is closed.
const PING: Duration = Duration::from_secs(20);
/// How long a message may take to be sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message of the client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Value>,
    },
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
    Ping,
    Pong,
}

/// Why a connection is closed: the protocol's code and words.
struct Close(u16, String);

/// What an operation of the connection says.
enum Told {
    Answer(Box<Answer>),
    End,
}

/// An operation: the client's identifier, and which of those that had it.
type Key = (String, u64);
type Running = SelectAll<BoxStream<'static, (Key, Told)>>;

/// A connection.
struct Connection {
    server: Graphql,
    info: RequestInfo,
    /// What the caller may ask for, here and by other requests together.
    rate: Option<RateLimit>,
    sink: SplitSink<WebSocket, Message>,
    /// The caller, once they have shown who they are.
    caller: Option<RequestContext>,
    /// How to end what runs, by the client's identifiers.
    handles: HashMap<String, (u64, AbortHandle)>,
    /// How many operations there have been.
    begun: u64,
    running: Running,
}

/// Serves a connection until one side ends it.
pub(super) async fn serve(socket: WebSocket, server: Graphql, info: RequestInfo, rate: Option<RateLimit>) {
    let (sink, mut source) = socket.split();
    let mut connection = Connection {
        server,
        info,
        rate,
        sink,
        caller: None,
        handles: HashMap::new(),
        begun: 0,
        running: SelectAll::new(),
    };
    let closed = connection.run(&mut source).await;
    if let Err(Close(code, reason)) = closed {
        let close = connection.sink.send(Message::close_with(code, reason));
        drop(timeout(PATIENCE, close).await);
    }
}

impl Connection {
    async fn run(
        &mut self,
        source: &mut (impl StreamExt<Item = Result<Message, salvo::Error>> + Unpin + Send),
    ) -> Result<(), Close> {
        let begun = Instant::now();
        let mut heard = Instant::now();
        let mut pings = interval(PING);
        let mut ended: futures::future::BoxFuture<'static, ()> = Box::pin(std::future::pending());
        loop {
            tokio::select! {
                message = source.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    heard = Instant::now();
                    if message.is_close() {
                        return Ok(());
                    }
                    if message.is_text() || message.is_binary() {
                        let was_known = self.caller.is_some();
                        self.take(message.as_bytes()).await?;
                        if let (false, Some(caller)) = (was_known, &self.caller) {
                            let standing = self.server.app.watch_access(caller, Watched::Caller);
                            ended = Box::pin(standing.ended());
                        }
                    }
                }
                Some((key, told)) = self.running.next(), if !self.running.is_empty() => self.tell(key, told).await?,
                () = &mut ended => return Err(Close(4401, "Unauthorized".to_owned())),
                () = sleep_until(begun + INIT), if self.caller.is_none() => {
                    return Err(Close(4408, "Connection initialisation timeout".to_owned()));
                }
                _ = pings.tick() => {
                    if heard.elapsed() > PING * 2 {
                        return Ok(());
                    }
                    self.send(json!({"type": "ping"})).await?;
                }
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let said = serde_json::from_slice(bytes).map_err(|_| Close(4400, "Invalid message".to_owned()))?;
        match said {
            Said::ConnectionInit { payload } => {
                if self.caller.is_some() {
                    return Err(Close(4429, "Too many initialisation requests".to_owned()));
                }
                self.caller = Some(identify(&self.server, &self.info, payload).await?);
                self.send(json!({"type": "connection_ack"})).await
            }
            Said::Subscribe { id, payload } => self.subscribe(id, payload).await,
            Said::Complete { id } => {
                self.end(&id);
                Ok(())
            }
            Said::Ping => self.send(json!({"type": "pong"})).await,
            Said::Pong => Ok(()),
        }
    }

    async fn subscribe(&mut self, id: String, payload: Value) -> Result<(), Close> {
        let Some(caller) = self.caller.clone() else {
            return Err(Close(4401, "Unauthorized".to_owned()));
        };
        if self.handles.contains_key(&id) {
            return Err(Close(4409, format!("Subscriber for {id} already exists")));
        }
        if let (Some(rate), Some(subject)) = (&self.rate, caller.actor().id)
            && let Err(problem) = rate.admit(subject)
        {
            return self.refuse(&id, &problem).await;
        }
        if self.handles.len() >= MAX_SUBSCRIPTIONS {
            let detail = format!("a connection has at most {MAX_SUBSCRIPTIONS} subscriptions");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
            return self.refuse(&id, &problem).await;
        }
        let body: Body = match from_value(payload) {
            Ok(body) => body,
            Err(_) => return Err(Close(4400, "Invalid message".to_owned())),
        };
        let query = body.query();
        if let Err(problem) = no_mutation(&query) {
            return self.refuse(&id, &problem).await;
        }
        let call = Call::new(self.server.app.clone(), caller);
        let answers = self.server.schema.execute_stream(query.data(call));
        self.begun += 1;
        let key = (id.clone(), self.begun);
        let name = key.clone();
        let answers = answers.map(move |answer| (name.clone(), Told::Answer(Box::new(answer))));
        let (answers, handle) = futures::stream::abortable(answers);
        let end = once(std::future::ready((key.clone(), Told::End)));
        self.handles.insert(id, (key.1, handle));
        self.running.push(answers.chain(end).boxed());
        Ok(())
    }

    async fn tell(&mut self, (id, begun): Key, told: Told) -> Result<(), Close> {
        // What the client has completed says nothing more.
        if self.handles.get(&id).is_none_or(|(latest, _)| *latest != begun) {
            return Ok(());
        }
        match told {
            Told::Answer(answer) if answer.is_err() && !was_run(&answer) => {
                self.end(&id);
                let errors = document(*answer, &self.info)["errors"].take();
                self.send(json!({"id": id, "type": "error", "payload": errors}))
                    .await
            }
            Told::Answer(answer) => {
                let payload = document(*answer, &self.info);
                self.send(json!({"id": id, "type": "next", "payload": payload}))
                    .await
            }
            Told::End => {
                self.end(&id);
                self.send(json!({"id": id, "type": "complete"})).await
            }
        }
    }

    fn end(&mut self, id: &str) {
        if let Some((_, handle)) = self.handles.remove(id) {
            handle.abort();
        }
    }

    async fn refuse(&mut self, id: &str, problem: &Problem) -> Result<(), Close> {
        let answer = Answer::from_errors(vec![of_request(problem)]);
        let errors = document(answer, &self.info)["errors"].take();
        self.send(json!({"id": id, "type": "error", "payload": errors}))
            .await
    }

    async fn send(&mut self, message: Value) -> Result<(), Close> {
        let sent = timeout(PATIENCE, self.sink.send(Message::text(message.to_string()))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Close(4508, "Too slow".to_owned())),
        }
    }
}

/// Who connects: `Authorization` as the header has it, or `token`, of the first message. Cookies do not count
/// here: a browser sends them along whichever page opens the connection.
async fn identify(
    server: &Graphql,
    info: &RequestInfo,
    payload: Option<Value>,
) -> Result<RequestContext, Close> {
    let forbidden = || Close(4403, "Forbidden".to_owned());
    let text = |key: &str| payload.as_ref().and_then(|payload| payload.get(key)?.as_str());
    let bearer = ["Authorization", "authorization"].into_iter().find_map(text);
    let bearer = bearer.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let token = bearer.or_else(|| text("token")).ok_or_else(forbidden)?;
    let found = server.app.authenticate(token).await;
    let caller = found.map_err(|error| match Problem::from(error) {
        problem if problem.status.is_server_error() => Close(4500, problem.detail),
        _ => forbidden(),
    })?;
    Ok(RequestContext::new(caller, info.clone()))
}

/// Mutations come by POST alone, where a key makes their repetition harmless.
fn no_mutation(query: &Query) -> Result<(), Problem> {
    if limits::check_text(&query.query).is_err() {
        // Said in full when it is run.
        return Ok(());
    }
    let Ok(document) = parse_query(&query.query) else {
        return Ok(());
    };
    let mutates = match &document.operations {
        DocumentOperations::Single(only) => only.node.ty == OperationType::Mutation,
        DocumentOperations::Multiple(several) => {
            several.values().any(|one| one.node.ty == OperationType::Mutation)
        }
    };
    if mutates {
        return Err(Problem::bad_request(
            "mutations come by POST, not over a websocket",
        ));
    }
    Ok(())
}
