//! Who sent a request, found out once and kept for whoever asks next.

use std::sync::Arc;

use salvo::{Depot, Request};

use crate::{
    app::{App, RequestContext},
    auth,
    context::RequestInfo,
    problem::Problem,
};

/// What was found out.
#[derive(Clone)]
struct Known(Result<RequestContext, Problem>);

/// The application, as the route table was given it.
pub(crate) fn app(depot: &Depot) -> Result<Arc<App>, Problem> {
    depot
        .get_typed::<Arc<App>>()
        .cloned()
        .map_err(|_| Problem::internal(&"the routes were made without the application"))
}

/// Who sent the request.
///
/// # Errors
/// It carries no credentials, or none that hold.
pub(crate) async fn caller(req: &Request, depot: &mut Depot) -> Result<RequestContext, Problem> {
    if let Ok(known) = depot.get_typed::<Known>() {
        return known.0.clone();
    }
    let found = authenticated(req, depot).await;
    depot.insert_typed(Known(found.clone()));
    found
}

async fn authenticated(req: &Request, depot: &Depot) -> Result<RequestContext, Problem> {
    let app = app(depot)?;
    let token = auth::token_of(req)?;
    let caller = app.authenticate(&token).await?;
    Ok(RequestContext::new(caller, RequestInfo::of(req, depot)))
}
