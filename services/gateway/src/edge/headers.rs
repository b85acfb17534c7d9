//! What tells browsers to take an answer for nothing else than it is, and clients to come back on another connection.

use halcyon_infra::Shutdown;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{
        HeaderMap, HeaderName, HeaderValue, Version,
        header::{
            CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
            X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
};

const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// What every answer says, unless its handler says otherwise: it is what it is, loads nothing, is shown in no other
/// page, gets no camera and the like, tells no other site where it was, and no copy of it is kept.
const EVERY: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (
        PERMISSIONS,
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];
/// For two years come by TLS only; hosts below ours are not ours to speak for.
const BY_TLS_ONLY: &str = "max-age=63072000";

/// Puts the headers on every answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protected {
    /// Whether browsers reach the gateway by TLS, its own or a proxy's.
    pub(crate) tls: bool,
    /// Once the gateway is told to stop, every answer is the last of its connection: a request that is sent just when
    /// an idle connection is closed would be lost.
    pub(crate) stopping: Shutdown,
}

#[async_trait]
impl Handler for Protected {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        ctrl.call_next(req, depot, res).await;
        self.protect(res.headers_mut());
        // HTTP/2 has no such header; its connections are told by the server.
        if self.stopping.is_triggered() && req.version() <= Version::HTTP_11 {
            res.headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl Protected {
    fn protect(&self, headers: &mut HeaderMap) {
        for (name, value) in EVERY {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.tls {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(BY_TLS_ONLY));
        }
    }
}
