//! A therapist and a nurse in two rooms, for tests.

use std::collections::BTreeMap;

use respite_protocol::Role;
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, UserId, events::room::member::MembershipState,
};
use serde_json::json;

use crate::{
    auth::{ACCESS_TOKENS, Session},
    error::{Error, Result},
    fixture::{Server, device, user},
    rooms::{
        append::{self, NewEvent},
        create::{self, NewRoom},
        state,
    },
};

pub(super) struct Practice {
    pub(super) server: Server,
    pub(super) rooms: Vec<OwnedRoomId>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Write,
    Answer,
    Topic,
    Leave,
    Invite,
    Join,
    Kick,
}

impl Practice {
    /// Two rooms; the nurse is in the first, and logged in.
    pub(super) async fn open() -> Self {
        let server = Server::new().await;
        let app = &server.app;
        let mut rooms = Vec::new();
        for members in [vec![(user("nurse"), MembershipState::Join)], Vec::new()] {
            let room = &NewRoom {
                members,
                ..NewRoom::default()
            };
            let created = app
                .store
                .transact(async |mut tx| {
                    let id =
                        create::create_in(&mut tx, app, &user("therapist"), room.clone()).await?;
                    Ok::<_, Error>((tx, id))
                })
                .await
                .unwrap();
            rooms.push(created.value);
        }
        let session = &Session {
            user: user("nurse"),
            device: "PHONE".into(),
            role: Role::Client,
            expires: None,
            unused: false,
        };
        app.store
            .transact(async |mut tx| {
                tx.put(&ACCESS_TOKENS, device("nurse", "PHONE").token, session)?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
        Self { server, rooms }
    }

    pub(super) async fn send(
        &self,
        who: &UserId,
        room: usize,
        event: NewEvent,
    ) -> Result<OwnedEventId> {
        append::send(&self.server.app, who, &self.rooms[room], event, None).await
    }

    /// What may not be done is not done.
    pub(super) async fn act(&self, room: usize, act: Act) {
        let (nurse, therapist) = (user("nurse"), user("therapist"));
        let member = |membership: &str| {
            let content = content(json!({ "membership": membership }));
            NewEvent::state("m.room.member", user("nurse").as_str(), content)
        };
        let (who, event) = match act {
            Act::Write => (&nurse, message()),
            Act::Answer => (&therapist, message()),
            Act::Topic => (
                &therapist,
                NewEvent::state("m.room.topic", "", content(json!({}))),
            ),
            Act::Leave => (&nurse, member("leave")),
            Act::Invite => (&therapist, member("invite")),
            Act::Join => (&nurse, member("join")),
            Act::Kick => (&therapist, member("leave")),
        };
        drop(self.send(who, room, event).await);
    }

    pub(super) async fn state(
        &self,
        room: &OwnedRoomId,
    ) -> BTreeMap<(String, String), OwnedEventId> {
        let state = state::current(&self.server.app, room)
            .await
            .unwrap()
            .unwrap();
        let entries = state.entries().map(|entry| entry.event());
        entries
            .map(|event| {
                (
                    (event.kind.clone(), event.state_key.clone().unwrap()),
                    event.event_id.clone(),
                )
            })
            .collect()
    }
}

pub(super) fn content(json: serde_json::Value) -> CanonicalJsonObject {
    serde_json::from_value(json).unwrap()
}

pub(super) fn message() -> NewEvent {
    NewEvent::message("m.room.encrypted", content(json!({ "ciphertext": "…" })))
}
