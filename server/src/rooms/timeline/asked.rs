//! The request for messages on the wire: ruma's own, and what its filter says beyond what ruma reads.

use ruma::api::{
    IncomingRequest,
    client::message::get_message_events::v3::{Request, Response},
    error::{DeserializationError, FromHttpRequestError},
};

use crate::{endpoint::asked_like, rooms::relations::RelatedBy};

/// What a client asks.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) related: RelatedBy,
}

asked_like!(Asked, Request);

impl IncomingRequest for Asked {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        let related = RelatedBy::in_query(request.uri().query());
        let request = Request::try_from_http_request(request, path)?;
        let related = related.map_err(DeserializationError::Json)?;
        Ok(Self { request, related })
    }
}
