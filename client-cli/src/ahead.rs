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
        vodozemac::megolm::{GroupSession, InboundGroupSession, SessionConfig},
    },
};
use matrix_sdk_crypto::{CollectStrategy, encrypt_room_key_export, olm::ExportedRoomKey};
use rand::{TryRng as _, rngs::SysRng};
use respite_protocol::events::Outgoing;
use ruma::{
    OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomId,
    events::{AnyToDeviceEventContent, room::encrypted::RoomEncryptedEventContent},
    serde::Raw,
};
use serde_json::{Value, json, value::to_raw_value};
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
    let own = OwnDevice::of(&client).await?;
    let key = OneMessageKey::new(room.room_id());
    let missed = share(&client, &key, &devices_of_members(room).await?).await?;
    keep(&client, key.export(&own)?).await?;
    Ok(Sealed {
        content: key.encrypt(&own, message)?,
        missed,
    })
}

/// A Megolm session for one message.
struct OneMessageKey {
    room_id: OwnedRoomId,
    session: GroupSession,
}

/// What this device says of itself.
struct OwnDevice {
    device_id: OwnedDeviceId,
    curve25519: String,
    ed25519: String,
}

impl OneMessageKey {
    fn new(room_id: &RoomId) -> Self {
        Self {
            room_id: room_id.to_owned(),
            session: GroupSession::new(SessionConfig::version_1()),
        }
    }

    /// The content of the `m.room_key` for other devices.
    fn room_key(&self) -> Value {
        json!({
            "algorithm": MEGOLM,
            "room_id": self.room_id,
            "session_id": self.session.session_id(),
            "session_key": self.session.session_key().to_base64(),
        })
    }

    /// The key for our own store.
    fn export(&self, own: &OwnDevice) -> Result<ExportedRoomKey> {
        let inbound =
            InboundGroupSession::new(&self.session.session_key(), SessionConfig::version_1());
        Ok(serde_json::from_value(json!({
            "algorithm": MEGOLM,
            "room_id": self.room_id,
            "sender_key": own.curve25519,
            "session_id": self.session.session_id(),
            "session_key": inbound.export_at_first_known_index().to_base64(),
            "sender_claimed_keys": { "ed25519": own.ed25519 },
            "forwarding_curve25519_key_chain": [],
        }))?)
    }

    /// The content of the `m.room.encrypted` event. The key is used up.
    fn encrypt(
        mut self,
        own: &OwnDevice,
        message: &Outgoing,
    ) -> Result<Raw<RoomEncryptedEventContent>> {
        let plaintext = json!({
            "type": message.event_type,
            "content": message.content,
            "room_id": self.room_id,
        });
        let ciphertext = self.session.encrypt(serde_json::to_vec(&plaintext)?);
        let mut content = json!({
            "algorithm": MEGOLM,
            "ciphertext": ciphertext.to_base64(),
            "device_id": own.device_id,
            "sender_key": own.curve25519,
            "session_id": self.session.session_id(),
        });
        // Relations stay outside, where the server and other clients look for them.
        if let (Some(relation), Some(content)) =
            (message.content.get("m.relates_to"), content.as_object_mut())
        {
            content.insert("m.relates_to".to_owned(), relation.clone());
        }
        Ok(Raw::from_json(to_raw_value(&content)?))
    }
}

impl OwnDevice {
    async fn of(client: &Client) -> Result<Self> {
        let encryption = client.encryption();
        let no_keys = "this device has no keys yet";
        Ok(Self {
            device_id: client.device_id().context(no_keys)?.to_owned(),
            curve25519: encryption
                .curve25519_key()
                .await
                .context(no_keys)?
                .to_base64(),
            ed25519: encryption.ed25519_key().await.context(no_keys)?,
        })
    }
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

/// Gives the key to the devices, and tells which ones it did not reach.
async fn share(
    client: &Client,
    key: &OneMessageKey,
    devices: &[Device],
) -> Result<Vec<(OwnedUserId, OwnedDeviceId)>> {
    let room_key: Raw<AnyToDeviceEventContent> = Raw::from_json(to_raw_value(&key.room_key())?);
    let missed = client
        .encryption()
        .encrypt_and_send_raw_to_device(
            devices.iter().collect(),
            "m.room_key",
            room_key,
            CollectStrategy::AllDevices,
        )
        .await?;
    let reached = devices
        .iter()
        .filter(|device| Some(device.user_id()) != client.user_id())
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

/// Puts the key into our own store, from where it also reaches the key backup.
///
/// matrix-sdk takes keys in only as an encrypted export, from a file. The file lives for a moment,
/// readable by its owner alone, under a random passphrase that is never written down.
async fn keep(client: &Client, key: ExportedRoomKey) -> Result<()> {
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
    let export = encrypt_room_key_export(&[key], &passphrase, 1)?;
    let mut file = tempfile::NamedTempFile::new().context("a temporary file cannot be written")?;
    file.write_all(export.as_bytes())
        .context("a temporary file cannot be written")?;
    client
        .encryption()
        .import_room_keys(file.path().to_owned(), &passphrase)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ops::Deref as _};

    use matrix_sdk_crypto::{
        DecryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
        types::requests::AnyOutgoingRequest,
    };
    use ruma::{
        OneTimeKeyAlgorithm, OwnedOneTimeKeyId, UInt,
        api::client::keys::{claim_keys, get_keys, upload_keys},
        encryption::{DeviceKeys, OneTimeKey},
        room_id, user_id,
    };

    use super::*;

    const SETTINGS: DecryptionSettings = DecryptionSettings {
        sender_device_trust_requirement: TrustRequirement::Untrusted,
    };

    /// A device, and what it has uploaded.
    struct Uploaded {
        machine: OlmMachine,
        device_keys: Raw<DeviceKeys>,
        one_time_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    }

    async fn device(user: &str, device: &str) -> Uploaded {
        let machine = OlmMachine::new(&OwnedUserId::try_from(user).unwrap(), device.into()).await;
        for request in machine.outgoing_requests().await.unwrap() {
            if let AnyOutgoingRequest::KeysUpload(upload) = request.request() {
                let counts =
                    BTreeMap::from([(OneTimeKeyAlgorithm::SignedCurve25519, UInt::from(50_u32))]);
                let response = upload_keys::v3::Response::new(counts);
                machine
                    .mark_request_as_sent(request.request_id(), &response)
                    .await
                    .unwrap();
                return Uploaded {
                    device_keys: upload.device_keys.clone().unwrap(),
                    one_time_keys: upload.one_time_keys.clone(),
                    machine,
                };
            }
        }
        panic!("nothing to upload");
    }

    /// `from` learns of `to`'s device and opens an Olm session with it.
    async fn meet(from: &OlmMachine, to: &mut Uploaded) {
        let (user, device) = (
            to.machine.user_id().to_owned(),
            to.machine.device_id().to_owned(),
        );
        let mut known = get_keys::v3::Response::new();
        known.device_keys.insert(
            user.clone(),
            BTreeMap::from([(device.clone(), to.device_keys.clone())]),
        );
        let (query, _) = from.query_keys_for_users([&*user]);
        from.mark_request_as_sent(&query, &known).await.unwrap();
        let Some((claim, _)) = from
            .get_missing_sessions([&*user].into_iter())
            .await
            .unwrap()
        else {
            return;
        };
        let one = to.one_time_keys.pop_first().unwrap();
        let keys = BTreeMap::from([(user, BTreeMap::from([(device, BTreeMap::from([one]))]))]);
        from.mark_request_as_sent(&claim, &claim_keys::v3::Response::new(keys))
            .await
            .unwrap();
    }

    /// Sends the room key as the client does, and lets `to` sync.
    async fn hand_over(from: &OlmMachine, to: &OlmMachine, room_key: &Value) {
        let device = from
            .get_device(to.user_id(), to.device_id(), None)
            .await
            .unwrap()
            .unwrap();
        let devices = vec![device.deref().clone()];
        let (requests, withheld) = from
            .encrypt_content_for_devices(
                devices,
                "m.room_key",
                room_key,
                CollectStrategy::AllDevices,
            )
            .await
            .unwrap();
        assert!(withheld.is_empty());
        let request = requests.first().unwrap();
        let content = request
            .messages
            .values()
            .next()
            .unwrap()
            .values()
            .next()
            .unwrap();
        let event =
            json!({ "type": request.event_type, "sender": from.user_id(), "content": content });
        let changes = EncryptionSyncChanges {
            to_device_events: vec![Raw::from_json(to_raw_value(&event).unwrap())],
            changed_devices: &ruma::api::client::sync::sync_events::DeviceLists::new(),
            one_time_keys_counts: &BTreeMap::new(),
            unused_fallback_keys: None,
            next_batch_token: None,
        };
        let (_, room_keys) = to.receive_sync_changes(changes, &SETTINGS).await.unwrap();
        assert_eq!(room_keys.len(), 1, "the room key was not accepted");
    }

    fn own(machine: &OlmMachine) -> OwnDevice {
        OwnDevice {
            device_id: machine.device_id().to_owned(),
            curve25519: machine.identity_keys().curve25519.to_base64(),
            ed25519: machine.identity_keys().ed25519.to_base64(),
        }
    }

    async fn reads(
        machine: &OlmMachine,
        sender: &OlmMachine,
        content: &Raw<RoomEncryptedEventContent>,
    ) -> Value {
        let event = json!({
            "type": "m.room.encrypted", "event_id": "$released", "sender": sender.user_id(),
            "origin_server_ts": 1_800_000_000_000_u64, "content": content,
        });
        let event = Raw::from_json(to_raw_value(&event).unwrap());
        let decrypted = machine
            .decrypt_room_event(&event, room(), &SETTINGS)
            .await
            .unwrap();
        let event: Value = decrypted.event.deserialize_as_unchecked().unwrap();
        event["content"].clone()
    }

    fn room() -> &'static RoomId {
        room_id!("!therapy:clinic.example")
    }

    fn question() -> Outgoing {
        Outgoing {
            event_type: "m.room.message",
            content: json!({ "msgtype": "m.text", "body": "How was the night?" }),
        }
    }

    #[tokio::test]
    async fn the_nurse_reads_what_was_encrypted_before_her_shift() {
        let therapist = device("@therapist:clinic.example", "DESK").await.machine;
        let mut nurse = device("@nurse:clinic.example", "POCKET").await;
        meet(&therapist, &mut nurse).await;

        let key = OneMessageKey::new(room());
        hand_over(&therapist, &nurse.machine, &key.room_key()).await;
        let content = key.encrypt(&own(&therapist), &question()).unwrap();

        assert!(!content.json().get().contains("night"));
        assert_eq!(
            reads(&nurse.machine, &therapist, &content).await,
            question().content
        );
    }

    #[tokio::test]
    async fn the_therapist_can_read_their_own_question_and_back_its_key_up() {
        let therapist = device("@therapist:clinic.example", "DESK").await.machine;
        let key = OneMessageKey::new(room());
        let export = key.export(&own(&therapist)).unwrap();
        let imported = therapist
            .store()
            .import_exported_room_keys(vec![export], |_, _| {})
            .await
            .unwrap();
        assert_eq!(imported.imported_count, 1);
        let content = key.encrypt(&own(&therapist), &question()).unwrap();
        assert_eq!(
            reads(&therapist, &therapist, &content).await,
            question().content
        );
    }

    #[tokio::test]
    async fn a_question_cannot_be_moved_to_another_room() {
        let therapist = device("@therapist:clinic.example", "DESK").await.machine;
        let key = OneMessageKey::new(room_id!("!other:clinic.example"));
        let export = key.export(&own(&therapist)).unwrap();
        therapist
            .store()
            .import_exported_room_keys(vec![export], |_, _| {})
            .await
            .unwrap();
        let content = key.encrypt(&own(&therapist), &question()).unwrap();
        let event = json!({
            "type": "m.room.encrypted", "event_id": "$moved", "sender": user_id!("@therapist:clinic.example"),
            "origin_server_ts": 1, "content": content,
        });
        let event = Raw::from_json(to_raw_value(&event).unwrap());
        assert!(
            therapist
                .decrypt_room_event(&event, room(), &SETTINGS)
                .await
                .is_err()
        );
    }
}
