//! What is counted, and the local listener that tells it: `/metrics` for Prometheus, `/health` for whoever restarts servers.
//!
//! No label names a person, a room or a device.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use anyhow::Context;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Method, StatusCode, header::CONTENT_TYPE};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{start, state::App};

/// Requests that were answered, by method, endpoint and class of status.
pub const REQUESTS: &str = "respite_requests_total";
/// How long they took, by endpoint.
pub const REQUEST_SECONDS: &str = "respite_request_seconds";
/// Requests under way, by endpoint: those of `/sync` are the connected clients.
pub const IN_FLIGHT: &str = "respite_requests_in_flight";
/// Connections that are open.
pub const CONNECTIONS: &str = "respite_connections";
/// What the ciphertext gate refused, by error code.
pub const REFUSALS: &str = "respite_gate_refusals_total";
/// How often the store could not do what was asked.
pub const STORE_ERRORS: &str = "respite_store_errors_total";

/// Calls of push gateways, by what came of them: sent, failed, rejected.
pub const PUSHES: &str = "respite_pushes_total";

/// Upper ends of the histogram's buckets, in seconds: from one commit to one long poll.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0,
];
/// How often samples are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics; the recorder is made once, servers in one process share it.
///
/// # Errors
/// Somebody else has made a recorder of another kind.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| install().ok())
        .clone()
        .context("the metrics cannot be kept")
}

fn install() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder)?;
    describe_counter!(REQUESTS, "requests that were answered");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "how long requests took");
    describe_gauge!(
        IN_FLIGHT,
        "requests under way; those of /sync are connected clients"
    );
    describe_gauge!(CONNECTIONS, "open connections");
    describe_counter!(REFUSALS, "what the ciphertext gate refused");
    describe_counter!(PUSHES, "calls of push gateways");
    describe_counter!(STORE_ERRORS, "what the store could not do");
    Ok(handle)
}

/// Keeps the histograms small until the server stops.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// A push gateway was called.
pub fn pushed(outcome: &'static str) {
    counter!(PUSHES, "outcome" => outcome).increment(1);
}

/// A request under way; counted until it is dropped.
pub struct UnderWay {
    endpoint: String,
    began: Instant,
}

impl UnderWay {
    /// A request to an endpoint, by the template of its path.
    pub fn new(endpoint: &str) -> Self {
        let endpoint = endpoint.to_owned();
        gauge!(IN_FLIGHT, "endpoint" => endpoint.clone()).increment(1.0);
        Self {
            endpoint,
            began: Instant::now(),
        }
    }

    /// It was answered. Returns how long that took.
    pub fn answered(self, method: &Method, status: StatusCode) -> Duration {
        let took = self.began.elapsed();
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        counter!(
            REQUESTS,
            "method" => method_label(method),
            "endpoint" => self.endpoint.clone(),
            "status" => class
        )
        .increment(1);
        histogram!(REQUEST_SECONDS, "endpoint" => self.endpoint.clone()).record(took);
        took
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT, "endpoint" => std::mem::take(&mut self.endpoint)).decrement(1.0);
    }
}

/// Clients may make methods up; labels may not grow with them.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// `/metrics` and `/health`.
pub fn router(app: App, handle: PrometheusHandle) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(async |State((_, handle)): State<(App, PrometheusHandle)>| {
                (
                    [(CONTENT_TYPE, "text/plain; version=0.0.4")],
                    handle.render(),
                )
            }),
        )
        .route(
            "/health",
            get(async |State((app, _)): State<(App, PrometheusHandle)>| health(&app).await),
        )
        .with_state((app, handle))
}

async fn health(app: &App) -> Response {
    let (status, body) = match start::check(app).await {
        Ok(()) => (StatusCode::OK, r#"{"status":"ok"}"#),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"the store does not answer"}"#,
        ),
    };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
