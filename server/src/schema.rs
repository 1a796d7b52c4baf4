//! The register of everything that is kept: each table's number and name, so that no two are the same.

use crate::{
    accounts, auth, backup, inbox, invites, keys, media, profiles, push, rooms, start, to_device,
};

/// Number and name of each table and list, a line for each noun.
pub fn tables() -> Vec<(u16, &'static str)> {
    [
        &[
            auth::ACCESS_TOKENS.describe(),
            auth::PASSWORDS.describe(),
            auth::REFRESH_TOKENS.describe(),
            auth::DEVICES.describe(),
        ][..],
        &[start::IDENTITY.describe()],
        &[accounts::ACCOUNTS.describe()],
        &[inbox::INBOX.describe()],
        &[
            rooms::event::TIMELINE.describe(),
            rooms::event::EVENT_POSITIONS.describe(),
            rooms::state::ROOMS.describe(),
            rooms::state::STATE.describe(),
            rooms::append::TRANSACTIONS.describe(),
            rooms::relations::RELATIONS.describe(),
            rooms::membership::MEMBERSHIPS.describe(),
        ],
        &[invites::INVITES.describe(), invites::MADE.describe()],
        &[profiles::PROFILES.describe()],
        &[
            keys::DEVICE_KEYS.describe(),
            keys::ONE_TIME_KEYS.describe(),
            keys::KEY_COUNTS.describe(),
            keys::FALLBACK_KEYS.describe(),
            keys::CROSS_SIGNING_KEYS.describe(),
            keys::SIGNATURES.describe(),
            keys::RECENTLY_CLAIMED.describe(),
        ],
        &[
            to_device::TO_DEVICE.describe(),
            to_device::REMOVED.describe(),
            to_device::SENT.describe(),
            to_device::SENT_ORDER.describe(),
        ],
        &[
            backup::BACKUPS.describe(),
            backup::LATEST_BACKUP.describe(),
            backup::BACKED_UP.describe(),
        ],
        &[
            media::MEDIA.describe(),
            media::ROOM_MEDIA.describe(),
            media::RESERVED.describe(),
            media::RESERVED_BY.describe(),
            media::USAGE.describe(),
        ],
        &[
            push::NOTIFICATIONS.describe(),
            push::READ.describe(),
            push::PUSH_RULES.describe(),
        ],
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_two_tables_have_the_same_number_or_name() {
        let tables = super::tables();
        let numbers: BTreeSet<u16> = tables.iter().map(|(number, _)| *number).collect();
        let names: BTreeSet<&str> = tables.iter().map(|(_, name)| *name).collect();
        assert_eq!(numbers.len(), tables.len());
        assert_eq!(names.len(), tables.len());
        assert!(
            !numbers.contains(&0),
            "0 is where the engines keep the lists' heads"
        );
    }
}
