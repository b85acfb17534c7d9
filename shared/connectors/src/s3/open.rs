//! From a connection to what holds its files.

use std::{path::Path, sync::Arc, time::Duration};

use halcyon_egress::Guard;
use object_store::{
    ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
};

use super::{
    config::{Auth, AuthKind, Connection, Provider},
    http::Way,
    local::Folder,
    store::{Bucket, told},
};
use crate::{
    Error, Secrets,
    files::{PAGE, Store},
    tls::SecretRef,
};

/// What holds the connection's files, and the way there. `tries` says how often a request is made again.
///
/// # Errors
/// A secret has no use, or the installation does not allow the folder.
pub(super) fn open(
    connection: &Connection,
    secrets: &Secrets,
    guard: &Guard,
    tries: usize,
) -> Result<Arc<dyn Store>, Error> {
    if connection.provider == Provider::Local {
        return Ok(Arc::new(folder(connection, guard)?));
    }
    let way = Way::new(guard.clone(), connection.tls().client_config(secrets)?);
    let auth = connection.auth.as_ref();
    let retry = RetryConfig {
        max_retries: tries,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    };
    let (store, place) = match connection.provider {
        Provider::Gcs => (
            gcs(connection, auth, secrets, way, retry)?,
            connection.bucket.clone(),
        ),
        Provider::Azure => {
            let account = connection.account.as_deref().unwrap_or_default();
            let place = format!("{account}/{}", connection.bucket);
            (azure(connection, auth, secrets, way, retry)?, place)
        }
        Provider::S3 | Provider::Local => (
            s3(connection, auth, secrets, way, retry)?,
            connection.bucket.clone(),
        ),
    };
    Ok(Arc::new(Bucket {
        store,
        name: place,
        prefix: connection.prefix.clone(),
    }))
}

fn folder(connection: &Connection, guard: &Guard) -> Result<Folder, Error> {
    let folder = connection.folder.as_deref().unwrap_or_default();
    let root = guard.folder(Path::new(folder)).ok_or_else(|| Error::Refused {
        message: "the folder is not there, or not one that this installation lets datasources read"
            .to_owned(),
    })?;
    Ok(Folder {
        root,
        name: folder.trim_end_matches('/').to_owned(),
        names: connection.files.names()?,
        page: PAGE,
    })
}

fn secret(reference: Option<&SecretRef>, secrets: &Secrets) -> Result<String, Error> {
    reference.map_or_else(|| Ok(String::new()), |reference| reference.text(secrets))
}

fn s3(
    connection: &Connection,
    auth: Option<&Auth>,
    secrets: &Secrets,
    way: Way,
    retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&connection.bucket)
        .with_region(connection.region())
        .with_endpoint(connection.endpoint())
        .with_virtual_hosted_style_request(!connection.is_path_style())
        .with_allow_http(true)
        .with_http_connector(way)
        .with_retry(retry);
    // Never what this machine is: its role is not the user's.
    match auth.filter(|auth| auth.kind == AuthKind::AccessKey) {
        Some(auth) => {
            builder = builder
                .with_access_key_id(auth.access_key_id.as_deref().unwrap_or_default())
                .with_secret_access_key(secret(auth.secret_access_key.as_ref(), secrets)?);
            if auth.session_token.is_some() {
                builder = builder.with_token(secret(auth.session_token.as_ref(), secrets)?);
            }
        }
        None => builder = builder.with_skip_signature(true),
    }
    Ok(Arc::new(builder.build().map_err(|error| told(&error))?))
}

fn gcs(
    connection: &Connection,
    auth: Option<&Auth>,
    secrets: &Secrets,
    way: Way,
    retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&connection.bucket)
        .with_base_url(&connection.endpoint())
        .with_http_connector(way)
        .with_retry(retry);
    let builder = match auth.and_then(|auth| auth.key.as_ref()) {
        Some(key) => {
            let unusable = |_| Error::Secret {
                name: key.name.clone(),
            };
            let built = builder.with_service_account_key(key.text(secrets)?).build();
            return Ok(Arc::new(built.map_err(unusable)?));
        }
        None => builder.with_skip_signature(true),
    };
    Ok(Arc::new(builder.build().map_err(|error| told(&error))?))
}

fn azure(
    connection: &Connection,
    auth: Option<&Auth>,
    secrets: &Secrets,
    way: Way,
    retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(connection.account.as_deref().unwrap_or_default())
        .with_container_name(&connection.bucket)
        .with_endpoint(connection.endpoint())
        .with_allow_http(true)
        .with_http_connector(way)
        .with_retry(retry);
    let key = auth.and_then(|auth| auth.key.as_ref());
    let mut name = String::new();
    match (auth.map(|auth| auth.kind), key) {
        (Some(AuthKind::AccountKey), Some(key)) => {
            name.clone_from(&key.name);
            builder = builder.with_access_key(key.text(secrets)?);
        }
        (Some(AuthKind::Sas), Some(key)) => {
            name.clone_from(&key.name);
            let text = key.text(secrets)?;
            let config = object_store::azure::AzureConfigKey::SasKey;
            builder = builder.with_config(config, text.trim_start_matches('?'));
        }
        _ => builder = builder.with_skip_signature(true),
    }
    let built = builder.build().map_err(|error| {
        if name.is_empty() {
            told(&error)
        } else {
            Error::Secret { name: name.clone() }
        }
    })?;
    Ok(Arc::new(built))
}
