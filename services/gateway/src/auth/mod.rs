//! Who is calling: passwords, access tokens, sessions, and the brake on guessing.

mod access_watch;
mod credential;
mod credentials;
mod external;
mod keys;
mod passwords;
mod refresh;
mod service_tokens;
mod throttle;
mod tokens;

pub use access_watch::AccessWatch;
pub use credential::{Authenticated, Credential};
pub use credentials::{REFRESH_COOKIE, SESSION_COOKIE};
pub use external::{ExternalIssuer, ExternalIssuerSettings, SigningAlgorithm};
pub use passwords::{PasswordError, Passwords, hash_password};
pub use refresh::{RefreshToken, SessionSettings};
pub use throttle::{LoginThrottle, ThrottleSettings};
pub use tokens::{Holder, IssuedToken, Jwk, JwkSet, TokenError, TokenKey, TokenSettings, Tokens};

pub(crate) use access_watch::Sight;
pub(crate) use credentials::{clear_cookies, cookie_token, refresh_cookie, session_cookie, token_of};
pub(crate) use external::{ExternalClaims, ExternalError};
pub(crate) use keys::keep_token_keys;
pub(crate) use passwords::check_new_password;
pub(crate) use service_tokens::{NewToken, ShownToken};
pub(crate) use throttle::network_of;

#[cfg(test)]
pub(crate) use external::tests as external_tests;
#[cfg(test)]
pub(crate) use tokens::test_key;
