//! The request and the answer on the wire. ruma's types lack some of what clients send and read (tags and spaces in
//! filters, timelines that are told again, knocks), so only the endpoint's address and query are ruma's.
//!
//! [MSC4186](https://github.com/matrix-org/matrix-spec-proposals/pull/4186), in the form that clients and servers speak.

use std::{collections::BTreeMap, time::Duration};

use bytes::BufMut;
use respite_protocol::api::thread_updates::ThreadUpdates;
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::{
        IncomingRequest, OutgoingResponse,
        client::sync::sync_events::v5::{self, response::ToDevice},
        error::{FromHttpRequestError, IntoHttpError},
    },
    events::{
        AnyGlobalAccountDataEvent, AnyRoomAccountDataEvent, AnyStrippedStateEvent,
        AnySyncEphemeralRoomEvent, AnySyncStateEvent, AnySyncTimelineEvent,
    },
    serde::Raw,
};
use serde::{Deserialize, Serialize};

use crate::endpoint::asked_like;

/// What a client asks.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) pos: Option<String>,
    pub(super) timeout: Duration,
    pub(super) body: Body,
}

/// The body of a request.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Body {
    pub(super) conn_id: Option<String>,
    pub(super) txn_id: Option<String>,
    #[serde(default)]
    pub(super) lists: BTreeMap<String, List>,
    #[serde(default)]
    pub(super) room_subscriptions: BTreeMap<String, Details>,
    #[serde(default)]
    pub(super) extensions: Extensions,
}

/// A list of rooms.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct List {
    /// The places of the rooms that are wanted, both ends included; all rooms, if there are none.
    pub(super) ranges: Option<Vec<(u64, u64)>>,
    #[serde(flatten)]
    pub(super) details: Details,
    pub(super) filters: Option<Filters>,
}

/// What is wanted of a room.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Details {
    #[serde(default)]
    pub(super) required_state: Vec<(String, String)>,
    pub(super) timeline_limit: u64,
}

/// Which rooms a list has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Filters {
    pub(super) is_dm: Option<bool>,
    pub(super) spaces: Option<Vec<String>>,
    pub(super) is_encrypted: Option<bool>,
    #[serde(alias = "is_invited")]
    pub(super) is_invite: Option<bool>,
    pub(super) room_types: Option<Vec<Option<String>>>,
    pub(super) not_room_types: Option<Vec<Option<String>>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) not_tags: Option<Vec<String>>,
}

/// What is wanted beside rooms.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Extensions {
    #[serde(default)]
    pub(super) to_device: ToDeviceAsked,
    #[serde(default)]
    pub(super) e2ee: Switch,
    #[serde(default)]
    pub(super) account_data: Scope,
    #[serde(default)]
    pub(super) receipts: Scope,
    #[serde(default)]
    pub(super) typing: Scope,
    #[serde(default, rename = "io.element.msc4360.threads")]
    pub(super) threads: ThreadsAsked,
}

/// An extension without settings.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Switch {
    #[serde(default)]
    pub(super) enabled: Option<bool>,
}

/// Messages to the device.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ToDeviceAsked {
    pub(super) enabled: Option<bool>,
    pub(super) limit: Option<u64>,
    pub(super) since: Option<String>,
}

/// Threads with new replies.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ThreadsAsked {
    pub(super) enabled: Option<bool>,
    #[serde(default)]
    pub(super) include_roots: bool,
    pub(super) limit: Option<u64>,
}

/// An extension that is about rooms: of which lists, and which subscribed ones; all, if nothing is said.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Scope {
    pub(super) enabled: Option<bool>,
    pub(super) lists: Option<Vec<String>>,
    pub(super) rooms: Option<Vec<String>>,
}

/// What it is answered.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn_id: Option<String>,
    pub(super) pos: String,
    pub(super) lists: BTreeMap<String, Counted>,
    pub(super) rooms: BTreeMap<OwnedRoomId, Room>,
    pub(super) extensions: Told,
}

/// How many rooms a list has.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    pub(super) count: u32,
}

/// What is told of a room.
#[derive(Debug, Default, Serialize)]
pub(super) struct Room {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avatar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heroes: Option<Vec<Hero>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_dm: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) initial: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) unstable_expanded_timeline: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) required_state: Vec<Raw<AnySyncStateEvent>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) timeline: Vec<Raw<AnySyncTimelineEvent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invite_state: Option<Vec<Raw<AnyStrippedStateEvent>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) knock_state: Option<Vec<Raw<AnyStrippedStateEvent>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limited: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) num_live: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joined_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invited_count: Option<u64>,
    pub(super) notification_count: u64,
    pub(super) highlight_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bump_stamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) membership: Option<String>,
}

/// Somebody after whom a room is called.
#[derive(Debug, Serialize)]
pub(super) struct Hero {
    pub(super) user_id: OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avatar_url: Option<String>,
}

/// What is told beside rooms.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_device: Option<ToDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) e2ee: Option<E2ee>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_data: Option<AccountData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receipts: Option<Ephemeral>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) typing: Option<Ephemeral>,
    #[serde(
        rename = "io.element.msc4360.threads",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) threads: Option<Threads>,
}

/// Threads with new replies, of all rooms, and where there are more.
#[derive(Debug, Serialize)]
pub(super) struct Threads {
    pub(super) updates: ThreadUpdates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prev_batch: Option<String>,
}

/// Whose devices have changed, and which keys of one's own are left.
#[derive(Debug, Default, Serialize)]
pub(super) struct E2ee {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_lists: Option<Devices>,
    pub(super) device_one_time_keys_count: BTreeMap<ruma::OneTimeKeyAlgorithm, ruma::UInt>,
    pub(super) device_unused_fallback_key_types: Vec<ruma::OneTimeKeyAlgorithm>,
}

/// Whose devices are to be asked for, and whose no longer. Clients read both lists, also where they are empty.
#[derive(Debug, Default, Serialize)]
pub(super) struct Devices {
    pub(super) changed: Vec<OwnedUserId>,
    pub(super) left: Vec<OwnedUserId>,
}

/// What the user keeps for their own devices.
#[derive(Debug, Default, Serialize)]
pub(super) struct AccountData {
    pub(super) global: Vec<Raw<AnyGlobalAccountDataEvent>>,
    pub(super) rooms: BTreeMap<OwnedRoomId, Vec<Raw<AnyRoomAccountDataEvent>>>,
}

/// Who has read, or who types.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ephemeral {
    pub(super) rooms: BTreeMap<OwnedRoomId, Raw<AnySyncEphemeralRoomEvent>>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

asked_like!(Asked, v5::Request);

impl IncomingRequest for Asked {
    type EndpointError = <v5::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Answered;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        let (parts, body) = request.into_parts();
        let body: Body = serde_json::from_slice(body.as_ref())?;
        let query =
            v5::Request::try_from_http_request(http::Request::from_parts(parts, b"{}"), path)?;
        Ok(Self {
            pos: query.pos,
            timeout: query.timeout.unwrap_or_default(),
            body,
        })
    }
}

impl OutgoingResponse for Answered {
    fn try_into_http_response<T: Default + BufMut>(
        self,
    ) -> Result<http::Response<T>, IntoHttpError> {
        let mut body = T::default().writer();
        serde_json::to_writer(&mut body, &self)?;
        http::Response::builder()
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.into_inner())
            .map_err(Into::into)
    }
}
