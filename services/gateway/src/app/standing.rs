//! Rights that are to stand for as long as something is open: a stream ends when the one who opened it could not
//! open it any more.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use halcyon_domain::{
    access::{Permission, Target},
    id::DatasourceId,
};
use halcyon_store::Tenant;
use tokio::sync::watch;

use super::{App, Error, RequestContext, Result, access::target_of};
use crate::auth::Sight;

/// What is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The caller is known, and holds exactly the grants that they held: for what shows each caller their own part.
    Caller,
    /// The caller has the permission in the organisation that they act in.
    Organization(Permission),
    /// The caller has the permission for a datasource, wherever it belongs by then.
    Datasource(Permission, DatasourceId),
}

/// A right that stood when it was asked for.
pub struct StandingAccess {
    app: Arc<App>,
    context: RequestContext,
    watched: Watched,
    sight: watch::Receiver<Sight>,
    /// The counter at which the right was last seen to stand.
    stood_at: Option<i64>,
}

impl App {
    /// Keeps an eye on a right that the caller has now. It ends within two seconds after the right does: the token
    /// ran out, the session ended, the user was disabled, the role was taken, the datasource went elsewhere. It ends
    /// as well when the database has not been able to say so for five seconds.
    #[must_use]
    pub fn watch_access(self: &Arc<Self>, context: &RequestContext, watched: Watched) -> StandingAccess {
        StandingAccess {
            app: self.clone(),
            context: context.clone(),
            watched,
            sight: self.access_watch.subscribe(),
            stood_at: None,
        }
    }

    /// What is seen of changed rights and keys.
    pub(crate) fn watch_keys(&self) -> watch::Receiver<Sight> {
        self.access_watch.subscribe()
    }

    /// Looks once whether anybody's rights have changed.
    pub(crate) async fn look_at_access(&self) {
        self.access_watch.look(&self.store).await;
    }
}

impl StandingAccess {
    /// Waits until the right is gone.
    pub async fn ended(mut self) {
        // The sender lives as long as the application, which `self` holds.
        while self.sight.changed().await.is_ok() {
            let sight = *self.sight.borrow_and_update();
            let expired = self
                .context
                .credential
                .expires_at
                .is_some_and(|at| at <= self.app.clock.now());
            if expired || sight.is_blind() {
                return;
            }
            let Some(epochs) = sight.epochs else { continue };
            if self.stood_at == Some(epochs.rights) {
                continue;
            }
            match self.holds().await {
                Ok(true) => self.stood_at = Some(epochs.rights),
                Ok(false) => return,
                // Asked again at the next look; if it goes on, the sight is blind.
                Err(error) => tracing::debug!(error = %error, "a right cannot be looked at now"),
            }
        }
    }

    /// `stream` until the right is gone.
    pub fn guard<S>(self, stream: S) -> impl Stream<Item = S::Item> + Send
    where
        S: Stream + Send,
    {
        stream.take_until(Box::pin(self.ended()))
    }

    async fn holds(&self) -> Result<bool> {
        let _turn = self.app.access_watch.turn().await;
        let caller = match self.app.authenticate(self.context.credential.token()).await {
            Ok(caller) => caller.principal,
            Err(Error::Unauthenticated(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let organization = caller.organization;
        Ok(match self.watched {
            Watched::Caller => caller == self.context.principal,
            Watched::Organization(permission) => caller.may(permission, &Target::organization(organization)),
            Watched::Datasource(permission, id) => {
                let read = self.app.store.read();
                let found = read.datasources().find(Tenant(organization), id).await?;
                found.is_some_and(|datasource| caller.may(permission, &target_of(&datasource)))
            }
        })
    }
}
