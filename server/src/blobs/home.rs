//! Where blobs are kept: the setting, and how it is opened.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{Blobs, Kept, s3::S3};

/// Where blobs are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Home {
    /// `directory`: `blobs` in the data directory; or `directory:DIR`.
    Directory(Option<PathBuf>),
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What comes before the blobs' names in it; may be empty.
        prefix: String,
    },
}

/// What is no home for blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Write \"directory\", \"directory:DIR\" or \"s3://BUCKET/PREFIX\".")]
pub struct NoHome;

/// How to get at S3-compatible storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Access {
    /// The server's address, without the bucket; where it is not set, Amazon's.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// A file with an access key, as Amazon's tools write it; where it is not set, the environment's.
    pub credentials: Option<PathBuf>,
    /// Whether the endpoint may be reached without TLS.
    pub allow_http: bool,
}

impl Default for S3Access {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            credentials: None,
            allow_http: false,
        }
    }
}

/// Why blobs cannot be kept where they should be; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// The directory cannot be made or written to.
    #[error("{directory} cannot be used for blobs: {error}")]
    Directory {
        /// Which.
        directory: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file with the access key cannot be read, or has none.
    #[error("s3.credentials: {file} {problem}")]
    Credentials {
        /// Which.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no access key.
    #[error(
        "blobs = \"s3://…\" needs an access key: set s3.credentials to a file with one, or AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY in the environment."
    )]
    NoCredentials,
    /// The settings make no client.
    #[error("The settings in [s3] cannot be used.")]
    Settings,
    /// The server says that this is not our key, or that it may not do this.
    #[error(
        "The S3 server refuses the access key, or the key may not read the bucket {bucket}. Check s3.credentials, s3.region and \
         the bucket's policy."
    )]
    Refused {
        /// Which.
        bucket: String,
    },
    /// The server does not know the bucket.
    #[error("The S3 server has no bucket {bucket}. Make it, or set blobs to another one.")]
    NoBucket {
        /// Which.
        bucket: String,
    },
    /// The server does not answer, or not as an S3 server does.
    #[error(
        "The S3 server cannot be reached at {endpoint}, or does not answer as one. Check s3.endpoint."
    )]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
    },
}

impl Default for Home {
    fn default() -> Self {
        Self::Directory(None)
    }
}

impl Home {
    /// Opens it; makes a directory, but no bucket. `usual` is the directory for `directory` without a name.
    ///
    /// # Errors
    /// It cannot be used, in a sentence for the operator.
    pub async fn open(&self, usual: &Path, access: &S3Access) -> Result<Blobs, CannotOpen> {
        match self {
            Self::Directory(named) => {
                let directory = named.clone().unwrap_or_else(|| usual.to_owned());
                let shown = directory.display().to_string();
                tokio::task::spawn_blocking(move || Blobs::open(&directory))
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
                    .map_err(|error| CannotOpen::Directory {
                        directory: shown,
                        error,
                    })
            }
            Self::S3 { bucket, prefix } => {
                let s3 = S3::connect(bucket, prefix, access).await?;
                Ok(Blobs(Kept::S3(s3)))
            }
        }
    }
}

impl FromStr for Home {
    type Err = NoHome;

    fn from_str(text: &str) -> Result<Self, NoHome> {
        if text == "directory" {
            return Ok(Self::Directory(None));
        }
        match text.split_once(':') {
            Some(("directory", path)) if !path.is_empty() => Ok(Self::Directory(Some(path.into()))),
            Some(("s3", rest)) => {
                let rest = rest.strip_prefix("//").ok_or(NoHome)?;
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.trim_end_matches('/');
                if !is_bucket(bucket) || !(prefix.is_empty() || prefix.split('/').all(is_plain)) {
                    return Err(NoHome);
                }
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix: prefix.to_owned(),
                })
            }
            _ => Err(NoHome),
        }
    }
}

/// [Bucket naming rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html), as far as they keep an
/// address in shape.
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        })
}

/// Part of a prefix that needs no escape and leads nowhere else.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !matches!(part, "." | "..")
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

impl TryFrom<String> for Home {
    type Error = NoHome;

    fn try_from(text: String) -> Result<Self, NoHome> {
        text.parse()
    }
}

impl From<Home> for String {
    fn from(home: Home) -> Self {
        home.to_string()
    }
}

impl fmt::Display for Home {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(None) => out.write_str("directory"),
            Self::Directory(Some(path)) => write!(out, "directory:{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(out, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(out, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_and_written() {
        for text in [
            "directory",
            "directory:/srv/blobs",
            "s3://practice",
            "s3://practice.example/respite/blobs",
        ] {
            let home: Home = text.parse().unwrap();
            assert_eq!(home.to_string(), text);
        }
        assert_eq!(
            "s3://practice/".parse::<Home>(),
            "s3://practice".parse::<Home>()
        );
    }

    #[test]
    fn what_is_no_home_is_refused() {
        for text in [
            "",
            "directory:",
            "s3:practice",
            "s3://",
            "s3:///blobs",
            "s3://Practice",
            "s3://practice//blobs",
            "s3://practice/../other",
            "s3://key:secret@practice",
            "gs://practice",
        ] {
            assert_eq!(text.parse::<Home>(), Err(NoHome), "{text}");
        }
    }
}
