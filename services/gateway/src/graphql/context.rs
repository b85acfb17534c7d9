//! What a field works with.

use std::sync::Arc;

use async_graphql::dynamic::ResolverContext;

use super::loaders::Loaders;
use crate::app::{App, RequestContext};

/// What a field works with: the use cases, and who calls them.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) context: Arc<RequestContext>,
    pub(super) loaders: Arc<Loaders>,
}

impl Call {
    /// A caller who is signed in.
    pub(super) fn new(app: Arc<App>, context: RequestContext) -> Self {
        let context = Arc::new(context);
        Self {
            loaders: Arc::new(Loaders::new(app.clone(), context.clone())),
            app,
            context,
        }
    }

    /// That of a field.
    ///
    /// # Errors
    /// The request came without.
    pub(super) fn of(ctx: &ResolverContext<'_>) -> async_graphql::Result<Self> {
        ctx.data::<Self>().cloned()
    }
}
