//! What people are called: a pseudonym of their own choice, and the time zone that others should reckon with.

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError, Table};

/// The profiles that are not empty.
pub const PROFILES: Table<OwnedUserId, Profile> = Table::new(0x0301, "profiles");

/// The field with the pseudonym.
pub const DISPLAYNAME: &str = "displayname";
/// The field with the time zone.
pub const TIME_ZONE: &str = "m.tz";

/// What a person is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The pseudonym.
    pub displayname: Option<String>,
    /// The time zone, by its name in the IANA database.
    pub time_zone: Option<String>,
}

/// Somebody's profile, empty where nothing was set.
///
/// # Errors
/// The store's.
pub async fn get(store: &Store, user: &UserId) -> Result<Profile, StoreError> {
    Ok(store.get(&PROFILES, user).await?.unwrap_or_default())
}

impl Profile {
    /// The fields that are set.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, String)> {
        [(DISPLAYNAME, self.displayname), (TIME_ZONE, self.time_zone)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// The place of a field; `None` for one that profiles do not have.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            DISPLAYNAME => Some(&mut self.displayname),
            TIME_ZONE => Some(&mut self.time_zone),
            _ => None,
        }
    }
}
