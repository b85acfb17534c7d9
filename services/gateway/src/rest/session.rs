//! `/auth` and `/me`.

use salvo::{
    Response, Writer,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, SET_COOKIE},
    },
    oapi::endpoint,
};

use super::{
    answer::{Done, Found, Outcome},
    extract::{Anyone, Body, Caller},
};
use crate::{
    app::{
        Login,
        views::{Me, Session},
    },
    auth::{clear_session, session_cookie},
    openapi,
    problem::Problem,
};

/// Signs in.
///
/// The answer holds an access token and sets it as a cookie, for browsers.
#[endpoint(operation_id = "login", tags("session"), responses(LoginProblems))]
pub(crate) async fn login(caller: Anyone, body: Body<Login>, res: &mut Response) -> Outcome<Found<Session>> {
    let session = caller.app.login(body.0, &caller.info).await?;
    let app = &caller.app;
    let cookie = session_cookie(
        &session.access_token,
        app.tokens.lifetime(),
        app.options.secure_cookies,
    );
    set_cookie(res, &cookie)?;
    res.headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Found::new(session))
}

/// Signs out: clears the browser's cookie. An access token that was kept is good until it expires.
#[endpoint(operation_id = "logout", tags("session"))]
pub(crate) async fn logout(res: &mut Response) -> Outcome<Done> {
    set_cookie(res, &clear_session())?;
    Ok(Done)
}

/// Who is signed in, and with which roles.
#[endpoint(operation_id = "getMe", tags("session"))]
pub(crate) async fn me(caller: Caller) -> Outcome<Found<Me>> {
    Ok(Found::new(caller.app.me(&caller.context).await?))
}

fn set_cookie(res: &mut Response, cookie: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(cookie).map_err(|error| Problem::internal(&error))?;
    res.headers_mut().insert(SET_COOKIE, value);
    Ok(())
}

/// What only a login answers.
struct LoginProblems;

impl salvo::oapi::ToResponses for LoginProblems {
    fn to_responses(components: &mut salvo::oapi::Components) -> salvo::oapi::Responses {
        let mut operation = salvo::oapi::Operation::new();
        openapi::add_problem(
            components,
            &mut operation,
            "401",
            "The e-mail address or the password is wrong.",
        );
        openapi::add_problem(
            components,
            &mut operation,
            "429",
            "Too many attempts; see `Retry-After`.",
        );
        operation.responses
    }
}
