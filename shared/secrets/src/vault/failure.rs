//! Failures of the library, told apart by what is to be done. Nothing of an answer's body is taken over: it could
//! hold a value.

use rustify::errors::ClientError as RestError;
use vaultrs::error::ClientError;

use crate::Error;

/// What a failure is.
pub(super) fn classify(error: &ClientError) -> Error {
    match error {
        ClientError::APIError { code, .. } => of_status(*code),
        ClientError::RestClientError { source } => match source {
            RestError::ServerResponseError { code, .. } => of_status(*code),
            RestError::RequestError { .. } | RestError::ResponseError { .. } => {
                Error::Unavailable("no answer".to_owned())
            }
            // Neither a word of ours nor of Vault's: something else answers at this address.
            _ => Error::Unavailable("the answer cannot be read".to_owned()),
        },
        ClientError::ResponseEmptyError | ClientError::ResponseDataEmptyError => Error::Missing,
        ClientError::FileReadError { path, .. } => Error::Settings(format!("{path} cannot be read")),
        ClientError::ParseCertificateError { path, .. } => {
            Error::Settings(format!("{path} holds no certificate"))
        }
        ClientError::RestClientBuildError { .. } => {
            Error::Settings("the HTTP client cannot be built".to_owned())
        }
        _ => Error::Unavailable("the answer cannot be read".to_owned()),
    }
}

/// Statuses of Vault's API: 400 is also what a login with a wrong role or secret id gets; 429, 472 and 473 come
/// from nodes that do not serve now; 5xx from sealed or broken ones.
fn of_status(status: u16) -> Error {
    match status {
        404 => Error::Missing,
        400 | 401 | 403 | 405 => Error::Denied(format!("status {status}")),
        _ => Error::Unavailable(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_what_to_do() {
        for (status, transient) in [
            (503, true),
            (500, true),
            (429, true),
            (473, true),
            (403, true),
            (404, false),
        ] {
            let api = ClientError::APIError {
                code: status,
                errors: Vec::new(),
            };
            assert_eq!(classify(&api).is_transient(), transient, "{status}");
        }
        let body = RestError::ServerResponseError {
            code: 404,
            content: Some("{\"data\":{\"data\":{\"value\":\"hunter2\"}}}".to_owned()),
        };
        let error = classify(&ClientError::RestClientError { source: body });
        assert!(matches!(error, Error::Missing));
        let unreadable = RestError::ResponseParseError {
            source: std::io::Error::other("x").into(),
            content: Some("hunter2".to_owned()),
        };
        let error = classify(&ClientError::RestClientError { source: unreadable });
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
