//! One page over the network: paced, with credentials, its failures told apart.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use halcyon_domain::clock::Clock;
use halcyon_egress::{Guard, Http};
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use rustls::ClientConfig;
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    body::{Record, as_text, mark_of_page, read_limited},
    page::{Answered, Page},
    plan::Plan,
    request::{Ask, Built},
    status::{Failure, Step, failure, sending},
    token::Tokens,
};
use crate::{Error, Secrets, tls::Tls};

/// Fetches the pages of one connection.
pub(crate) struct Client {
    pub(crate) plan: Arc<Plan>,
    http: Http,
    secrets: Secrets,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    /// When the next request may be sent.
    next: Mutex<Instant>,
}

/// A page as it came.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<Record>,
    /// What the page is known by.
    pub(crate) mark: String,
    /// The page after it, if the run has one.
    pub(crate) next: Option<Page>,
}

impl Plan {
    /// What a page has, and the page after it.
    fn take_apart(
        &self,
        page: &Page,
        url: &Url,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Fetched, Error> {
        let body = as_text(body);
        let text = std::str::from_utf8(&body).map_err(|_| Error::System("text is no UTF-8".to_owned()))?;
        let records = self.records_of(&body, text)?;
        let next = self.page_after(&Answered {
            page,
            url,
            headers,
            body: text,
            records: records.len() as u64,
        })?;
        Ok(Fetched {
            mark: mark_of_page(page, &records),
            records,
            next,
        })
    }
}

/// The settings for servers of public authorities. Reading all of these takes a while, so it is done once.
fn public() -> Result<Arc<ClientConfig>, Error> {
    static PUBLIC: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = PUBLIC.get() {
        return Ok(Arc::clone(config));
    }
    let config = Tls::default().client_config(&Secrets::none())?;
    Ok(Arc::clone(PUBLIC.get_or_init(|| config)))
}

impl Client {
    /// A client; opens no connection yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(
        plan: Arc<Plan>,
        secrets: &Secrets,
        guard: &Guard,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let tls = match &plan.tls {
            Some(tls) => tls.client_config(secrets)?,
            None => public()?,
        };
        let made = Http::with_tls(guard.clone(), timeout, tls.as_ref().clone());
        let http = made.map_err(|error| Error::System(format!("HTTP cannot be set up: {error}")))?;
        Ok(Self {
            tokens: Tokens::new(&plan.auth, secrets, http.clone(), Arc::clone(&clock)),
            plan,
            http,
            secrets: secrets.clone(),
            clock,
            next: Mutex::new(Instant::now()),
        })
    }

    /// Fetches a page.
    ///
    /// # Errors
    /// By class, and at which step.
    pub(crate) async fn fetch(&self, ask: &Ask) -> Result<Fetched, Failure> {
        let at = |step: Step| move |error: Error| Failure { step, error };
        let built = self.plan.build(ask).map_err(at(Step::Page))?;
        let mut token = self.token(None).await?;
        let mut answer = self.send(&built, token.as_deref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && token.is_some() {
            // It may have been taken back before its end.
            token = self.token(token.as_deref()).await?;
            answer = self.send(&built, token.as_deref()).await?;
        }
        let status = answer.status();
        if !status.is_success() {
            return Err(failure(status, answer.headers(), self.clock.now()));
        }
        let (url, headers) = (answer.url().clone(), answer.headers().clone());
        let body = read_limited(answer, self.plan.max_body).await;
        let body = body.map_err(at(Step::Sample))?;
        let (plan, page) = (Arc::clone(&self.plan), ask.page.clone());
        // A large page takes a while, and other feeds have this thread, too.
        let taken_apart = spawn_blocking(move || plan.take_apart(&page, &url, &headers, body)).await;
        let lost = |error| Error::System(format!("a page's records broke off: {error}"));
        taken_apart
            .map_err(lost)
            .and_then(|fetched| fetched)
            .map_err(at(Step::Sample))
    }

    async fn token(&self, refused: Option<&str>) -> Result<Option<String>, Failure> {
        if !self.plan.renews() {
            return Ok(None);
        }
        let token = self.tokens.get(refused).await.map_err(|error| Failure {
            step: Step::Authenticate,
            error,
        })?;
        Ok(Some(token.to_string()))
    }

    async fn send(&self, built: &Built, token: Option<&str>) -> Result<reqwest::Response, Failure> {
        self.pace().await;
        let (mut url, mut headers) = (built.url.clone(), built.headers.clone());
        let at = |step: Step| move |error: Error| Failure { step, error };
        self.plan
            .sign(&mut url, &mut headers, &self.secrets, token)
            .map_err(at(Step::Authenticate))?;
        let mut request = self.http.request(self.plan.method.clone(), url).headers(headers);
        if let Some(body) = &built.body {
            request = request.body(body.clone());
        }
        let request = request
            .build()
            .map_err(|_| at(Step::Page)(Error::System("the request cannot be built".to_owned())))?;
        self.http.send(request).await.map_err(|error| {
            let error = sending(error);
            let tls = matches!(&error, Error::Refused { message } if message.starts_with("TLS"));
            at(if tls { Step::Tls } else { Step::Connect })(error)
        })
    }

    async fn pace(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.plan.pace;
    }
}
