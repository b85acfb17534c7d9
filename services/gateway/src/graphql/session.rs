//! Who is signed in. Signing in and out, and going on in another organisation, set cookies, which only REST does.

use halcyon_domain::id::{SessionId, UserId};

use super::{
    api::Api,
    arguments::{New, Nothing, Of, done},
};
use crate::app::RotateTokenKeys;

pub(super) fn add(api: &mut Api) {
    api.query("getMe", "me", |call, Nothing {}| async move {
        call.app.me(&call.context).await
    });
    api.query("listMySessions", "mySessions", |call, Nothing {}| async move {
        let list = call.app.list_sessions(&call.context).await;
        list.map(|list| list.items)
    });
    api.mutation("endMySession", |call, of: Of<SessionId>| async move {
        call.app.end_session(&call.context, of.id).await.map(done)
    });
    api.mutation("endUserSessions", |call, of: Of<UserId>| async move {
        call.app.end_user_sessions(&call.context, of.id).await.map(done)
    });
    api.mutation("rotateTokenKeys", |call, new: New<RotateTokenKeys>| async move {
        call.app.rotate_token_keys(&call.context, new.input).await
    });
}
