//! The way to an S3 server: its address, an access key, and how long it may take.

use std::{fs, path::Path, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::{HttpConnector, ReqwestConnector},
    path::Path as Location,
};

use super::S3;
use crate::blobs::{CannotOpen, S3Access};

/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long the server may take to answer a request (which includes taking a part of [`crate::blobs::PART_BYTES`]), and to go
/// on in the middle of an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How often a request that failed is tried again, at most.
const RETRIES: usize = 5;
/// How long it is tried again, at most.
const RETRY_TIME: Duration = Duration::from_secs(60);
/// What is looked for to see whether the server, the key and the bucket are right. It need not be there.
const PROBE: &str = "respite-probe";

/// Where an access key may come from in the environment. Other settings are taken from the file alone.
const FROM_ENVIRONMENT: [&str; 8] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_web_identity_token_file",
    "aws_role_arn",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
    "aws_container_authorization_token_file",
];

impl S3 {
    /// Connects, and sees whether the server lets us in and has the bucket.
    pub(in crate::blobs) async fn connect(
        bucket: &str,
        prefix: &str,
        access: &S3Access,
    ) -> Result<Self, CannotOpen> {
        let options = ClientOptions::new()
            .with_allow_http(access.allow_http)
            .with_connect_timeout(CONNECT_WAIT)
            .with_read_timeout(ANSWER_WAIT)
            // The whole of a large blob may take as long as its reader does.
            .with_timeout_disabled();
        let mut builder = with_credentials(access)?
            .with_bucket_name(bucket)
            .with_region(&access.region)
            .with_disable_bulk_delete(true)
            .with_client_options(options.clone())
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_TIME,
            });
        if let Some(endpoint) = &access.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let http = ReqwestConnector::default().connect(&options);
        let s3 = Self {
            store: builder.build().map_err(|_| CannotOpen::Settings)?,
            http: http.map_err(|_| CannotOpen::Settings)?,
            prefix: Location::from(prefix),
        };
        let probe = s3.prefix.clone().join(PROBE);
        check(&s3.store, &probe, bucket, access).await?;
        Ok(s3)
    }
}

async fn check(
    store: &AmazonS3,
    probe: &Location,
    bucket: &str,
    access: &S3Access,
) -> Result<(), CannotOpen> {
    use object_store::Error;
    let bucket = bucket.to_owned();
    match store.get(probe).await {
        Ok(_) => Ok(()),
        Err(Error::NotFound { source, .. }) if source.to_string().contains("NoSuchBucket") => {
            Err(CannotOpen::NoBucket { bucket })
        }
        Err(Error::NotFound { .. }) => Ok(()),
        Err(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
            Err(CannotOpen::Refused { bucket })
        }
        Err(_) => Err(CannotOpen::Unreachable {
            endpoint: match &access.endpoint {
                Some(endpoint) => endpoint.clone(),
                None => format!("Amazon ({})", access.region),
            },
        }),
    }
}

/// A builder with the file's access key, or the environment's; on Amazon's machines also the machine's own.
fn with_credentials(access: &S3Access) -> Result<AmazonS3Builder, CannotOpen> {
    if let Some(file) = &access.credentials {
        let key = AccessKey::read(file)?;
        let builder = AmazonS3Builder::new()
            .with_access_key_id(key.id)
            .with_secret_access_key(key.secret);
        return Ok(match key.token {
            Some(token) => builder.with_token(token),
            None => builder,
        });
    }
    let mut builder = AmazonS3Builder::new();
    let mut found = false;
    for name in FROM_ENVIRONMENT {
        let key = name.parse::<AmazonS3ConfigKey>();
        if let (Ok(key), Ok(value)) = (key, std::env::var(name.to_ascii_uppercase())) {
            builder = builder.with_config(key, value);
            found = true;
        }
    }
    if !found && access.endpoint.is_some() {
        return Err(CannotOpen::NoCredentials);
    }
    Ok(builder)
}

struct AccessKey {
    id: String,
    secret: String,
    token: Option<String>,
}

impl AccessKey {
    fn read(file: &Path) -> Result<Self, CannotOpen> {
        let wrong = |problem: String| CannotOpen::Credentials {
            file: file.display().to_string(),
            problem,
        };
        let text =
            fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        Self::parse(&text).ok_or_else(|| {
            wrong("has no aws_access_key_id and aws_secret_access_key under [default].".to_owned())
        })
    }

    /// From what Amazon's tools call a shared credentials file: the section `[default]`, or no section.
    fn parse(text: &str) -> Option<Self> {
        let (mut id, mut secret, mut token) = (None, None, None);
        let mut ours = true;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                ours = section.trim_end_matches(']').trim() == "default";
            }
            let Some((name, value)) = line.split_once('=').filter(|_| ours) else {
                continue;
            };
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
        Some(Self {
            id: id?,
            secret: secret?,
            token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::AccessKey;

    #[test]
    fn an_access_key_is_read_from_the_default_section() {
        let key = AccessKey::parse(
            "# the practice's\n[backup]\naws_access_key_id = other\naws_secret_access_key = other\n\
             [default]\naws_access_key_id = nurse\naws_secret_access_key=a/b=c\n",
        )
        .unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str()), ("nurse", "a/b=c"));
        assert!(key.token.is_none());
    }

    #[test]
    fn half_an_access_key_is_none() {
        for text in [
            "",
            "aws_access_key_id = nurse",
            "aws_access_key_id = nurse\naws_secret_access_key =",
            "[other]\naws_access_key_id = nurse\naws_secret_access_key = x",
        ] {
            assert!(AccessKey::parse(text).is_none(), "{text}");
        }
    }
}
