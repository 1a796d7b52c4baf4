//! What holds for every request and every answer: a panic is an error, browsers may ask, nothing is cached or guessed, and
//! what is logged and counted is method, endpoint, status and duration.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
        REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{
    error::Error,
    metrics::{UnderWay, method_label},
};

/// [Web browser clients](https://spec.matrix.org/v1.18/client-server-api/#web-browser-clients), and how long a browser may
/// remember it, in seconds.
const CROSS_ORIGIN: [(HeaderName, &str); 4] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (
        ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PUT, DELETE, OPTIONS",
    ),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        "X-Requested-With, Content-Type, Authorization",
    ),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// Set unless a handler has said otherwise.
const CAUTIOUS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; sandbox",
    ),
];

/// A body that has arrived with the headers, or nearly so, in bytes.
const SHORT_BODY: u64 = 16 << 10;
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Puts all of this around a router.
pub(super) fn wrap(router: Router) -> Router {
    router.layer(middleware::from_fn(around))
}

async fn around(endpoint: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let endpoint = endpoint.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let under_way = UnderWay::new(endpoint);
    let long = has_long_body(&request);
    let mut response = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Error::internal("a handler panicked").into_response())
    };
    set_headers(response.headers_mut());
    let status = response.status();
    if long && (status.is_client_error() || status.is_server_error()) {
        // The rest of the body may not be read: a client that is told so asks again on another connection.
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    let took = under_way.answered(&method, status);
    tracing::debug!(
        method = method_label(&method),
        endpoint,
        status = status.as_u16(),
        micros = took.as_micros(),
        "answered"
    );
    response
}

/// Whether HTTP/1 carries a body that may still be on its way when it is refused.
fn has_long_body(request: &Request) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    request.version() < Version::HTTP_2 && (chunked || length.is_some_and(|it| it > SHORT_BODY))
}

fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in CROSS_ORIGIN {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in CAUTIOUS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: Method, path: &str) -> Response {
        let router = Router::new()
            .route("/fine", get(async || "fine"))
            .route(
                "/own",
                get(async || ([(CACHE_CONTROL, "max-age=60")], "own")),
            )
            .route(
                "/broken",
                get(async || -> &'static str { panic!("of some content") }),
            )
            .fallback(async || Error::unrecognized());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        wrap(router).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_browser_may_ask_and_gets_every_answer_even_an_error() {
        for path in ["/fine", "/broken", "/nowhere"] {
            let response = ask(Method::GET, path).await;
            assert_eq!(
                response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
                "*",
                "{path}"
            );
        }
        for path in ["/fine", "/nowhere"] {
            let response = ask(Method::OPTIONS, path).await;
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            let allowed = response.headers()[ACCESS_CONTROL_ALLOW_HEADERS]
                .to_str()
                .unwrap();
            assert!(allowed.contains("Authorization"), "{path}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_nothing_of_its_text() {
        let response = ask(Method::GET, "/broken").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1000)
            .await
            .unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("M_UNKNOWN"), "{body}");
        assert!(!body.contains("of some content"), "{body}");
    }

    #[tokio::test]
    async fn answers_are_not_kept_by_browsers_unless_a_handler_says_so() {
        assert_eq!(
            ask(Method::GET, "/fine").await.headers()[CACHE_CONTROL],
            "no-store"
        );
        assert_eq!(
            ask(Method::GET, "/own").await.headers()[CACHE_CONTROL],
            "max-age=60"
        );
    }
}
