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
/// The cookie that gets the next access token. A browser sends it to [`REFRESH_PATH`] only.
pub const REFRESH_COOKIE: &str = "halcyon_refresh";
/// Where the refresh cookie goes.
const REFRESH_PATH: &str = "/api/v1/auth";

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
    cookie_token(req, SESSION_COOKIE)?
        .ok_or_else(|| Problem::unauthenticated("sign in, or send a bearer token"))
}

/// The token in one of our cookies, if it was sent.
///
/// # Errors
/// It was sent along by another site with a request that changes something.
pub(crate) fn cookie_token(req: &Request, name: &str) -> Result<Option<String>, Problem> {
    let Some(token) = text(req, COOKIE.as_str()).and_then(|cookies| find(&cookies, name)) else {
        return Ok(None);
    };
    let safe = matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if safe
        || same_origin(
            text(req, "sec-fetch-site"),
            text(req, ORIGIN.as_str()),
            text(req, HOST.as_str()),
        )
    {
        Ok(Some(token))
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

fn find(cookies: &str, wanted: &str) -> Option<String> {
    cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
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

/// The `Set-Cookie` value of an access token.
pub(crate) fn session_cookie(token: &str, lifetime: Duration, secure: bool) -> String {
    cookie(SESSION_COOKIE, token, "/", lifetime, secure)
}

/// The `Set-Cookie` value of a refresh token.
pub(crate) fn refresh_cookie(token: &str, lifetime: Duration, secure: bool) -> String {
    cookie(REFRESH_COOKIE, token, REFRESH_PATH, lifetime, secure)
}

/// The `Set-Cookie` values that take both back.
pub(crate) fn clear_cookies(secure: bool) -> [String; 2] {
    [
        session_cookie("", Duration::ZERO, secure),
        refresh_cookie("", Duration::ZERO, secure),
    ]
}

fn cookie(name: &str, value: &str, path: &str, lifetime: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = lifetime.as_secs();
    format!("{name}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
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
            find("a=b; halcyon_session=t.o.k; c=d", SESSION_COOKIE).as_deref(),
            Some("t.o.k")
        );
        assert_eq!(find("halcyon_session=; xhalcyon_session=1", SESSION_COOKIE), None);
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
