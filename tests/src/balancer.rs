//! A plain load balancer: each request goes to the next server, whoever asks. No stickiness, no health checks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// The largest body that it passes on.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A load balancer before several servers.
pub struct Balancer {
    url: String,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Servers {
    urls: Arc<[String]>,
    next: Arc<AtomicUsize>,
    http: reqwest::Client,
}

impl Balancer {
    /// Stands before these servers, at an address of its own.
    pub async fn before(urls: Vec<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let servers = Servers {
            urls: urls.into(),
            next: Arc::default(),
            // A connection for each request: none outlives the server that it led to.
            http: reqwest::Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()?,
        };
        let router = Router::new().fallback(pass_on).with_state(servers);
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, serving })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// 502 where the server cannot be reached, or breaks off: what became of the request then, nobody knows.
async fn pass_on(State(servers): State<Servers>, request: Request) -> Response {
    servers.answer(request).await.unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

impl Servers {
    async fn answer(&self, request: Request) -> Result<Response> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.urls.len();
        let server = self.urls.get(turn).context("no servers")?;
        let (asked, body) = request.into_parts();
        let path = asked.uri.path_and_query().context("no path")?;
        let mut headers = asked.headers;
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        let answer = self
            .http
            .request(asked.method, format!("{server}{path}"))
            .headers(headers)
            .body(to_bytes(body, MAX_BODY).await?)
            .send()
            .await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        *response.body_mut() = Body::from(answer.bytes().await?);
        Ok(response)
    }
}
