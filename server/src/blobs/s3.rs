//! Blobs in S3-compatible storage, which several servers may share.
//!
//! A blob is the object `<prefix>/<first two characters>/<id>`. A small one is put as a whole; a larger one goes there in
//! parts as it arrives, and becomes an object when the S3 server has acknowledged that it is complete.

mod connect;
mod unfinished;

use std::{
    io::{self, ErrorKind},
    ops::Range,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, aws::AmazonS3,
    client::HttpClient, path::Path as Location,
};

use super::{Blob, CHUNK_BYTES, Listed, PART_BYTES, part_of};

#[derive(Clone)]
pub(super) struct S3 {
    store: AmazonS3,
    /// For what the store's own interface lacks.
    http: HttpClient,
    prefix: Location,
}

impl S3 {
    pub(super) async fn writer(&self, shard: &str, id: &str) -> io::Result<Writer> {
        let location = self.location(shard, id);
        match self.store.head(&location).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(io_error(error)),
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
        }
        Ok(Writer {
            s3: self.clone(),
            location,
            part: BytesMut::new(),
            parts: None,
        })
    }

    pub(super) async fn read(
        &self,
        shard: &str,
        id: &str,
        range: Option<Range<u64>>,
    ) -> io::Result<Blob> {
        let location = self.location(shard, id);
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        match self.store.get_opts(&location, options).await {
            Ok(found) => Ok(Blob {
                size: found.meta.size,
                stream: in_chunks(found.into_stream()),
            }),
            Err(error) => {
                // An S3 server answers a range beyond the end with one of several errors.
                if range.is_some() {
                    let found = self.store.head(&location).await.map_err(io_error)?;
                    part_of(found.size, range)?;
                }
                Err(io_error(error))
            }
        }
    }

    pub(super) async fn delete(&self, shard: &str, id: &str) -> io::Result<()> {
        match self.store.delete(&self.location(shard, id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }

    pub(super) async fn page(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<Listed>> {
        let found = match after.map(|id| Ok::<_, io::Error>((super::shard_of(id)?, id))) {
            None => self.store.list(Some(&self.prefix)),
            Some(after) => {
                let (shard, id) = after?;
                self.store
                    .list_with_offset(Some(&self.prefix), &self.location(shard, id))
            }
        };
        found
            .try_filter_map(async |object| Ok(self.listed(object)))
            .take(limit)
            .map_err(io_error)
            .try_collect()
            .await
    }

    /// `None` for an object that is no blob: a bucket may hold others.
    fn listed(&self, object: ObjectMeta) -> Option<Listed> {
        let id = self.id_at(&object.location)?;
        Some(Listed {
            id,
            size: object.size,
            finished: object.last_modified.into(),
        })
    }

    /// Which blob an object is, if it is one.
    fn id_at(&self, location: &Location) -> Option<String> {
        let id = location.filename()?;
        let shard = super::shard_of(id).ok()?;
        (*location == self.location(shard, id)).then(|| id.to_owned())
    }

    fn location(&self, shard: &str, id: &str) -> Location {
        self.prefix.clone().join(shard).join(id)
    }
}

/// What the network brings, in pieces of at most [`CHUNK_BYTES`].
fn in_chunks(
    stream: BoxStream<'static, object_store::Result<Bytes>>,
) -> BoxStream<'static, io::Result<Bytes>> {
    stream
        .map_err(io_error)
        .map_ok(|mut bytes| {
            stream::iter(std::iter::from_fn(move || {
                let length = bytes.len().min(CHUNK_BYTES);
                (length > 0).then(|| Ok(bytes.split_to(length)))
            }))
        })
        .try_flatten()
        .boxed()
}

pub(super) struct Writer {
    s3: S3,
    location: Location,
    /// What was written and not sent yet.
    part: BytesMut,
    parts: Option<Parts>,
}

/// An upload in parts, which is aborted when it goes out of scope before it is complete.
struct Parts(Option<Box<dyn MultipartUpload>>);

impl Drop for Parts {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), runtime) {
            // If this fails, it is aborted when it is old.
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

impl Writer {
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
            let space = PART_BYTES.saturating_sub(self.part.len());
            let (now, later) = bytes.split_at(space.min(bytes.len()));
            self.part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> io::Result<()> {
        if self.parts.is_none() {
            let whole = self.part.freeze();
            let put = self.s3.store.put(&self.location, whole.into()).await;
            return put.map(drop).map_err(io_error);
        }
        self.send_part().await?;
        let Some(Parts(Some(upload))) = &mut self.parts else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        upload.complete().await.map_err(io_error)?;
        if let Some(parts) = &mut self.parts {
            parts.0 = None;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part).freeze();
        if self.parts.is_none() {
            let upload = self.s3.store.put_multipart(&self.location).await;
            self.parts = Some(Parts(Some(upload.map_err(io_error)?)));
        }
        match &mut self.parts {
            Some(Parts(Some(upload))) => upload.put_part(part.into()).await.map_err(io_error),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

/// The store's errors without the addresses and ids that are in them.
fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => ErrorKind::NotFound.into(),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied.into()
        }
        _ => io::Error::other("the S3 server failed or cannot be reached"),
    }
}

#[cfg(test)]
mod tests;
