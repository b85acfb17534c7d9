//! `/token-keys`: the keys that access tokens are signed with.

use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome},
    extract::{Body, Caller},
};
use crate::app::{RotateTokenKeys, RotatedTokenKey};

/// Replaces the key that access tokens are signed with.
///
/// Only for administrators of the whole installation. Tokens that older keys signed hold until they run out, unless
/// `drop_old` says otherwise. The public keys are at `/.well-known/jwks.json`.
#[endpoint(operation_id = "rotateTokenKeys", tags("session"))]
pub(crate) async fn rotate(caller: Caller, body: Body<RotateTokenKeys>) -> Outcome<Found<RotatedTokenKey>> {
    Ok(Found::new(
        caller.app.rotate_token_keys(&caller.context, body.0).await?,
    ))
}
