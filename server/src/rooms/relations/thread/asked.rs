//! The request for threads on the wire: ruma's own, which does not take one that says nothing of which threads are wanted.

use http::Uri;
use ruma::{
    api::{
        IncomingRequest,
        client::threads::get_threads::v1::{Request, Response},
        error::FromHttpRequestError,
    },
    exports::serde_html_form,
};
use serde::Deserialize;

use crate::endpoint::asked_like;

/// What a client asks.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Request);

asked_like!(Asked, Request);

impl IncomingRequest for Asked {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        mut request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        if let Some(uri) = with_all(request.uri()) {
            *request.uri_mut() = uri;
        }
        Request::try_from_http_request(request, path).map(Self)
    }
}

/// The address with `include=all`; `None` if it says what to include.
fn with_all(uri: &Uri) -> Option<Uri> {
    #[derive(Deserialize)]
    struct Query {
        include: Option<String>,
    }
    let query = uri.query().unwrap_or_default();
    let said = serde_html_form::from_str::<Query>(query).ok()?.include;
    match said {
        Some(_) => None,
        None => format!("{}?{query}&include=all", uri.path()).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_wants_all_threads() {
        let all = |uri: &str| with_all(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(all("/threads"), Some("/threads?&include=all".to_owned()));
        let paged = Some("/threads?limit=1&include=all".to_owned());
        assert_eq!(all("/threads?limit=1"), paged);
        assert_eq!(all("/threads?include=participated"), None);
    }
}
