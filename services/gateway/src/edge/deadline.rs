//! How long a request may take.

use std::time::Duration;

use salvo::{Depot, FlowCtrl, Handler, Request, Response, async_trait};

use crate::problem::Problem;

/// Ends a request that takes longer than this. What goes on after the answer has begun (a log that is followed, a
/// subscription) is not meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Duration);

#[async_trait]
impl Handler for Deadline {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let next = ctrl.call_next(req, depot, res);
        if tokio::time::timeout(self.0, next).await.is_err() {
            tracing::warn!(
                http.path = req.uri().path(),
                "a request took too long and was ended"
            );
            Problem::deadline_exceeded().render(req, depot, res);
            ctrl.skip_rest();
        }
    }
}
