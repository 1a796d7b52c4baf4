//! One backed-up key, and which of two copies is the better one.

use respite_protocol::ciphertext;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomId, api::client::backup::KeyBackupData, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    gate,
};

/// Longest encrypted key, in bytes of JSON.
const MAX_SESSION_BYTES: usize = 8 * 1024;

/// A key in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The first message that it opens.
    pub first_message_index: u64,
    /// How often it was forwarded before it got here.
    pub forwarded_count: u64,
    /// Whether it came from a device that its owner had verified.
    pub is_verified: bool,
    /// The key, encrypted, as JSON.
    pub session_data: String,
}

impl Session {
    /// A key as the gate lets it through.
    ///
    /// # Errors
    /// It is not ciphertext, or too large.
    pub(super) fn checked(
        room: &RoomId,
        session_id: &str,
        data: &Raw<KeyBackupData>,
    ) -> Result<Self> {
        ciphertext::backup_ids(room.as_str(), session_id)?;
        if data.json().get().len() > MAX_SESSION_BYTES {
            return Err(Error::too_large(
                "A key in the backup may have at most 8 KiB.",
            ));
        }
        let data = ciphertext::backup_session(gate::canonical(data.json().get())?)?;
        Self::parse(&data).ok_or_else(|| Error::bad_json("A key in the backup lacks a field."))
    }

    fn parse(data: &CanonicalJsonObject) -> Option<Self> {
        let count = |field| u64::try_from(i64::from(data.get(field)?.as_integer()?)).ok();
        Some(Self {
            first_message_index: count("first_message_index")?,
            forwarded_count: count("forwarded_count")?,
            is_verified: matches!(data.get("is_verified")?, CanonicalJsonValue::Bool(true)),
            session_data: gate::text(data.get("session_data")?).ok()?,
        })
    }

    /// Whether this copy is better than the one that is kept: verified rather than not, then opening more messages, then
    /// less often forwarded. Of equals the kept one stays.
    ///
    /// [Rules](https://spec.matrix.org/v1.18/client-server-api/#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2)
    pub(super) fn replaces(&self, kept: &Self) -> bool {
        let rank = |session: &Self| {
            (
                !session.is_verified,
                session.first_message_index,
                session.forwarded_count,
            )
        };
        rank(self) < rank(kept)
    }

    /// As a client wants it.
    pub(super) fn to_client(&self) -> Result<Raw<KeyBackupData>> {
        let damaged = |_| Error::internal("a backed-up key that is not JSON");
        let session_data: Box<RawValue> =
            serde_json::from_str(&self.session_data).map_err(damaged)?;
        let json = serde_json::value::to_raw_value(&serde_json::json!({
            "first_message_index": self.first_message_index,
            "forwarded_count": self.forwarded_count,
            "is_verified": self.is_verified,
            "session_data": session_data,
        }))
        .map_err(damaged)?;
        Ok(Raw::from_json(json))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use respite_protocol::ciphertext::backup_ids;

    use super::Session;

    prop_compose! {
        fn session()(
            first_message_index in 0u64..4,
            forwarded_count in 0u64..4,
            is_verified: bool,
            session_data in "[a-z]{4}",
        ) -> Session {
            Session { first_message_index, forwarded_count, is_verified, session_data }
        }
    }

    /// The specification's words, in its order.
    fn better_by_the_book(new: &Session, kept: &Session) -> bool {
        if new.is_verified != kept.is_verified {
            return new.is_verified;
        }
        if new.first_message_index != kept.first_message_index {
            return new.first_message_index < kept.first_message_index;
        }
        new.forwarded_count < kept.forwarded_count
    }

    /// What a backup holds after these uploads.
    fn kept_of(uploads: &[Session]) -> Session {
        uploads[1..].iter().fold(uploads[0].clone(), |kept, new| {
            if new.replaces(&kept) {
                new.clone()
            } else {
                kept
            }
        })
    }

    proptest! {
        #[test]
        fn a_better_copy_replaces_a_worse_one_and_nothing_else_does(new in session(), kept in session()) {
            prop_assert_eq!(new.replaces(&kept), better_by_the_book(&new, &kept));
        }

        #[test]
        fn no_upload_makes_a_backup_worse(uploads in proptest::collection::vec(session(), 1..12)) {
            let kept = kept_of(&uploads);
            prop_assert!(uploads.iter().all(|upload| !better_by_the_book(upload, &kept)));
        }

        #[test]
        fn uploading_everything_again_changes_nothing(uploads in proptest::collection::vec(session(), 1..12)) {
            let kept = kept_of(&uploads);
            let again: Vec<_> = std::iter::once(kept.clone()).chain(uploads).collect();
            prop_assert_eq!(kept_of(&again), kept);
        }
    }

    #[test]
    fn words_cannot_be_kept_as_ids() {
        let session = "gRIH2JZ8Mdz5Wy1sYCMhQWXRxI5nfNaoqSVqnEV7t0A";
        backup_ids("!Ux9-night_Shift:localhost", session).unwrap();
        backup_ids("!gRIH2JZ8Mdz5Wy1sYCMhQWXRxI5nfNaoqSVqnEV7t0A", session).unwrap();
        for words in [
            "",
            "I cannot sleep",
            "short",
            &session.repeat(2),
            "SVdhbnRUb0RpZVRvbmlnaHRQbGVhc2VIZWxwTWVOb3c",
        ] {
            backup_ids("!abc:localhost", words).unwrap_err();
        }
        for words in [
            "!I cannot sleep:localhost",
            &format!("!{}:localhost", "a".repeat(65)),
        ] {
            backup_ids(words, session).unwrap_err();
        }
    }
}
