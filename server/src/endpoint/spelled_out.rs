//! Answers with what ruma leaves out because it is the default: clients, and those who test servers, look for it all the same.

use bytes::BufMut;
use http::Method;
use ruma::api::{
    IncomingRequest, Metadata, OutgoingResponse,
    error::{FromHttpRequestError, IntoHttpError},
};
use serde_json::{Map, Value};

/// What an answer leaves out.
pub trait LeavesOut: OutgoingResponse {
    /// Puts it in where it is missing.
    fn spell_out(answer: &mut Map<String, Value>);
}

/// A request of ruma's whose answer is spelled out, and that answer.
#[derive(Debug)]
pub struct SpelledOut<T>(pub T);

impl<R: Metadata> Metadata for SpelledOut<R> {
    const METHOD: Method = R::METHOD;
    const RATE_LIMITED: bool = R::RATE_LIMITED;
    type Authentication = R::Authentication;
    type PathBuilder = R::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = R::PATH_BUILDER;
}

impl<R> IncomingRequest for SpelledOut<R>
where
    R: IncomingRequest,
    R::OutgoingResponse: LeavesOut,
{
    type EndpointError = R::EndpointError;
    type OutgoingResponse = SpelledOut<R::OutgoingResponse>;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        R::try_from_http_request(request, path).map(Self)
    }
}

impl<R: LeavesOut> OutgoingResponse for SpelledOut<R> {
    fn try_into_http_response<T: Default + BufMut>(
        self,
    ) -> Result<http::Response<T>, IntoHttpError> {
        let (head, body) = self.0.try_into_http_response::<Vec<u8>>()?.into_parts();
        let mut answer: Map<String, Value> = serde_json::from_slice(&body)?;
        R::spell_out(&mut answer);
        let mut body = T::default();
        body.put_slice(&serde_json::to_vec(&answer)?);
        Ok(http::Response::from_parts(head, body))
    }
}
