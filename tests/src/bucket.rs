//! A real S3 server on this machine, with one bucket in a directory of its own: the `s3s` crate's protocol and its file
//! system, beneath which a test can make it fail. The server's unit tests use this file too.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use s3s::{
    S3, S3Request, S3Response, S3Result, auth::SimpleAuth, dto, s3_error, service::S3ServiceBuilder,
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The bucket's name.
pub const BUCKET: &str = "practice";
/// The name and the secret of the access key that is let in.
pub const ACCESS_KEY: (&str, &str) = ("respite", "not-a-real-secret");

/// An S3 server with one bucket.
pub struct Bucket {
    directory: TempDir,
    storage: Storage,
    address: SocketAddr,
    running: Option<JoinHandle<()>>,
}

impl Bucket {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::create_dir(directory.path().join(BUCKET))?;
        let files = FileSystem::new(directory.path()).map_err(|error| anyhow!("{error:?}"))?;
        let mut bucket = Self {
            storage: Storage {
                root: directory.path().to_owned(),
                files: Arc::new(files),
                keys: Arc::default(),
                refused_part: Arc::new(AtomicI32::new(i32::MAX)),
            },
            directory,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            running: None,
        };
        bucket.start_again().await?;
        Ok(bucket)
    }

    /// Starts it again where it was, after [`Bucket::stop`].
    ///
    /// # Errors
    /// The operating system's.
    pub async fn start_again(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        self.running = Some(tokio::spawn(serve(listener, self.storage.clone())));
        Ok(())
    }

    /// Stops it in the middle of whatever it does.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            // It was aborted: that is no news.
            let _ = running.await;
        }
    }

    /// From this part of an upload on, the server refuses.
    pub fn refuse_from_part(&self, number: i32) {
        self.storage.refused_part.store(number, Ordering::Relaxed);
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file with the access key, as Amazon's tools write it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn credentials(&self) -> Result<PathBuf> {
        let file = self.directory.path().join(".credentials");
        let (id, secret) = ACCESS_KEY;
        fs::write(
            &file,
            format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
        )?;
        Ok(file)
    }

    /// The keys of the bucket's objects, with their sizes, in order.
    ///
    /// # Errors
    /// The operating system's.
    pub fn objects(&self) -> Result<Vec<(String, u64)>> {
        let bucket = self.directory.path().join(BUCKET);
        let mut found = Vec::new();
        collect(&bucket, &bucket, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// How many uploads in parts there are that are neither complete nor aborted, and files of parts.
    ///
    /// # Errors
    /// The operating system's.
    pub fn unfinished(&self) -> Result<usize> {
        let names = fs::read_dir(self.directory.path())?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<Result<_>>()?;
        Ok(names
            .iter()
            .map(|name| name.to_string_lossy())
            .filter(|name| name.starts_with(".upload"))
            .count())
    }
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<(String, u64)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else {
            let key = path.strip_prefix(root)?.to_string_lossy().into_owned();
            found.push((key, fs::metadata(&path)?.len()));
        }
    }
    Ok(())
}

async fn serve(listener: TcpListener, storage: Storage) {
    let mut builder = S3ServiceBuilder::new(storage);
    let (id, secret) = ACCESS_KEY;
    builder.set_auth(SimpleAuth::from_single(id, secret));
    let service = builder.build();
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(speak(stream, service.clone()));
    }
}

async fn speak(stream: TcpStream, service: s3s::service::S3Service) {
    // How a connection ends is the client's to tell.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The file system, and what it lacks: a list of unfinished uploads, a word on buckets that do not exist, and failures.
#[derive(Clone)]
struct Storage {
    root: PathBuf,
    files: Arc<FileSystem>,
    /// The keys of uploads in parts, by upload id.
    keys: Arc<Mutex<BTreeMap<String, String>>>,
    refused_part: Arc<AtomicI32>,
}

/// What the file system does as it is.
macro_rules! as_it_is {
    ($($name:ident: $input:ident -> $output:ident,)*) => {
        #[async_trait]
        impl S3 for Storage {
            $(async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                self.files.$name(request).await
            })*

            async fn create_multipart_upload(
                &self,
                request: S3Request<dto::CreateMultipartUploadInput>,
            ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
                let key = request.input.key.clone();
                let created = self.files.create_multipart_upload(request).await?;
                if let Some(id) = &created.output.upload_id {
                    let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                    keys.insert(id.clone(), key);
                }
                Ok(created)
            }

            async fn upload_part(
                &self,
                request: S3Request<dto::UploadPartInput>,
            ) -> S3Result<S3Response<dto::UploadPartOutput>> {
                if request.input.part_number >= self.refused_part.load(Ordering::Relaxed) {
                    return Err(s3_error!(AccessDenied));
                }
                self.files.upload_part(request).await
            }

            async fn get_object(
                &self,
                request: S3Request<dto::GetObjectInput>,
            ) -> S3Result<S3Response<dto::GetObjectOutput>> {
                if request.input.bucket != BUCKET {
                    return Err(s3_error!(NoSuchBucket));
                }
                self.files.get_object(request).await
            }

            async fn list_multipart_uploads(
                &self,
                request: S3Request<dto::ListMultipartUploadsInput>,
            ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
                Ok(S3Response::new(self.list(&request.input)))
            }
        }
    };
}

as_it_is! {
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
    delete_object: DeleteObjectInput -> DeleteObjectOutput,
    head_object: HeadObjectInput -> HeadObjectOutput,
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
    put_object: PutObjectInput -> PutObjectOutput,
}

impl Storage {
    /// One upload a page, so that whoever reads the list has to turn pages.
    fn list(&self, wanted: &dto::ListMultipartUploadsInput) -> dto::ListMultipartUploadsOutput {
        let prefix = wanted.prefix.as_deref().unwrap_or_default();
        let after = (
            wanted.key_marker.clone().unwrap_or_default(),
            wanted.upload_id_marker.clone().unwrap_or_default(),
        );
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open: Vec<_> = keys
            .iter()
            .filter(|(_, key)| key.starts_with(prefix))
            .filter_map(|(id, key)| {
                let about = fs::metadata(self.root.join(format!(".upload-{id}.json"))).ok()?;
                Some(((key.clone(), id.clone()), about.modified().ok()?))
            })
            .filter(|(place, _)| *place > after)
            .collect();
        open.sort();
        let truncated = open.len() > 1;
        open.truncate(1);
        let last = open.first().map(|(place, _)| place.clone());
        dto::ListMultipartUploadsOutput {
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|(key, _)| key.clone()),
            next_upload_id_marker: last.map(|(_, id)| id),
            uploads: Some(
                open.into_iter()
                    .map(|((key, id), initiated)| dto::MultipartUpload {
                        key: Some(key),
                        upload_id: Some(id),
                        initiated: Some(initiated.into()),
                        ..dto::MultipartUpload::default()
                    })
                    .collect(),
            ),
            ..dto::ListMultipartUploadsOutput::default()
        }
    }
}
