//! Where a request carries its access token: the `Authorization` header, or the session cookie of a browser.

use std::time::Duration;

use salvo::{
    Request,
    http::{
        Method,
        header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
    },
};

use crate::problem::Problem;

/// The cookie that a login sets.
pub const SESSION_COOKIE: &str = "halcyon_session";

/// The access token of a request.
///
/// A browser sends cookies along whoever made it send the request. So a cookie counts for a changing request
/// only if the browser says that one of our own pages sent it; the cookie is `SameSite=Strict` besides.
pub(crate) fn token_of(req: &Request) -> Result<String, Problem> {
    if let Some(value) = req.headers().get(AUTHORIZATION) {
        return value
            .to_str()
            .ok()
            .and_then(bearer)
            .map(str::to_owned)
            .ok_or_else(|| Problem::unauthenticated("the `Authorization` header is no bearer token"));
    }
    let cookie = text(req, COOKIE.as_str()).and_then(|cookies| session_of(&cookies));
    let token = cookie.ok_or_else(|| Problem::unauthenticated("sign in, or send a bearer token"))?;
    let safe = matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if safe
        || same_origin(
            text(req, "sec-fetch-site"),
            text(req, ORIGIN.as_str()),
            text(req, HOST.as_str()),
        )
    {
        Ok(token)
    } else {
        Err(Problem::forbidden(
            "a session cookie does not count for requests from other sites",
        ))
    }
}

fn text(req: &Request, header: &str) -> Option<String> {
    Some(req.headers().get(header)?.to_str().ok()?.to_owned())
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn session_of(cookies: &str) -> Option<String> {
    cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value.to_owned())
        .filter(|value| !value.is_empty())
}

/// Whether the headers that browsers alone can set say that one of our pages sent the request.
fn same_origin(site: Option<String>, origin: Option<String>, host: Option<String>) -> bool {
    if let Some(site) = site {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (origin, host) else {
        return false;
    };
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority == host)
}

/// The `Set-Cookie` value of a new session.
pub(crate) fn session_cookie(token: &str, lifetime: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = lifetime.as_secs();
    format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// The `Set-Cookie` value that ends a session.
pub(crate) fn clear_session() -> String {
    format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        assert_eq!(
            session_of("a=b; halcyon_session=t.o.k; c=d").as_deref(),
            Some("t.o.k")
        );
        assert_eq!(session_of("halcyon_session=; xhalcyon_session=1"), None);
    }

    #[test]
    fn another_site_is_told_by_the_browser() {
        let some = |text: &str| Some(text.to_owned());
        assert!(same_origin(some("same-origin"), None, None));
        assert!(!same_origin(some("cross-site"), some("http://a"), some("a")));
        assert!(!same_origin(some("same-site"), None, None));
        assert!(same_origin(None, some("http://a:8080"), some("a:8080")));
        assert!(!same_origin(None, some("http://evil"), some("a:8080")));
        assert!(!same_origin(None, None, some("a:8080")));
    }
}
