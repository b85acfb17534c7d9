//! How long somebody stays known, and why no longer.

use crate::{duration::HumanDuration, lifecycle::states};

/// The longest that an access token may be good. A key that signs no more is kept this long, so that what it
/// signed can be checked until it has run out.
pub const MAX_ACCESS_TOKEN_LIFETIME: HumanDuration = HumanDuration::from_secs(24 * 3600);

states! {
    /// Why a session ended.
    EndReason {
        /// Its user signed out.
        SignedOut = "signed_out",
        /// Its user ended it from another session.
        Revoked = "revoked",
        /// An administrator ended it.
        RevokedByAdmin = "revoked_by_admin",
        /// The user's password was changed.
        PasswordChanged = "password_changed",
        /// The user was disabled.
        UserDisabled = "user_disabled",
        /// The user was deleted.
        UserDeleted = "user_deleted",
        /// A refresh token that had been used came again: somebody else may have it.
        TokenReused = "token_reused",
    }
}
