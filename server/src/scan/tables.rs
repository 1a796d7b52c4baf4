//! A row for every table of the store: what is in it, and who judges that. A table without a row is a violation.

use respite_protocol::ciphertext;
use ruma::{
    OwnedRoomId,
    events::receipt::{ReceiptThread, ReceiptType},
};

use super::{
    Blob, Doubt, Scan,
    judge::{self, Flaw, Judged},
};
use crate::{
    account_data, accounts, auth, backup, ephemeral, filters, gate, inbox, invites, keys, media,
    presence, profiles, push, reports, rooms, scheduler, start,
    store::{engine::Pair, filling},
    to_device, uia,
};

/// Ids, numbers, times, hashes and roles: nothing in which a client could put words.
const BOOKKEEPING: &str = "bookkeeping";

type Judge = fn(&mut Scan<'_>, &Pair) -> Judged;

/// What is known of a table.
pub(super) struct Row {
    pub(super) number: u16,
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) judge: Judge,
}

const fn row((number, name): (u16, &'static str), class: &'static str, judge: Judge) -> Row {
    Row {
        number,
        name,
        class,
        judge,
    }
}

/// A table whose entries must only be what they should be.
macro_rules! bookkeeping {
    ($($table:expr),* $(,)?) => {
        vec![$(row($table.describe(), BOOKKEEPING, |_, pair| Ok($table.decode_entry(pair).map(drop)?))),*]
    };
}

/// All tables.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = bookkeeping![
        start::IDENTITY,
        filling::FILLING,
        auth::ACCESS_TOKENS,
        auth::LOGIN_TOKENS,
        auth::PASSWORDS,
        auth::REFRESH_TOKENS,
        auth::RESTRICTED,
        auth::RESTRICTED_TOKENS,
        accounts::ACCOUNTS,
        accounts::ENDED,
        invites::INVITES,
        invites::MADE,
        invites::MAKERS,
        reports::REPORTS,
        rooms::erasure::ERASED,
        rooms::event::EVENT_POSITIONS,
        rooms::sketch::SKETCHES,
        rooms::state::ROOMS,
        rooms::state::STATE,
        rooms::append::TRANSACTIONS,
        rooms::deletion::DELETIONS,
        rooms::published::PUBLISHED,
        rooms::later::DELAYED_DUE,
        rooms::later::DELAYED_IN,
        rooms::later::DELAYED_OF,
        rooms::later::DELAYED_REQUESTS,
        rooms::relations::AGGREGATES,
        rooms::relations::BY_TYPE,
        rooms::relations::INDEXED,
        rooms::relations::RELATIONS,
        rooms::relations::RELATORS,
        rooms::relations::THREAD_ORDER,
        rooms::membership::MEMBERSHIPS,
        ephemeral::typing::CHANGES,
        ephemeral::typing::ENDS,
        ephemeral::typing::TYPISTS,
        inbox::INBOX,
        inbox::connection::CONNECTIONS,
        inbox::connection::PENDING,
        inbox::connection::TOLD,
        inbox::recency::RECENCY,
        inbox::token::EPOCH,
        inbox::trim::PASSED,
        keys::KEY_COUNTS,
        keys::RECENTLY_CLAIMED,
        to_device::REMOVED,
        to_device::SENT,
        to_device::SENT_ORDER,
        to_device::SHARES,
        backup::LATEST_BACKUP,
        media::ROOM_MEDIA,
        media::RESERVED,
        media::USAGE,
        media::RESERVED_BY,
        media::UPLOADS,
        media::EXPIRY,
        media::ROOM_USAGE,
        media::WALK,
        presence::PRESENCE,
        presence::PRESENCE_ENDS,
        push::NOTIFICATIONS,
        push::HIGHLIGHTS,
        push::IN_THREADS,
        push::READ,
        push::PUSHKEYS,
        push::PUSHES,
        push::DUE,
        push::UNREAD_ROOMS,
        scheduler::DUE,
        scheduler::OF_ROOM,
        scheduler::REQUESTS,
        uia::PROVED,
    ];
    rows.push(row((0, "list heads"), BOOKKEEPING, |_, (_, value)| {
        if value.len() == size_of::<u64>() {
            Ok(())
        } else {
            Err(Flaw::Unreadable)
        }
    }));
    rows.extend(personal());
    rows.extend(encryption());
    rows.extend(addresses());
    rows.push(row(rooms::event::TIMELINE.describe(), "events", event));
    rows.push(row(
        scheduler::SCHEDULED.describe(),
        "scheduled",
        |_, pair| {
            let (_, scheduled) = scheduler::SCHEDULED.decode_entry(pair)?;
            scheduled.event.iter().try_for_each(|(kind, text)| {
                judge::json(text, |content| ciphertext::message_event(kind, content))
            })
        },
    ));
    rows.push(row(
        rooms::later::DELAYED.describe(),
        "delayed events",
        |scan, pair| {
            let (_, delayed) = rooms::later::DELAYED.decode_entry(pair)?;
            // Rooms come before what waits for them.
            if scan.plain.contains(&delayed.room) {
                return Ok(());
            }
            let key = delayed.state_key.as_deref();
            judge::content(&delayed.kind, key, &delayed.content, false)
        },
    ));
    rows.push(row(media::MEDIA.describe(), BOOKKEEPING, |scan, pair| {
        let (id, media) = media::MEDIA.decode_entry(pair)?;
        let guarded = gate::guards(scan.config, media.room.is_some());
        let size = media.size;
        scan.media.insert(id, Blob { size, guarded });
        Ok(())
    }));
    rows
}

/// What rooms are found by.
fn addresses() -> Vec<Row> {
    vec![
        row(
            rooms::aliases::ALIASES.describe(),
            "addresses",
            |scan, pair| {
                let (localpart, _) = rooms::aliases::ALIASES.decode_entry(pair)?;
                address(scan, &localpart)
            },
        ),
        row(
            rooms::aliases::ALIASES_OF.describe(),
            "addresses",
            |scan, pair| {
                let (_, all) = rooms::aliases::ALIASES_OF.decode_entry(pair)?;
                all.iter()
                    .try_for_each(|localpart| address(scan, localpart))
            },
        ),
    ]
}

/// Therapy rooms have none, so that the gate looks at all addresses or at none.
fn address(scan: &Scan<'_>, localpart: &str) -> Judged {
    match gate::guards(scan.config, false) {
        true => ciphertext::room_address(localpart).map_err(|_| Flaw::Refused),
        false => Ok(()),
    }
}

/// What people keep about themselves.
fn personal() -> Vec<Row> {
    vec![
        row(auth::DEVICES.describe(), "devices", |_, pair| {
            let ((_, device), _) = auth::DEVICES.decode_entry(pair)?;
            ciphertext::device_id(device.as_str()).map_err(|_| Flaw::Refused)
        }),
        row(profiles::PROFILES.describe(), "profiles", |_, pair| {
            let (_, profile) = profiles::PROFILES.decode_entry(pair)?;
            judge::profile_field("displayname", profile.displayname.as_deref())
        }),
        row(
            account_data::ACCOUNT_DATA.describe(),
            "account data",
            account_data,
        ),
        row(filters::FILTERS.describe(), "filters", |_, pair| {
            let (_, text) = filters::FILTERS.decode_entry(pair)?;
            judge::json(&text, ciphertext::filter)
        }),
        row(
            ephemeral::receipts::RECEIPTS.describe(),
            "receipts",
            receipt,
        ),
        row(push::PUSHERS.describe(), "pushers", |_, pair| {
            let (_, pushers) = push::PUSHERS.decode_entry(pair)?;
            pushers.iter().try_for_each(judge::pusher)
        }),
        row(push::PUSH_RULES.describe(), "push rules", |_, pair| {
            let (user, text) = push::PUSH_RULES.decode_entry(pair)?;
            judge::push_rules(&user, &text)
        }),
    ]
}

/// Account data, which the gate looks at in the rooms that it guards.
fn account_data(scan: &mut Scan<'_>, pair: &Pair) -> Judged {
    let ((_, room, kind), text) = account_data::ACCOUNT_DATA.decode_entry(pair)?;
    let everywhere = gate::guards(scan.config, false);
    let Ok(room) = OwnedRoomId::try_from(room) else {
        return match everywhere {
            true => judge::json(&text, |content| {
                ciphertext::global_account_data(&kind, content)
            }),
            false => Ok(()),
        };
    };
    let judged = match kind.as_str() {
        "m.tag" => judge::tags(&text),
        _ => judge::json(&text, |content| {
            ciphertext::room_account_data(&kind, content)
        }),
    };
    match judged {
        Err(flaw) if !everywhere => {
            let (table, key) = (account_data::ACCOUNT_DATA.describe().1, pair.0.clone());
            scan.doubts.push(Doubt {
                room,
                table,
                key,
                flaw,
            });
            Ok(())
        }
        judged => judged,
    }
}

/// A receipt names a type and a thread, which clients write.
fn receipt(_: &mut Scan<'_>, pair: &Pair) -> Judged {
    let ((_, _, of), _) = ephemeral::receipts::RECEIPTS.decode_entry(pair)?;
    let (kind, thread) = ephemeral::receipts::of(&of);
    let known = matches!(kind, ReceiptType::Read | ReceiptType::ReadPrivate);
    let standard = match thread {
        ReceiptThread::Unthreaded | ReceiptThread::Main => true,
        ReceiptThread::Thread(root) => root.as_str().len() <= ciphertext::MAX_ID_BYTES,
        _ => false,
    };
    if known && standard {
        Ok(())
    } else {
        Err(Flaw::Refused)
    }
}

/// End-to-end encryption's post office.
fn encryption() -> Vec<Row> {
    vec![
        row(keys::DEVICE_KEYS.describe(), "keys", |_, pair| {
            let (_, text) = keys::DEVICE_KEYS.decode_entry(pair)?;
            judge::json(&text, ciphertext::device_keys)
        }),
        row(keys::DEHYDRATED.describe(), "keys", |_, pair| {
            let (_, device) = keys::DEHYDRATED.decode_entry(pair)?;
            ciphertext::device_id(device.device.as_str()).map_err(|_| Flaw::Refused)?;
            judge::json(&device.data, ciphertext::dehydrated_device)
        }),
        row(keys::ONE_TIME_KEYS.describe(), "keys", |_, pair| {
            let ((_, _, algorithm, _), key) = keys::ONE_TIME_KEYS.decode_entry(pair)?;
            judge::one_time_key(&algorithm, &key.id, &key.key)
        }),
        row(keys::FALLBACK_KEYS.describe(), "keys", |_, pair| {
            let ((_, _, algorithm), key) = keys::FALLBACK_KEYS.decode_entry(pair)?;
            judge::one_time_key(&algorithm, &key.id, &key.key)
        }),
        row(keys::CROSS_SIGNING_KEYS.describe(), "keys", |_, pair| {
            let (_, keys) = keys::CROSS_SIGNING_KEYS.decode_entry(pair)?;
            [keys.master, keys.self_signing, keys.user_signing]
                .iter()
                .flatten()
                .try_for_each(|text| judge::json(text, ciphertext::cross_signing_key))
        }),
        row(keys::SIGNATURES.describe(), "keys", |_, pair| {
            let (_, signatures) = keys::SIGNATURES.decode_entry(pair)?;
            signatures
                .iter()
                .try_for_each(|(key, signature)| judge::signature(key, signature))
        }),
        row(backup::BACKUPS.describe(), "key backups", |_, pair| {
            let (_, version) = backup::BACKUPS.decode_entry(pair)?;
            judge::json(&version.auth_data, |data| {
                ciphertext::backup_auth_data(&version.algorithm, data)
            })
        }),
        row(backup::BACKED_UP.describe(), "key backups", |_, pair| {
            let ((_, _, room, id), session) = backup::BACKED_UP.decode_entry(pair)?;
            judge::backed_up(&room, &id, &session)
        }),
        row(
            to_device::TO_DEVICE.describe(),
            "to-device messages",
            |_, pair| {
                let (_, _, message) = to_device::TO_DEVICE.decode_entry(pair)?;
                judge::json(&message.content, |content| {
                    ciphertext::to_device_event(&message.kind, content)
                })
            },
        ),
    ]
}

/// A room's first event tells whether the gate guards the room.
fn event(scan: &mut Scan<'_>, pair: &Pair) -> Judged {
    let (room, position, event) = rooms::event::TIMELINE.decode_entry(pair)?;
    if position == 1 && !gate::guards(scan.config, is_therapy_room(&event.content)) {
        scan.plain.insert(room.clone());
    }
    if scan.plain.contains(&room) {
        Ok(())
    } else {
        judge::event(&event)
    }
}

fn is_therapy_room(create: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(create).is_ok_and(|content| {
        content.get("type").and_then(serde_json::Value::as_str)
            == Some(respite_protocol::therapy::ROOM_TYPE)
    })
}
