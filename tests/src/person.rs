//! A person with a Matrix client: what they do, and what they see.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use matrix_sdk::{
    Client, Room, RoomState,
    config::SyncSettings,
    deserialized_responses::TimelineEvent,
    encryption::{BackupDownloadStrategy, EncryptionSettings},
    room::MessagesOptions,
    ruma::{
        OwnedEventId, OwnedRoomId, RoomId, UserId,
        api::client::{account::register, uiaa},
        events::room::message::RoomMessageEventContent,
    },
};
use respite_protocol::{Role, api::create_invite};
use serde_json::Value;

use crate::practice::Practice;

/// How long somebody waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A person at one device.
pub struct Person {
    /// Their client.
    pub client: Client,
    /// Their password, for what asks for it again.
    pub password: String,
}

/// A message as its reader sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Who wrote it.
    pub sender: String,
    /// Its type after decryption; `m.room.encrypted` when it could not be decrypted.
    pub kind: String,
    /// Its content after decryption.
    pub content: Value,
}

impl Seen {
    /// The text that any client shows.
    pub fn body(&self) -> &str {
        self.content["body"].as_str().unwrap_or_default()
    }
}

impl Person {
    /// Makes an account with a code.
    pub async fn register(url: &str, name: &str, code: &str) -> Result<Self> {
        let client = client(url).await?;
        let password = format!("{name} sleeps by day");
        let mut request = register::v3::Request::new();
        request.username = Some(name.to_owned());
        request.password = Some(password.clone());
        let Err(error) = client.matrix_auth().register(request.clone()).await else {
            bail!("the server asked for no code");
        };
        let session = error
            .as_uiaa_response()
            .context("no interactive authentication")?
            .session
            .clone();
        let mut token = uiaa::RegistrationToken::new(code.to_owned());
        token.session = session;
        request.auth = Some(uiaa::AuthData::RegistrationToken(token));
        client.matrix_auth().register(request).await?;
        let person = Self { client, password };
        person
            .client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        person.sync().await?;
        Ok(person)
    }

    /// Logs in at another device.
    pub async fn log_in(url: &str, name: &str, password: &str) -> Result<Self> {
        let client = client(url).await?;
        client
            .matrix_auth()
            .login_username(name, password)
            .send()
            .await?;
        let person = Self {
            client,
            password: password.to_owned(),
        };
        person
            .client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        person.sync().await?;
        Ok(person)
    }

    /// Their user id.
    pub fn id(&self) -> &UserId {
        // A client that was made by `register` or `log_in` is logged in.
        self.client
            .user_id()
            .unwrap_or(matrix_sdk::ruma::user_id!("@nobody:localhost"))
    }

    /// Takes in what is new, without waiting.
    pub async fn sync(&self) -> Result<()> {
        self.client
            .sync_once(SyncSettings::new().timeout(Duration::ZERO))
            .await?;
        Ok(())
    }

    /// Takes in what is new until `found` finds what it looks for.
    pub async fn sync_until<T>(
        &self,
        what: &str,
        mut found: impl AsyncFnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let waiting = async {
            loop {
                if let Some(it) = found(self).await? {
                    return Ok(it);
                }
                self.client
                    .sync_once(SyncSettings::new().timeout(Duration::from_secs(2)))
                    .await?;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .with_context(|| format!("{} waited in vain: {what}", self.id()))?
    }

    /// A code for a client of theirs (therapists).
    pub async fn invites_a_client(&self) -> Result<String> {
        let request = create_invite::Request::new(respite_protocol::TherapyKind::Individual);
        Ok(self.client.send(request).await?.code)
    }

    /// A room that they are in.
    pub fn room(&self, room_id: &RoomId) -> Result<Room> {
        self.client
            .get_room(room_id)
            .with_context(|| format!("{} knows no such room", self.id()))
    }

    /// The one room that they are in.
    pub async fn only_room(&self) -> Result<Room> {
        let rooms = self.client.joined_rooms();
        match rooms.as_slice() {
            [room] => Ok(room.clone()),
            rooms => bail!("{} is in {} rooms", self.id(), rooms.len()),
        }
    }

    /// The room, once they are in it.
    pub async fn enters(&self, room_id: &RoomId) -> Result<Room> {
        self.sync_until("to be in the room", async |me| {
            Ok(me
                .client
                .get_room(room_id)
                .filter(|room| room.state() == RoomState::Joined))
        })
        .await
    }

    /// The room that they share with somebody, once there is one.
    pub async fn room_with(&self, other: &UserId) -> Result<OwnedRoomId> {
        self.sync_until("a room with the other", async |me| {
            for room in me.client.joined_rooms() {
                if room.get_member(other).await?.is_some() {
                    return Ok(Some(room.room_id().to_owned()));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Writes a message.
    pub async fn says(&self, room_id: &RoomId, text: &str) -> Result<OwnedEventId> {
        let room = self.room(room_id)?;
        let sent = room.send(RoomMessageEventContent::text_plain(text)).await?;
        Ok(sent.response.event_id)
    }

    /// Everything in the room, oldest first, as they can decrypt it now.
    pub async fn reads(&self, room_id: &RoomId) -> Result<Vec<Seen>> {
        let room = self.room(room_id)?;
        let mut from = None;
        let mut seen = Vec::new();
        loop {
            let mut options = MessagesOptions::backward().from(from.as_deref());
            options.limit = matrix_sdk::ruma::uint!(100);
            let page = room.messages(options).await?;
            seen.extend(page.chunk.iter().filter_map(see));
            match page.end {
                Some(end) if !page.chunk.is_empty() => from = Some(end),
                _ => break,
            }
        }
        seen.reverse();
        Ok(seen)
    }

    /// Waits until they have read a message that satisfies `wanted`.
    pub async fn waits_for(
        &self,
        room_id: &RoomId,
        what: &str,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Seen> {
        self.sync_until(what, async |me| {
            if me.client.get_room(room_id).is_none() {
                return Ok(None);
            }
            Ok(me
                .reads(room_id)
                .await?
                .into_iter()
                .rfind(|seen| wanted(seen)))
        })
        .await
    }

    /// Waits until they have read this text.
    pub async fn hears(&self, room_id: &RoomId, text: &str) -> Result<Seen> {
        self.waits_for(room_id, text, |seen| seen.body() == text)
            .await
    }
}

/// A therapist and a night nurse in a therapy room of theirs.
pub async fn pair(practice: &Practice) -> Result<(Person, Person, OwnedRoomId)> {
    let code = practice.code(Role::Therapist).await?;
    pair_at(practice.url(), &code).await
}

/// The same, with a therapist's code of some server.
pub async fn pair_at(url: &str, code: &str) -> Result<(Person, Person, OwnedRoomId)> {
    let therapist = Person::register(url, "therapist", code).await?;
    let nurse = Person::register(url, "nurse", &therapist.invites_a_client().await?).await?;
    let room = nurse.room_with(therapist.id()).await?;
    therapist.enters(&room).await?;
    Ok((therapist, nurse, room))
}

async fn client(url: &str) -> Result<Client> {
    let settings = EncryptionSettings {
        auto_enable_cross_signing: false,
        auto_enable_backups: false,
        backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
    };
    Ok(Client::builder()
        .homeserver_url(url)
        .with_encryption_settings(settings)
        .build()
        .await?)
}

fn see(event: &TimelineEvent) -> Option<Seen> {
    let json: Value = serde_json::from_str(event.raw().json().get()).ok()?;
    Some(Seen {
        event_id: event.event_id()?,
        sender: json["sender"].as_str()?.to_owned(),
        kind: json["type"].as_str()?.to_owned(),
        content: json["content"].clone(),
    })
}
