//! The request and the answer of `/sync` on the wire: ruma's own, but for the answer in which there is nothing of rooms
//! beside knocks, from which ruma leaves them out.

use bytes::BufMut;
use ruma::api::{
    IncomingRequest, OutgoingResponse,
    client::sync::sync_events::v3::{Request, Response},
    error::{FromHttpRequestError, IntoHttpError},
};
use serde_json::{Map, Value, json};

use crate::endpoint::asked_like;

/// What a client asks.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Request);

/// What it is answered.
pub(super) struct Answered(pub(super) Response);

asked_like!(Asked, Request);

impl IncomingRequest for Asked {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Answered;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Request::try_from_http_request(request, path).map(Self)
    }
}

impl OutgoingResponse for Answered {
    fn try_into_http_response<T: Default + BufMut>(
        self,
    ) -> Result<http::Response<T>, IntoHttpError> {
        let rooms = &self.0.rooms;
        if rooms.knock.is_empty() || !rooms.is_empty() {
            return self.0.try_into_http_response();
        }
        let knock = serde_json::to_value(&rooms.knock)?;
        let (head, body) = self.0.try_into_http_response::<Vec<u8>>()?.into_parts();
        let mut answer: Map<String, Value> = serde_json::from_slice(&body)?;
        answer.insert("rooms".to_owned(), json!({ "knock": knock }));
        let mut body = T::default();
        body.put_slice(&serde_json::to_vec(&answer)?);
        Ok(http::Response::from_parts(head, body))
    }
}
