//! Connections: how they are accepted, which protocol they speak, and how they end.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use ::metrics::gauge;
use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Layer;
use tower_http::timeout::{RequestBodyTimeout, RequestBodyTimeoutLayer};

use super::{patience::Patient, tls::Tls};
use crate::{config::Connections, metrics::CONNECTIONS};

/// How long to wait after the operating system would not give a connection (mostly: too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How many clients may knock at once. After a restart all of them do; whoever finds no place waits until their system knocks
/// again, or loses patience. Linux takes the smaller of this and `net.core.somaxconn`.
const BACKLOG: u32 = 8_192;
/// Requests under way in one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// How much a client may send ahead in one HTTP/2 stream, and in all of a connection, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How often a silent HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_WAIT: Duration = Duration::from_secs(20);
/// How an HTTP/2 client without TLS begins; no HTTP/1 method does.
const HTTP2_BEGINS: &[u8; 3] = b"PRI";

type Service = TowerToHyperService<RequestBodyTimeout<Router>>;

/// Listens at an address, with room for all clients that come back after a restart at once.
///
/// # Errors
/// The operating system's: the address is taken, is not this machine's, or needs rights.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of the server before, which the system has not quite forgotten, do not hold the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections from a listener and serves them.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

struct Shared {
    tls: Option<Tls>,
    service: Service,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_wait: Duration,
    write_wait: Duration,
    /// No further requests.
    stop: CancellationToken,
    /// No further anything.
    cut: CancellationToken,
}

impl Acceptor {
    pub(super) fn new(limits: &Connections, router: Router, tls: Option<Tls>) -> Self {
        let service = RequestBodyTimeoutLayer::new(limits.body_wait).layer(router);
        Self {
            shared: Arc::new(Shared {
                tls,
                service: TowerToHyperService::new(service),
                http1: http1_builder(limits),
                http2: http2_builder(limits),
                header_wait: limits.header_wait,
                write_wait: limits.write_wait,
                stop: CancellationToken::new(),
                cut: CancellationToken::new(),
            }),
            slots: Arc::new(Semaphore::new(limits.max)),
            tasks: TaskTracker::new(),
        }
    }

    /// Takes connections until `shutdown` is cancelled.
    pub(super) async fn accept(&self, listener: TcpListener, shutdown: &CancellationToken) {
        while let Some((stream, slot)) = shutdown.run_until_cancelled(self.next(&listener)).await {
            let shared = self.shared.clone();
            self.tasks
                .spawn(async move { shared.serve(stream, slot).await });
        }
    }

    /// Lets the requests under way finish, but no longer than `grace`. Returns whether all did.
    pub(super) async fn finish(&self, grace: Duration) -> bool {
        self.shared.stop.cancel();
        self.tasks.close();
        let all = timeout(grace, self.tasks.wait()).await.is_ok();
        self.shared.cut.cancel();
        self.tasks.wait().await;
        all
    }

    async fn next(&self, listener: &TcpListener) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                std::future::pending().await
            };
            match listener.accept().await {
                Ok((stream, _)) => return (stream, slot),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Errors of a client that was gone before it was let in.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

impl Shared {
    async fn serve(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        gauge!(CONNECTIONS).increment(1.0);
        // Answers are written whole; waiting for more to send along would only delay them.
        let _ = stream.set_nodelay(true);
        self.cut.run_until_cancelled(self.speak(stream)).await;
        gauge!(CONNECTIONS).decrement(1.0);
        drop(slot);
    }

    async fn speak(&self, stream: TcpStream) {
        match &self.tls {
            None => self.speak_plainly(stream).await,
            // Boxed, so that connections without TLS have no room for it.
            Some(tls) => Box::pin(self.speak_secretly(stream, tls)).await,
        }
    }

    async fn speak_plainly(&self, stream: TcpStream) {
        let mut begins = [0; HTTP2_BEGINS.len()];
        let peeked = timeout(self.header_wait, stream.peek(&mut begins)).await;
        if let Ok(Ok(1..)) = peeked {
            let stream = Patient::new(stream, self.write_wait);
            self.exchange(stream, begins == *HTTP2_BEGINS).await;
        }
    }

    async fn speak_secretly(&self, stream: TcpStream, tls: &Tls) {
        let stream = Patient::new(stream, self.write_wait);
        let greeted = timeout(self.header_wait, tls.acceptor().accept(stream)).await;
        if let Ok(Ok(stream)) = greeted {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            self.exchange(stream, is_http2).await;
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
    ) {
        let io = TokioIo::new(stream);
        let service = self.service.clone();
        if is_http2 {
            let connection = self.http2.serve_connection(io, service);
            self.drive(Box::pin(connection)).await;
        } else {
            let connection = self.http1.serve_connection(io, service);
            self.drive(Box::pin(connection)).await;
        }
    }

    /// Runs a connection to its end. How a client's connection breaks is not worth a line in the log.
    ///
    /// The connection is boxed: a task that had room for either protocol, with and without TLS, would cost every idle client
    /// the largest of them.
    async fn drive(&self, mut connection: Pin<Box<impl GracefulConnection>>) {
        if self
            .stop
            .run_until_cancelled(connection.as_mut())
            .await
            .is_none()
        {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn http1_builder(limits: &Connections) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait)
        .max_buf_size(limits.header_bytes);
    builder
}

fn http2_builder(limits: &Connections) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_WAIT);
    builder
}
