//! What a token of another issuer says, each claim checked by hand.

use chrono::DateTime;
use halcyon_domain::{access::Role, clock::Timestamp, id::OrganizationId};
use serde_json::{Map, Value};

use super::{ExternalError, ExternalIssuerSettings, refused};

/// How far the clocks of two machines may differ, in seconds.
const LEEWAY: i64 = 30;
/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 255;
/// The longest name and address, in characters.
const MAX_TEXT: usize = 200;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExternalClaims {
    /// Whom the issuer means.
    pub(crate) subject: String,
    /// The organisation that it is good in, if it names one.
    pub(crate) organization: Option<OrganizationId>,
    /// The roles there.
    pub(crate) roles: Vec<Role>,
    /// The e-mail address, in lower case. It proves nothing.
    pub(crate) email: Option<String>,
    /// The name.
    pub(crate) name: Option<String>,
    /// When it runs out.
    pub(crate) expires_at: Timestamp,
}

impl ExternalClaims {
    pub(super) fn read(
        claims: &Map<String, Value>,
        settings: &ExternalIssuerSettings,
        now: i64,
    ) -> Result<Self, ExternalError> {
        // A list as `iss` would please the library if ours is in it.
        if claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
            return Err(refused("it is of another issuer"));
        }
        if !is_for(claims.get("aud"), &settings.audience) {
            return Err(refused("it is for somebody else"));
        }
        let expires_at = check_times(claims, settings, now)?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
            return Err(refused("nobody is named"));
        }
        let organization = match find(claims, &settings.organization_claim) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let id = value.as_str().and_then(|text| text.parse().ok());
                Some(id.ok_or_else(|| refused("its organisation is no identifier"))?)
            }
        };
        let text = |claim: &str| find(claims, claim).and_then(Value::as_str).and_then(readable);
        Ok(Self {
            subject: subject.to_owned(),
            organization,
            roles: roles(find(claims, &settings.roles_claim)),
            email: text(&settings.email_claim).map(|email| email.to_lowercase()),
            name: text(&settings.name_claim),
            expires_at,
        })
    }
}

fn is_for(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(several)) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
        }
        _ => false,
    }
}

fn check_times(
    claims: &Map<String, Value>,
    settings: &ExternalIssuerSettings,
    now: i64,
) -> Result<Timestamp, ExternalError> {
    let (exp, iat) = (seconds(claims, "exp")?, seconds(claims, "iat")?);
    let (Some(exp), Some(iat)) = (exp, iat) else {
        return Err(refused("it does not say from when to when it is good"));
    };
    if exp <= now.saturating_sub(LEEWAY) {
        return Err(refused("it has expired"));
    }
    let nbf = seconds(claims, "nbf")?.unwrap_or(iat);
    if nbf.max(iat) > now.saturating_add(LEEWAY) {
        return Err(refused("it is from the future"));
    }
    let most = i64::try_from(settings.max_lifetime.get().as_secs()).unwrap_or(i64::MAX);
    let lifetime = exp.saturating_sub(iat);
    if lifetime <= 0 || lifetime > most {
        return Err(refused("it is good for too long"));
    }
    DateTime::from_timestamp(exp, 0).ok_or_else(|| refused("its end is no time"))
}

/// A time (RFC 7519, section 2: seconds, perhaps with a fraction).
fn seconds(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, ExternalError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    // The fraction is cut off; what is out of range saturates.
    let whole = value
        .as_i64()
        .or_else(|| value.as_f64().map(|fraction| fraction as i64));
    whole
        .map(Some)
        .ok_or_else(|| refused(format!("`{claim}` is no time")))
}

/// A claim: of this very name, or by its path.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn roles(value: Option<&Value>) -> Vec<Role> {
    let mut roles: Vec<Role> = match value {
        Some(Value::String(text)) => text.split_whitespace().filter_map(Role::from_claim).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .filter_map(Role::from_claim)
            .collect(),
        _ => Vec::new(),
    };
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// A text that can be kept and shown.
fn readable(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    Some(kept.trim().to_owned()).filter(|text| !text.is_empty())
}
