//! Who wrote a version. They do not decide about it, and neither does anybody who could have written it by a program:
//! whoever made a service account, or a token of it, may hold that token.

use std::collections::BTreeSet;

use halcyon_domain::{
    audit::{Actor, ActorKind},
    id::{ServiceAccountId, VersionId},
    version::VersionRecord,
};
use halcyon_store::{MAX_LIMIT, PageRequest, WriteTx};

use super::{App, RequestContext, Result, access::tenant};

/// So many programs that made programs are looked into.
const CHAIN: usize = 16;

impl App {
    /// Notes that the caller wrote a version.
    pub(crate) async fn written(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        version: &VersionRecord,
    ) -> Result<()> {
        let at = self.clock.now();
        tx.versions()
            .add_author(tenant(context), version.id, &context.actor(), at)
            .await?;
        self.holders_too(tx, context, version.id).await
    }

    /// Notes with a program those who may be behind it. It is noted at once: the program may be gone when somebody
    /// decides.
    pub(crate) async fn holders_too(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        version: VersionId,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut programs: Vec<_> = context.principal.subject.service_account().into_iter().collect();
        let all = PageRequest {
            limit: MAX_LIMIT,
            ..PageRequest::default()
        };
        while let Some(program) = programs.pop() {
            if seen.len() >= CHAIN || !seen.insert(program) {
                continue;
            }
            let (tenant, accounts) = (tenant(context), tx.service_accounts());
            let account = accounts.find(tenant, program).await?;
            let tokens = accounts.tokens(tenant, program, &all).await?.items;
            let made_tokens = tokens.into_iter().filter_map(|token| token.created_by);
            let made = account.and_then(|account| account.created_by);
            for id in made.into_iter().chain(made_tokens) {
                let holder = Actor {
                    kind: ActorKind::User,
                    id: Some(id.0),
                    name: String::new(),
                };
                tx.versions()
                    .add_author(tenant, version, &holder, self.clock.now())
                    .await?;
                // If it is a program itself, somebody is behind that one.
                programs.push(ServiceAccountId(id.0));
            }
        }
        Ok(())
    }
}
