use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use respite_protocol::Role;
use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::store::Address;
use crate::{
    admin::socket,
    auth::{ACCESS_TOKENS, Session, hash_token},
    invites, media,
};

struct Running {
    address: SocketAddr,
    operations: Option<SocketAddr>,
    app: App,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        drop(self.app);
        self.task.await.unwrap().unwrap();
    }
}

fn config(directory: &TempDir) -> Config {
    let mut config = Config::default();
    config.server.data = directory.path().join("data");
    config.operations.listen.set_port(0);
    config.passwords.memory_kib = 64;
    config
}

async fn start(config: Config) -> (Running, Option<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::open(config, Options::default()).await.unwrap();
    let code = server.first_code().map(str::to_owned);
    let (app, operations) = (server.app().clone(), server.operations_address());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.run(listener, shutdown.clone()));
    (
        Running {
            address,
            operations,
            app,
            shutdown,
            task,
        },
        code,
    )
}

async fn refusal(config: Config) -> String {
    match Server::open(config, Options::default()).await {
        Ok(_) => panic!("the server opened"),
        Err(error) => format!("{error:#}"),
    }
}

/// Sends a request as it is and reads the answer until the server closes the connection.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes early may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(&mut stream, &request).await
}

#[tokio::test]
async fn the_first_therapists_code_is_told_at_the_first_start_only() {
    let directory = tempfile::tempdir().unwrap();
    let (server, code) = start(config(&directory)).await;
    let code = invites::hash(&code.unwrap()).unwrap();
    assert_eq!(invites::check(&server.app, code).await.unwrap(), Ok(()));
    server.stop().await;
    let (server, code) = start(config(&directory)).await;
    assert_eq!(code, None);
    server.stop().await;
}

#[tokio::test]
async fn a_server_keeps_its_name_and_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let key = server.app.signing_key.public_key();
    server.stop().await;
    let mut renamed = config(&directory);
    renamed.server.name = ruma::server_name!("example.org").to_owned();
    let sentence = refusal(renamed).await;
    assert!(
        sentence.contains("set server.name = \"localhost\""),
        "{sentence}"
    );
    let (server, _) = start(config(&directory)).await;
    assert_eq!(server.app.signing_key.public_key(), key);
    server.stop().await;
}

#[tokio::test]
async fn a_directory_in_use_or_of_somebody_else_or_without_its_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let sentence = refusal(config(&directory)).await;
    assert!(sentence.contains("in use by another process"), "{sentence}");
    server.stop().await;

    let data = directory.path().join("data");
    std::fs::create_dir_all(data.join("blobs/kept/ab")).unwrap();
    std::fs::rename(data.join("store.redb"), directory.path().join("elsewhere")).unwrap();
    let sentence = refusal(config(&directory)).await;
    assert!(sentence.contains("Restore it from a backup"), "{sentence}");
    assert!(!data.join("store.redb").exists());

    let mut photos = config(&directory);
    photos.server.data = directory.path().join("photos");
    std::fs::create_dir(&photos.server.data).unwrap();
    std::fs::write(photos.server.data.join("beach.jpg"), "sand").unwrap();
    let sentence = refusal(photos.clone()).await;
    assert!(
        sentence.contains("is not empty and holds no server"),
        "{sentence}"
    );
    assert_eq!(std::fs::read_dir(&photos.server.data).unwrap().count(), 1);

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    let open_to_all = mode(&photos.server.data);
    photos.store = Address::Redb(Some(directory.path().join("store.redb")));
    let sentence = refusal(photos.clone()).await;
    assert!(sentence.contains("holds no server"), "{sentence}");
    assert_eq!(mode(&photos.server.data), open_to_all);
}

#[tokio::test]
async fn nobody_else_can_look_into_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = directory.path().join("data");
    assert_eq!(mode(data.join(socket::SOCKET_FILE)), 0o600);
    assert_eq!(mode(data.join(crate::store::STORE_FILE)), 0o600);
    assert_eq!(mode(data), 0o700);
    server.stop().await;
}

#[tokio::test]
async fn the_operator_is_answered_whether_the_server_runs_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert!(matches!(
        socket::ask(&data, &Command::ListUsers).await,
        Ok(None)
    ));

    let (server, _) = start(config(&directory)).await;
    let answer = socket::ask(&data, &Command::first_invite()).await.unwrap();
    let Some(Answer::Code {
        code,
        role: Role::Therapist,
        ..
    }) = answer
    else {
        panic!("no code")
    };
    let code = invites::hash(&code).unwrap();
    assert_eq!(invites::check(&server.app, code).await.unwrap(), Ok(()));
    let unknown = Command::Deactivate {
        user: "nobody".to_owned(),
        erase: false,
    };
    let refused = socket::ask(&data, &unknown)
        .await
        .err()
        .unwrap()
        .to_string();
    assert_eq!(refused, "There is no such account.");
    server.stop().await;

    // The socket of a server that was killed is still there, and nobody listens.
    assert!(data.join(socket::SOCKET_FILE).exists());
    assert!(matches!(
        socket::ask(&data, &Command::ListUsers).await,
        Ok(None)
    ));
    let app = crate::start::open_existing(config(&directory), Options::default(), false)
        .await
        .unwrap();
    let Ok(Answer::Users { users }) = admin::execute(&app, Command::ListUsers).await else {
        panic!("no users")
    };
    assert!(users.is_empty());
}

#[tokio::test]
async fn a_command_for_a_directory_without_a_server_says_so_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let error = crate::start::open_existing(config(&directory), Options::default(), false).await;
    let sentence = error.err().unwrap().to_string();
    assert!(sentence.contains("There is no server in"), "{sentence}");
    assert!(!directory.path().join("data").exists());
}

#[tokio::test]
async fn health_and_metrics_are_told_locally_and_name_endpoints_not_paths() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let answer = get(server.address, "/_matrix/client/v3/nobody_can_know_this").await;
    assert!(answer.contains("M_UNRECOGNIZED"), "{answer}");
    assert!(
        get(server.operations.unwrap(), "/health")
            .await
            .contains(r#""status":"ok""#)
    );
    let metrics = get(server.operations.unwrap(), "/metrics").await;
    assert!(metrics.contains("respite_requests_total"), "{metrics}");
    assert!(!metrics.contains("nobody_can_know_this"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let endless = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "y".repeat(20_000)
    );
    let answer = exchange(&mut stream, &endless).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_ends_connections_that_wait_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(config(&directory)).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).await.unwrap(), 0);
    server.stop().await;
    while idle.read(&mut [0; 1024]).await.unwrap() != 0 {}
}

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/serve/tests")
        .join(name)
}

async fn over_tls(address: SocketAddr, protocol: &[u8], request: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut roots = RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_file(pem("certificate.pem"));
    roots.add(certificate.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let spoken = stream
        .get_ref()
        .1
        .alpn_protocol()
        .unwrap_or_default()
        .to_vec();
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0; 16];
    stream.read_exact(&mut answer).await.unwrap();
    (spoken, answer)
}

#[tokio::test]
async fn with_a_certificate_both_versions_of_http_are_spoken_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.tls.certificate = Some(pem("certificate.pem"));
    config.tls.key = Some(pem("key.pem"));
    let (server, _) = start(config).await;
    let one = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let (spoken, answer) = over_tls(server.address, b"http/1.1", one).await;
    assert_eq!(
        (spoken.as_slice(), &answer[..9]),
        (&b"http/1.1"[..], &b"HTTP/1.1 "[..])
    );
    // The preface and an empty SETTINGS frame; the server answers with its own SETTINGS (type 4).
    let two = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (spoken, answer) = over_tls(server.address, b"h2", two).await;
    assert_eq!((spoken.as_slice(), answer[3]), (&b"h2"[..], 4));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.tls.certificate = Some(pem("no-such.pem"));
    config.tls.key = Some(pem("key.pem"));
    assert!(refusal(config).await.contains("no-such.pem cannot be read"));
}

/// Larger than what two sockets hold between them.
const LARGE: usize = 24 << 20;

/// A large attachment, its path, and a token that may fetch it.
async fn large_attachment(app: &App) -> (String, &'static str) {
    use sha2::{Digest, Sha256};
    let nurse = &ruma::user_id!("@nurse:localhost").to_owned();
    let session = &Session {
        user: nurse.clone(),
        device: "PHONE".into(),
        role: Role::Client,
        expires: None,
        unused: false,
    };
    app.store
        .transact(|mut tx| async move {
            tx.put(&ACCESS_TOKENS, hash_token("token"), session)?;
            Ok::<_, crate::store::StoreError>((tx, ()))
        })
        .await
        .unwrap();
    let pieces = (0..LARGE as u64 / 4096).map(|piece| {
        let blocks =
            (0..128_u64).flat_map(|block| Sha256::digest((piece * 128 + block).to_be_bytes()));
        Ok::<_, std::convert::Infallible>(blocks.collect::<bytes::Bytes>())
    });
    let body = futures_util::stream::iter(pieces);
    let incoming = media::Incoming {
        user: nurse,
        room: None,
        size: None,
    };
    let address = media::store_upload(app, incoming, body).await.unwrap();
    let path = format!(
        "/_matrix/client/v1/media/download/{}",
        address.as_str().trim_start_matches("mxc://")
    );
    (path, "token")
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_keep_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.connections.max = 1;
    config.connections.write_wait = std::time::Duration::from_secs(1);
    let (server, _) = start(config).await;
    let (path, token) = large_attachment(&server.app).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stalled = socket.connect(server.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut begins = [0; 15];
    stalled.read_exact(&mut begins).await.unwrap();
    assert_eq!(&begins, b"HTTP/1.1 200 OK");

    let answer = get(server.address, "/_matrix/client/versions").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut rest = Vec::new();
    // Cut off: an end or a reset, but not the whole.
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(rest.len() < LARGE);
    server.stop().await;
}
