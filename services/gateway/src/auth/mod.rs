//! Who is calling: passwords, access tokens, and the brake on guessing.

mod credentials;
mod keys;
mod passwords;
mod service_tokens;
mod throttle;
mod tokens;

pub use credentials::SESSION_COOKIE;
pub use passwords::{PasswordError, Passwords, hash_password};
pub use throttle::{LoginThrottle, ThrottleSettings};
pub use tokens::{IssuedToken, TokenError, TokenKey, TokenSettings, Tokens};

pub(crate) use credentials::{clear_session, session_cookie, token_of};
pub(crate) use keys::keep_token_keys;
pub(crate) use service_tokens::ShownToken;
pub(crate) use throttle::network_of;

#[cfg(test)]
pub(crate) use tokens::test_key;
