//! Uploads in parts that nobody will complete, because the server that began them was killed.
//!
//! An S3 server keeps (and bills) their parts until somebody aborts them. [`object_store`] does not list them, so the request
//! is made here.

use std::{
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use object_store::{
    client::{HttpRequest, HttpRequestBody},
    multipart::MultipartStore,
    path::Path as Location,
    signer::{SignedUrlOptions, Signer},
};
use serde::Deserialize;

use super::{S3, io_error};

/// How long the request's signature is valid.
const VALID: Duration = Duration::from_secs(60);

/// [`ListMultipartUploadsResult`](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html), as far as
/// it is needed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: jiff::Timestamp,
}

impl Page {
    /// Where the next page begins.
    fn place(&self) -> (&str, &str) {
        (&self.next_key_marker, &self.next_upload_id_marker)
    }
}

impl S3 {
    pub(in crate::blobs) async fn remove_unfinished(&self, before: SystemTime) -> io::Result<u64> {
        let (mut removed, mut page) = (0, self.uploads(None).await?);
        loop {
            for upload in &page.uploads {
                let ours = self.id_at(&Location::from(upload.key.as_str())).is_some();
                if ours && SystemTime::from(upload.initiated) < before {
                    removed += u64::from(self.abort(upload).await?);
                }
            }
            if !page.is_truncated {
                return Ok(removed);
            }
            let next = self.uploads(Some(&page)).await?;
            if next.place() == page.place() {
                return Err(unlisted());
            }
            page = next;
        }
    }

    /// Whether it was there to be aborted.
    async fn abort(&self, upload: &Upload) -> io::Result<bool> {
        let location = Location::from(upload.key.as_str());
        let aborted = self.store.abort_multipart(&location, &upload.upload_id);
        match aborted.await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(io_error(error)),
        }
    }

    async fn uploads(&self, after: Option<&Page>) -> io::Result<Page> {
        let mut query = vec![("uploads".to_owned(), String::new())];
        if !self.prefix.as_ref().is_empty() {
            query.push(("prefix".to_owned(), format!("{}/", self.prefix)));
        }
        if let Some(after) = after {
            query.push(("key-marker".to_owned(), after.next_key_marker.clone()));
            let upload = after.next_upload_id_marker.clone();
            query.push(("upload-id-marker".to_owned(), upload));
        }
        let answer = self.get(SignedUrlOptions::new().with_query(query)).await?;
        quick_xml::de::from_reader(answer.as_ref())
            .map_err(|_| io::Error::other("the S3 server's list of uploads cannot be read"))
    }

    async fn get(&self, options: SignedUrlOptions) -> io::Result<Bytes> {
        let bucket = Location::default();
        let url = self
            .store
            .signed_url_opts(Method::GET, &bucket, VALID, &options)
            .await
            .map_err(io_error)?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|_| unlisted())?;
        let answer = self.http.execute(request).await.map_err(|_| unlisted())?;
        if answer.status() != StatusCode::OK {
            return Err(unlisted());
        }
        answer.into_body().bytes().await.map_err(|_| unlisted())
    }
}

fn unlisted() -> io::Error {
    io::Error::other("the S3 server does not list unfinished uploads")
}
