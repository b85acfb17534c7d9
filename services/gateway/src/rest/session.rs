//! `/auth` and `/me`: signing in and out, and the sessions there are.

use halcyon_domain::id::{SessionId, UserId};
use salvo::{
    Request, Response, Writer,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, SET_COOKIE},
    },
    oapi::endpoint,
};

use super::{
    answer::{Done, Found, Outcome},
    extract::{Anyone, Body, Caller, Path},
};
use crate::{
    app::{
        App, Login, Refresh, SignedIn, SwitchOrganization,
        views::{List, Me, Session, SessionInfo},
    },
    auth::{
        REFRESH_COOKIE, RefreshToken, SESSION_COOKIE, clear_cookies, cookie_token, refresh_cookie,
        session_cookie, token_of,
    },
    openapi,
    problem::Problem,
};

/// Signs in.
///
/// The answer holds an access token, and sets it and a refresh token as cookies, for browsers. Programs ask for the
/// refresh token with `return_refresh_token`.
#[endpoint(operation_id = "login", tags("session"), responses(LoginProblems))]
pub(crate) async fn login(caller: Anyone, body: Body<Login>, res: &mut Response) -> Outcome<Found<Session>> {
    let returned = body.0.return_refresh_token;
    let signed_in = caller.app.login(body.0, &caller.info).await?;
    answer(&caller.app, signed_in, returned, res)
}

/// Gets the next access token.
///
/// The refresh token comes as a cookie, or in the body from programs, and works once: its successor comes back the
/// same way. One that is used again later ends the session.
#[endpoint(operation_id = "refresh", tags("session"), responses(RefreshProblems))]
pub(crate) async fn refresh(
    caller: Anyone,
    body: Body<Refresh>,
    req: &mut Request,
    res: &mut Response,
) -> Outcome<Found<Session>> {
    let returned = body.0.refresh_token.is_some();
    let shown = match body.0.refresh_token {
        Some(token) => Some(token),
        None => cookie_token(req, REFRESH_COOKIE)?,
    };
    let shown = shown.ok_or_else(|| Problem::unauthenticated("sign in: no refresh token was sent"))?;
    match caller
        .app
        .refresh(&RefreshToken::shown(&shown), &caller.info)
        .await
    {
        Ok(signed_in) => answer(&caller.app, signed_in, returned, res),
        Err(error) => {
            let problem = Problem::from(error);
            if !returned && problem.status == salvo::http::StatusCode::UNAUTHORIZED {
                clear(&caller.app, res)?;
            }
            Err(problem)
        }
    }
}

/// Signs out: ends the session of the refresh token, or else of the access token, and clears the browser's cookies.
///
/// Its tokens hold no more, and what is open ends. Where there is no session, nothing happens.
#[endpoint(operation_id = "logout", tags("session"), responses(LogoutProblems))]
pub(crate) async fn logout(
    caller: Anyone,
    body: Body<Refresh>,
    req: &mut Request,
    res: &mut Response,
) -> Outcome<Done> {
    let shown = match body.0.refresh_token {
        Some(token) => Some(token),
        None => cookie_token(req, REFRESH_COOKIE)?,
    };
    let shown = shown.map(|token| RefreshToken::shown(&token));
    let access = match cookie_token(req, SESSION_COOKIE)? {
        Some(token) => Some(token),
        None => token_of(req).ok(),
    };
    caller
        .app
        .logout(shown.as_ref(), access.as_deref(), &caller.info)
        .await?;
    clear(&caller.app, res)?;
    Ok(Done)
}

/// Goes on in another organisation in which the caller holds a role.
///
/// The answer holds an access token for it; those that were issued before are good for the organisation they name.
#[endpoint(
    operation_id = "switchOrganization",
    tags("session"),
    responses(SwitchProblems)
)]
pub(crate) async fn switch_organization(
    caller: Caller,
    body: Body<SwitchOrganization>,
    res: &mut Response,
) -> Outcome<Found<Session>> {
    let signed_in = caller.app.switch_organization(&caller.context, body.0).await?;
    answer(&caller.app, signed_in, false, res)
}

/// Who is signed in, and with which roles.
#[endpoint(operation_id = "getMe", tags("session"))]
pub(crate) async fn me(caller: Caller) -> Outcome<Found<Me>> {
    Ok(Found::new(caller.app.me(&caller.context).await?))
}

/// Lists the caller's sessions, the one that was used last first.
#[endpoint(operation_id = "listMySessions", tags("session"))]
pub(crate) async fn list(caller: Caller) -> Outcome<Found<List<SessionInfo>>> {
    Ok(Found::new(caller.app.list_sessions(&caller.context).await?))
}

/// Ends one of the caller's sessions.
#[endpoint(operation_id = "endMySession", tags("session"))]
pub(crate) async fn end(caller: Caller, id: Path<SessionId>) -> Outcome<Done> {
    caller.app.end_session(&caller.context, id.0).await?;
    Ok(Done)
}

/// Ends all sessions of a user.
#[endpoint(operation_id = "endUserSessions", tags("access"))]
pub(crate) async fn end_all(caller: Caller, id: Path<UserId>) -> Outcome<Done> {
    caller.app.end_user_sessions(&caller.context, id.0).await?;
    Ok(Done)
}

/// Tells a caller their tokens: programs in the body, browsers as cookies. A browser's scripts never see the refresh
/// token, a program's cookies are not touched.
fn answer(app: &App, signed_in: SignedIn, returned: bool, res: &mut Response) -> Outcome<Found<Session>> {
    let (secure, mut session) = (app.options.secure_cookies, signed_in.session);
    if returned {
        session.refresh_token = signed_in.refresh.map(|token| token.expose().to_owned());
    } else {
        set_cookie(
            res,
            &session_cookie(&session.access_token, signed_in.lifetime, secure),
        )?;
        if let Some(token) = signed_in.refresh {
            set_cookie(res, &refresh_cookie(token.expose(), signed_in.idle, secure))?;
        }
    }
    res.headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Found::new(session))
}

fn clear(app: &App, res: &mut Response) -> Result<(), Problem> {
    clear_cookies(app.options.secure_cookies)
        .iter()
        .try_for_each(|cookie| set_cookie(res, cookie))
}

fn set_cookie(res: &mut Response, cookie: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(cookie).map_err(|error| Problem::internal(&error))?;
    res.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// Describes the problems that only some operations answer with.
macro_rules! problems {
    ($($name:ident: $($status:literal => $text:literal),*;)*) => {$(
        /// What this operation answers besides.
        struct $name;

        impl salvo::oapi::ToResponses for $name {
            fn to_responses(components: &mut salvo::oapi::Components) -> salvo::oapi::Responses {
                let mut operation = salvo::oapi::Operation::new();
                $(openapi::add_problem(components, &mut operation, $status, $text);)*
                operation.responses
            }
        }
    )*};
}

problems! {
    LoginProblems:
        "401" => "The e-mail address or the password is wrong.",
        "429" => "Too many attempts; see `Retry-After`.";
    RefreshProblems:
        "401" => "The refresh token does not hold, or was used before.",
        "403" => "Another site sent the browser's cookie along.";
    LogoutProblems:
        "403" => "Another site sent the browser's cookie along.";
    SwitchProblems:
        "404" => "There is nothing in such an organisation for the caller.",
        "409" => "The caller's token belongs to no session.";
}
