//! A wire between clients and a server that keeps what goes over it in the clear, in both directions.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// The wire; it is cut when this is dropped.
pub struct Wiretap {
    url: String,
    heard: Arc<Mutex<Heard>>,
    task: AbortHandle,
}

/// What has gone over the wire, one entry a connection.
#[derive(Default)]
struct Heard {
    asked: Vec<Arc<Mutex<Vec<u8>>>>,
    answered: Vec<Arc<Mutex<Vec<u8>>>>,
}

impl Wiretap {
    /// Lays a wire to the server at `url`, which begins with `http://`.
    pub async fn lay(url: &str) -> Result<Self> {
        let server = url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn(serve(listener, server, heard.clone())).abort_handle();
        Ok(Self { url, heard, task })
    }

    /// The address that clients are given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that clients have sent, one entry a connection.
    pub fn asked(&self) -> Vec<Vec<u8>> {
        copies(&lock(&self.heard).asked)
    }

    /// Everything that the server has answered, one entry a connection.
    pub fn answered(&self) -> Vec<Vec<u8>> {
        copies(&lock(&self.heard).answered)
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: String, heard: Arc<Mutex<Heard>>) {
    // Ends the connections when the wire is cut.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (asked, answered) = (Arc::default(), Arc::default());
        let mut heard = lock(&heard);
        heard.asked.push(Arc::clone(&asked));
        heard.answered.push(Arc::clone(&answered));
        drop(heard);
        connections.spawn(pass(from_client, to_server, asked));
        connections.spawn(pass(from_server, to_client, answered));
    }
}

/// Passes bytes on until one side ends.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        let piece = buffer.get(..length).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        lock(&heard).extend_from_slice(piece);
        if to.write_all(piece).await.is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown().await;
}

fn copies(heard: &[Arc<Mutex<Vec<u8>>>]) -> Vec<Vec<u8>> {
    heard.iter().map(|bytes| lock(bytes).clone()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
