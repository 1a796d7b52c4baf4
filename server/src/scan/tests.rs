use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use respite_protocol::therapy::ROOM_TYPE;
use ruma::{owned_event_id, owned_user_id, room_id, user_id};
use tempfile::TempDir;

use super::*;
use crate::{
    Options,
    clock::Clock,
    config::Scope,
    media::{MEDIA, Media, ORPHANS_KEPT},
    profiles::{PROFILES, Profile},
    push::PUSH_RULES,
    rooms::event::{Replaced, Seal, StoredEvent, TIMELINE},
    start,
    store::{Table, Tx},
    to_device::{TO_DEVICE, ToDevice},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What a night nurse would not want to be read.
const WORDS: &str = "I could not sleep again after the night shift.";

struct Installation {
    app: App,
    time: Arc<AtomicU64>,
    _directory: TempDir,
}

impl Installation {
    async fn new(scope: Scope) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data = directory.path().join("data");
        config.gate.scope = scope;
        let time = Arc::new(AtomicU64::new(Clock::system().millis()));
        let options = Options {
            clock: Clock::manual(time.clone()),
            ..Options::default()
        };
        let app = start::open(config, options).await.unwrap().app;
        Self {
            app,
            time,
            _directory: directory,
        }
    }

    /// Puts something into the store past all checks.
    async fn plant(&self, write: impl Fn(&mut Tx) -> Result<(), StoreError>) {
        let write = &write;
        self.app
            .store
            .transact(|mut tx| async move {
                write(&mut tx)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
    }

    async fn plant_event(&self, kind: &str, state_key: Option<&str>, content: String) {
        let event = event(kind, state_key, content);
        self.plant(|tx| {
            tx.append(&TIMELINE, room_id!("!room:localhost"), &event)
                .map(drop)
        })
        .await;
    }

    async fn plant_blob(&self, id: &str, bytes: &[u8]) {
        let mut writer = self.app.blobs.writer(id).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        writer.finish().await.unwrap();
    }

    async fn plant_media(&self, id: &str, size: u64) {
        let media = Media {
            owner: owned_user_id!("@nurse:localhost"),
            size,
            room: None,
            uploaded: 0,
        };
        self.plant(|tx| tx.put(&MEDIA, id, &media)).await;
    }

    fn wait(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    /// The violations, as place and flaw; none of them shows what it is about.
    async fn violations(&self) -> Vec<(String, Flaw)> {
        let report = scan(&self.app).await.unwrap();
        assert!(!serde_json::to_string(&report).unwrap().contains("sleep"));
        report
            .violations
            .into_iter()
            .map(|violation| (violation.place, violation.flaw))
            .collect()
    }
}

fn event(kind: &str, state_key: Option<&str>, content: String) -> StoredEvent {
    StoredEvent {
        event_id: owned_event_id!("$event"),
        room_id: room_id!("!room:localhost").to_owned(),
        sender: owned_user_id!("@nurse:localhost"),
        kind: kind.to_owned(),
        state_key: state_key.map(str::to_owned),
        origin_server_ts: 0,
        content,
        redacts: None,
        redacted_because: None,
        replaced: None,
        seal: Seal {
            auth_events: Vec::new(),
            prev_events: Vec::new(),
            depth: 1,
            hash: String::new(),
            key_id: String::new(),
            signature: String::new(),
        },
    }
}

fn message() -> String {
    format!(r#"{{"body":"{WORDS}","msgtype":"m.text"}}"#)
}

fn one(place: &str, flaw: Flaw) -> Vec<(String, Flaw)> {
    vec![(place.to_owned(), flaw)]
}

#[test]
fn every_table_that_the_source_describes_is_looked_at_and_no_two_are_the_same() {
    let rows = tables::rows();
    let numbers: BTreeSet<u16> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers.len(), rows.len(), "two tables have the same number");
    let described: BTreeSet<u16> = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
        .iter()
        .flat_map(|source| table_numbers(source))
        .collect();
    assert!(
        described.len() > 30,
        "the tables are described in another way now"
    );
    let missing: Vec<_> = described
        .difference(&numbers)
        .map(|n| format!("{n:#06x}"))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// The numbers in `Table::new(0x0401, "timeline")`, however it is broken into lines. Tests' own tables are decimal.
fn table_numbers(source: &str) -> Vec<u16> {
    let calls = source
        .split("Table::new(")
        .chain(source.split("List::new("))
        .map(str::trim_start);
    calls
        .filter_map(|call| call.strip_prefix("0x")?.get(..4))
        .filter_map(|number| u16::from_str_radix(number, 16).ok())
        .filter(|number| *number < 0x7000)
        .collect()
}

fn sources(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_server_that_holds_ciphertext_only_is_clean() {
    let here = Installation::new(Scope::Everywhere).await;
    here.plant_event(
        "m.room.create",
        Some(""),
        r#"{"room_version":"11"}"#.to_owned(),
    )
    .await;
    let noise: Vec<u8> = (0..4096).map(|_| here.app.random.bytes::<1>()[0]).collect();
    here.plant_blob(&"a".repeat(40), &noise).await;
    here.plant_media(&"a".repeat(40), 4096).await;
    let report = scan(&here.app).await.unwrap();
    assert_eq!(report.violations, []);
    assert!(report.is_clean());
    assert_eq!((report.entries["events"], report.blobs), (1, 1));
}

#[tokio::test]
async fn a_readable_message_in_a_room_is_found() {
    let here = Installation::new(Scope::Everywhere).await;
    here.plant_event(
        "m.room.create",
        Some(""),
        r#"{"room_version":"11"}"#.to_owned(),
    )
    .await;
    here.plant_event("m.room.message", None, message()).await;
    assert_eq!(here.violations().await, one("timeline", Flaw::Refused));
}

#[tokio::test]
async fn words_in_state_and_in_what_it_took_the_place_of_are_found() {
    let here = Installation::new(Scope::Everywhere).await;
    let named = format!(r#"{{"name":"{WORDS}"}}"#);
    here.plant_event("m.room.name", Some(""), named.clone())
        .await;
    let mut renamed = event("m.room.name", Some(""), r#"{"name":""}"#.to_owned());
    renamed.replaced = Some(Replaced {
        event_id: owned_event_id!("$earlier"),
        sender: owned_user_id!("@nurse:localhost"),
        content: named,
    });
    here.plant(|tx| {
        tx.append(&TIMELINE, room_id!("!room:localhost"), &renamed)
            .map(drop)
    })
    .await;
    let found = [
        one("timeline", Flaw::NotBlanked),
        one("timeline", Flaw::NotBlanked),
    ]
    .concat();
    assert_eq!(here.violations().await, found);
}

#[tokio::test]
async fn of_a_redacted_message_nothing_may_be_left_not_even_the_reason() {
    let here = Installation::new(Scope::Everywhere).await;
    let mut redacted = event("m.room.encrypted", None, "{}".to_owned());
    redacted.redacted_because = Some(r#"{"type":"m.room.redaction","content":{}}"#.to_owned());
    let mut half = redacted.clone();
    half.content = message();
    let mut reasoned = redacted.clone();
    reasoned.redacted_because = Some(format!(
        r#"{{"type":"m.room.redaction","content":{{"reason":"{WORDS}"}}}}"#
    ));
    for event in [redacted, half, reasoned] {
        here.plant(|tx| {
            tx.append(&TIMELINE, room_id!("!room:localhost"), &event)
                .map(drop)
        })
        .await;
    }
    let found: Vec<_> = here
        .violations()
        .await
        .into_iter()
        .map(|(place, _)| place)
        .collect();
    assert_eq!(found, ["timeline", "timeline"]);
}

#[tokio::test]
async fn plain_matrix_is_no_violation_where_the_operator_allows_it_but_never_in_a_therapy_room() {
    for (kind, found) in [("m.space", 0), (ROOM_TYPE, 1)] {
        let here = Installation::new(Scope::TherapyRooms).await;
        here.plant_event("m.room.create", Some(""), format!(r#"{{"type":"{kind}"}}"#))
            .await;
        here.plant_event("m.room.message", None, message()).await;
        assert_eq!(here.violations().await.len(), found, "{kind}");
    }
}

#[tokio::test]
async fn words_in_what_people_keep_about_themselves_are_found() {
    let here = Installation::new(Scope::Everywhere).await;
    let nurse = user_id!("@nurse:localhost");
    let profile = Profile {
        displayname: Some(WORDS.repeat(10)),
        ..Profile::default()
    };
    here.plant(|tx| tx.put(&PROFILES, nurse, &profile)).await;
    let data = message();
    let kind = "org.example.diary";
    here.plant(|tx| tx.put(&crate::account_data::ACCOUNT_DATA, (nurse, "", kind), &data))
        .await;
    let rules = format!(
        r#"{{"content":[{{"rule_id":"x","default":false,"enabled":true,"actions":[],"pattern":"{WORDS}"}}]}}"#
    );
    here.plant(|tx| tx.put(&PUSH_RULES, nurse, &rules)).await;
    let found: BTreeSet<String> = here
        .violations()
        .await
        .into_iter()
        .map(|(at, _)| at)
        .collect();
    let places = [
        &PROFILES.describe().1,
        &"account_data",
        &PUSH_RULES.describe().1,
    ];
    assert_eq!(
        found,
        places
            .into_iter()
            .map(|place| (*place).to_owned())
            .collect()
    );
}

#[tokio::test]
async fn push_rules_as_the_specification_has_them_are_clean() {
    let here = Installation::new(Scope::Everywhere).await;
    let nurse = user_id!("@nurse:localhost");
    let rules = ruma::push::Ruleset::server_default(nurse);
    let rules = serde_json::to_string(&rules).unwrap();
    here.plant(|tx| tx.put(&PUSH_RULES, nurse, &rules)).await;
    assert_eq!(here.violations().await, []);
}

#[tokio::test]
async fn a_readable_message_to_a_device_is_found() {
    let here = Installation::new(Scope::Everywhere).await;
    let message = ToDevice {
        kind: "m.room_key".to_owned(),
        sender: owned_user_id!("@nurse:localhost"),
        content: message(),
    };
    let to = (user_id!("@therapist:localhost"), ruma::device_id!("PHONE"));
    here.plant(|tx| tx.append(&TO_DEVICE, to, &message).map(drop))
        .await;
    assert_eq!(here.violations().await, one("to_device", Flaw::Refused));
}

#[tokio::test]
async fn a_table_that_nobody_knows_and_a_row_of_another_shape_are_found() {
    const DIARY: Table<String, String> = Table::new(0x7777, "diary");
    const WRONG: Table<String, u8> = Table::new(PROFILES.describe().0, "profiles");
    let here = Installation::new(Scope::Everywhere).await;
    here.plant(|tx| tx.put(&WRONG, "not a user id", &200)).await;
    here.plant(|tx| tx.put(&DIARY, "monday", &WORDS.to_owned()))
        .await;
    let flaws: Vec<_> = here
        .violations()
        .await
        .into_iter()
        .map(|(_, flaw)| flaw)
        .collect();
    assert_eq!(flaws, [Flaw::Unreadable, Flaw::Unknown]);
}

#[tokio::test]
async fn a_readable_blob_an_orphan_and_a_missing_one_are_found() {
    let here = Installation::new(Scope::Everywhere).await;
    let noise: Vec<u8> = (0..4096).map(|_| here.app.random.bytes::<1>()[0]).collect();
    here.plant_blob(&"a".repeat(40), WORDS.as_bytes()).await;
    here.plant_media(&"a".repeat(40), WORDS.len() as u64).await;
    here.plant_blob(&"b".repeat(40), &noise).await;
    here.plant_media(&"c".repeat(40), 4096).await;
    here.plant_blob(&"d".repeat(40), &noise).await;
    here.plant_media(&"d".repeat(40), 9000).await;
    here.wait(ORPHANS_KEPT + MINUTE);
    let flaws: BTreeSet<_> = here.violations().await.into_iter().collect();
    let found = [Flaw::Refused, Flaw::Orphan, Flaw::Missing];
    assert_eq!(flaws, found.map(|flaw| ("blobs".to_owned(), flaw)).into());
}

#[tokio::test]
async fn a_blob_that_may_be_an_upload_under_way_is_no_violation() {
    for (scope, bytes) in [
        (Scope::Everywhere, [0x9c, 0x31, 0xe5, 0x07].repeat(8)),
        (Scope::TherapyRooms, WORDS.as_bytes().to_vec()),
    ] {
        let here = Installation::new(scope).await;
        here.plant_blob(&"b".repeat(40), &bytes).await;
        here.wait(ORPHANS_KEPT - MINUTE);
        let report = scan(&here.app).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        let [note] = report.notes.as_slice() else {
            panic!("{report:?}")
        };
        assert!(Duration::from_millis(note.age) >= ORPHANS_KEPT - 2 * MINUTE);
        here.wait(2 * MINUTE);
        assert_eq!(here.violations().await, one("blobs", Flaw::Orphan));
    }
}
