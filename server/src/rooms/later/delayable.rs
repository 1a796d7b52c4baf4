//! Requests that may ask for a delay beside what ruma has in them, and are then answered with another id.

use bytes::BufMut;
use ruma::api::{
    IncomingRequest, Metadata, OutgoingResponse,
    error::{FromHttpRequestError, IntoHttpError},
};
use serde_json::json;

/// The name of the delay in a request's query.
const DELAY: &str = "org.matrix.msc4140.delay";

/// A request to send something, now or later.
pub(in crate::rooms) struct Delayable<R> {
    /// What to send.
    pub(in crate::rooms) request: R,
    /// How much later, as it stands in the request.
    pub(in crate::rooms) delay: Option<String>,
}

/// The answer: of what was sent, or an id of what will be.
pub(in crate::rooms) enum MaybeDelayed<R> {
    /// It was sent.
    Sent(R),
    /// It waits under this id.
    Waits(String),
}

impl<R: Metadata> Metadata for Delayable<R> {
    const METHOD: http::Method = R::METHOD;
    const RATE_LIMITED: bool = R::RATE_LIMITED;
    type Authentication = R::Authentication;
    type PathBuilder = R::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = R::PATH_BUILDER;
}

impl<R: IncomingRequest> IncomingRequest for Delayable<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = MaybeDelayed<R::OutgoingResponse>;

    fn try_from_http_request<B, S>(
        request: http::Request<B>,
        path_args: &[S],
    ) -> Result<Self, FromHttpRequestError>
    where
        B: AsRef<[u8]>,
        S: AsRef<str>,
    {
        let query = request.uri().query().unwrap_or_default();
        let delay = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == DELAY)
            .map(|(_, value)| value.to_owned());
        let request = R::try_from_http_request(request, path_args)?;
        Ok(Self { request, delay })
    }
}

impl<R: OutgoingResponse> OutgoingResponse for MaybeDelayed<R> {
    fn try_into_http_response<T: Default + BufMut>(
        self,
    ) -> Result<http::Response<T>, IntoHttpError> {
        match self {
            Self::Sent(response) => response.try_into_http_response(),
            Self::Waits(id) => {
                let mut body = T::default();
                body.put_slice(json!({ "delay_id": id }).to_string().as_bytes());
                let response = http::Response::builder()
                    .header(http::header::CONTENT_TYPE, "application/json")
                    .body(body)?;
                Ok(response)
            }
        }
    }
}
