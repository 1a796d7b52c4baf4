//! A client that is answered before the server has read all that it sends must not use the connection again: the rest would
//! be taken for its next request, so the connection is closed. It is told so.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request};
use http::{HeaderMap, HeaderValue, Version, header::CONNECTION};
use hyper::body::{Body as Read, Bytes, Frame, SizeHint};

/// Knows whether a request was read to its end.
pub(super) struct Unread(Option<Arc<AtomicBool>>);

impl Unread {
    /// Watches how far the request is read.
    pub(super) fn of(request: Request) -> (Self, Request) {
        let ends_here = request.version() == Version::HTTP_2 || request.body().is_end_stream();
        if ends_here {
            return (Self(None), request);
        }
        let unread = Arc::new(AtomicBool::new(true));
        let watched = |body| Watched {
            body,
            unread: unread.clone(),
        };
        let request = request.map(|body| Body::new(watched(body)));
        (Self(Some(unread)), request)
    }

    /// Says that the connection ends if something was left unread.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if self.0.is_some_and(|unread| unread.load(Ordering::Relaxed)) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

struct Watched {
    body: Body,
    unread: Arc<AtomicBool>,
}

impl Read for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new(Body::from("a whole message"))
    }

    fn told(unread: Unread) -> bool {
        let mut headers = HeaderMap::new();
        unread.tell(&mut headers);
        headers.contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn a_connection_goes_on_only_if_all_was_read() {
        let (unread, request) = Unread::of(request());
        axum::body::to_bytes(request.into_body(), 100)
            .await
            .unwrap();
        assert!(!told(unread));

        let (unread, request) = Unread::of(self::request());
        drop(request);
        assert!(told(unread));

        let (unread, _) = Unread::of(Request::new(Body::empty()));
        assert!(!told(unread));
    }
}
