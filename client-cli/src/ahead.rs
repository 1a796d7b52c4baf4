//! Encrypting a message now that the server will release later.
//!
//! A scheduled check-in is handed to the server as ciphertext. matrix-sdk encrypts only while it
//! sends, with the room's current Megolm session, and does not hand out the ciphertext. Using the
//! room's session ahead of time would not be right either: by the time of release it has long been
//! replaced, and a device that got the room's key only later than the prompt's place in the
//! ratchet could never read it.
//!
//! So each prompt gets a Megolm session of its own, used for exactly one message:
//!
//! 1. the session's key goes, as a standard `m.room_key` inside Olm, to every device of every
//!    member, which keeps it (and backs it up) like any other room key;
//! 2. it is imported into our own store, so that its author can read the prompt on every device
//!    and the key backup holds it;
//! 3. the one message is encrypted with it, exactly as the specification says for
//!    `m.megolm.v1.aes-sha2`. When the server releases it, it is an ordinary encrypted event.
//!
//! A device that a member adds between scheduling and release finds the key in the member's
//! backup.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use matrix_sdk::{
    Client, Room, RoomMemberships,
    encryption::{
        identities::Device,
        vodozemac::{
            Curve25519PublicKey,
            megolm::{GroupSession, InboundGroupSession, SessionConfig},
        },
    },
};
use matrix_sdk_crypto::{CollectStrategy, encrypt_room_key_export, olm::ExportedRoomKey};
use rand::{TryRng as _, rngs::SysRng};
use respite_protocol::events::Outgoing;
use ruma::{
    OwnedDeviceId, OwnedUserId, RoomId,
    events::{AnyToDeviceEventContent, room::encrypted::RoomEncryptedEventContent},
    serde::Raw,
};
use serde_json::{json, value::to_raw_value};
use zeroize::Zeroizing;

/// The only algorithm there is for rooms.
const MEGOLM: &str = "m.megolm.v1.aes-sha2";

/// A message that is already encrypted, to be released later.
#[derive(Debug)]
pub struct Sealed {
    /// The content of the `m.room.encrypted` event.
    pub content: Raw<RoomEncryptedEventContent>,
    /// Devices that the key did not reach. They find it in their owner's backup, if at all.
    pub missed: Vec<(OwnedUserId, OwnedDeviceId)>,
}

/// Encrypts `message` for everyone who is in the room now, and gives them the key.
///
/// # Errors
///
/// If the server cannot be reached, the room is not encrypted, or no device of any other member
/// could be given the key (nobody would be able to read the message).
pub async fn seal(room: &Room, message: &Outgoing) -> Result<Sealed> {
    let client = room.client();
    if !room.latest_encryption_state().await?.is_encrypted() {
        bail!("this room is not encrypted; nothing can be scheduled in it");
    }
    let session = GroupSession::new(SessionConfig::version_1());
    let devices = devices_of_members(room).await?;
    let missed = share(&client, room.room_id(), &session, &devices).await?;
    keep(&client, room.room_id(), &session).await?;
    Ok(Sealed {
        content: encrypt(&client, room.room_id(), session, message).await?,
        missed,
    })
}

/// All devices of everyone in the room, except this one.
async fn devices_of_members(room: &Room) -> Result<Vec<Device>> {
    let client = room.client();
    let mut devices = Vec::new();
    for member in room.members(RoomMemberships::JOIN).await? {
        // Asks the server afresh: a device added a minute ago is one that may read this.
        client
            .encryption()
            .request_user_identity(member.user_id())
            .await?;
        devices.extend(
            client
                .encryption()
                .get_user_devices(member.user_id())
                .await?
                .devices(),
        );
    }
    devices.retain(|device| {
        Some(device.user_id()) != client.user_id() || Some(device.device_id()) != client.device_id()
    });
    Ok(devices)
}

/// Gives the session's key to the devices, and tells which ones it did not reach.
async fn share(
    client: &Client,
    room_id: &RoomId,
    session: &GroupSession,
    devices: &[Device],
) -> Result<Vec<(OwnedUserId, OwnedDeviceId)>> {
    let room_key = json!({
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session.session_id(),
        "session_key": session.session_key().to_base64(),
    });
    let room_key: Raw<AnyToDeviceEventContent> = Raw::from_json(to_raw_value(&room_key)?);
    let missed = client
        .encryption()
        .encrypt_and_send_raw_to_device(
            devices.iter().collect(),
            "m.room_key",
            room_key,
            CollectStrategy::AllDevices,
        )
        .await?;
    let others = devices
        .iter()
        .filter(|device| Some(device.user_id()) != client.user_id());
    let reached = others
        .map(|device| (device.user_id().to_owned(), device.device_id().to_owned()))
        .any(|device| !missed.contains(&device));
    if reached {
        Ok(missed)
    } else {
        bail!(
            "nobody else in this room has a device that could read it yet; wait until they have logged in"
        )
    }
}

/// Puts the session into our own store, from where it also reaches the key backup.
///
/// matrix-sdk takes sessions in only as a key export, encrypted, from a file. The file lives for a
/// moment, readable by its owner alone, under a random passphrase that is never written down.
async fn keep(client: &Client, room_id: &RoomId, session: &GroupSession) -> Result<()> {
    let inbound = InboundGroupSession::new(&session.session_key(), SessionConfig::version_1());
    let (sender_key, ed25519) = own_keys(client).await?;
    let export: ExportedRoomKey = serde_json::from_value(json!({
        "algorithm": MEGOLM,
        "room_id": room_id,
        "sender_key": sender_key.to_base64(),
        "session_id": session.session_id(),
        "session_key": inbound.export_at_first_known_index().to_base64(),
        "sender_claimed_keys": { "ed25519": ed25519 },
        "forwarding_curve25519_key_chain": [],
    }))?;
    let mut random = Zeroizing::new([0_u8; 32]);
    SysRng
        .try_fill_bytes(random.as_mut())
        .context("the system gives no random numbers")?;
    let passphrase = Zeroizing::new(
        random
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    // One round: the passphrase is already a random key.
    let export = encrypt_room_key_export(&[export], &passphrase, 1)?;
    let mut file = tempfile::NamedTempFile::new().context("a temporary file cannot be written")?;
    file.write_all(export.as_bytes())
        .context("a temporary file cannot be written")?;
    client
        .encryption()
        .import_room_keys(file.path().to_owned(), &passphrase)
        .await?;
    Ok(())
}

async fn encrypt(
    client: &Client,
    room_id: &RoomId,
    mut session: GroupSession,
    message: &Outgoing,
) -> Result<Raw<RoomEncryptedEventContent>> {
    let plaintext = json!({
        "type": message.event_type,
        "content": message.content,
        "room_id": room_id,
    });
    let ciphertext = session.encrypt(serde_json::to_vec(&plaintext)?);
    let (sender_key, _) = own_keys(client).await?;
    let mut content = json!({
        "algorithm": MEGOLM,
        "ciphertext": ciphertext.to_base64(),
        "device_id": client.device_id(),
        "sender_key": sender_key.to_base64(),
        "session_id": session.session_id(),
    });
    // Relations stay outside, where the server and other clients look for them.
    if let (Some(relation), Some(content)) =
        (message.content.get("m.relates_to"), content.as_object_mut())
    {
        content.insert("m.relates_to".to_owned(), relation.clone());
    }
    Ok(Raw::from_json(to_raw_value(&content)?))
}

async fn own_keys(client: &Client) -> Result<(Curve25519PublicKey, String)> {
    let encryption = client.encryption();
    let sender_key = encryption
        .curve25519_key()
        .await
        .context("this device has no keys yet")?;
    let ed25519 = encryption
        .ed25519_key()
        .await
        .context("this device has no keys yet")?;
    Ok((sender_key, ed25519))
}
