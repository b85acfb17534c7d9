//! Who is signed in. Signing in and out set cookies, which only REST does.

use super::{api::Api, arguments::Nothing};

pub(super) fn add(api: &mut Api) {
    api.query("getMe", "me", |call, Nothing {}| async move {
        call.app.me(&call.context).await
    });
}
