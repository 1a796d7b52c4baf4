//! Sync tokens: where a device is in its lists, sealed for this user and device.
//!
//! `s<inbox>_<to-device>_<typing>_<check>`; before the check stand `_<epoch>`, once a backup was put back, and `~` with the
//! members whom the device knows ([`Known`]), if it wants to hear of each once. The check is the server's seal, so that a
//! token cannot be made up, and one that somebody else was given is not taken.

mod known;

pub use self::known::{Known, MAX_KNOWN};
use crate::{
    auth::{Device, Seal},
    error::{Error, Result},
    state::App,
    store::Table,
};

/// A number that changes whenever a backup is put back; there is none before the first time. Positions of another epoch mean
/// nothing any more: their numbers are given once again, to other entries.
pub const EPOCH: Table<(), u64> = Table::new(0x050F, "token_epoch");

/// How far a device has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// In the user's inbox.
    pub inbox: u64,
    /// In the device's to-device list.
    pub to_device: u64,
    /// Among the changes of who is typing.
    pub typing: u64,
}

impl Position {
    /// What a token of another epoch means: beyond everything, so that nothing can be gone on from there.
    pub const NOWHERE: Self = Self {
        inbox: u64::MAX,
        to_device: u64::MAX,
        typing: u64::MAX,
    };
}

/// Writes and reads the tokens of one device.
pub struct Tokens {
    seal: Seal,
    epoch: Option<u64>,
}

impl Tokens {
    /// The tokens of this device.
    pub fn of(app: &App, me: &Device) -> Self {
        Self::new(&app.seals.sync_tokens, me, app.epoch)
    }

    fn new(seal: &Seal, me: &Device, epoch: Option<u64>) -> Self {
        Self {
            seal: seal.of(me.user.as_str()).of(me.device.as_str()),
            epoch,
        }
    }

    /// The token for a position.
    pub fn write(&self, position: Position) -> String {
        self.write_with(position, &Known::default())
    }

    /// The token for a position at which a device knows these members.
    pub fn write_with(&self, position: Position, known: &Known) -> String {
        let Position {
            inbox,
            to_device,
            typing,
        } = position;
        let epoch = self
            .epoch
            .map_or_else(String::new, |epoch| format!("_{epoch}"));
        let known = match known.is_empty() {
            true => String::new(),
            false => format!("~{}", known.write()),
        };
        self.seal
            .seal(&format!("s{inbox}_{to_device}_{typing}{epoch}{known}"))
    }

    /// The seal for a part of what this device is given.
    pub fn seal(&self, part: &str) -> Seal {
        self.seal.of(part)
    }

    /// What stands for something of this device, and says nothing about it.
    pub fn name<const N: usize>(&self, kind: &str, of: &str) -> [u8; N] {
        self.seal.of(kind).name(of)
    }

    /// The position of a token that [`Tokens::write`] has made for the same device on the same server; in another epoch,
    /// [`Position::NOWHERE`].
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for everything else.
    pub fn read(&self, token: &str) -> Result<Position> {
        self.read_with(token).map(|(position, _)| position)
    }

    /// The same, and the members whom the device knows there.
    ///
    /// # Errors
    /// As [`Tokens::read`].
    pub fn read_with(&self, token: &str) -> Result<(Position, Known)> {
        let (position, epoch, known) = self.seal.open(token).and_then(parse).ok_or_else(|| {
            Error::invalid_param(
                "This sync token is not one of this device. Sync again without it.",
            )
        })?;
        Ok(match epoch == self.epoch {
            true => (position, known),
            false => (Position::NOWHERE, Known::default()),
        })
    }
}

fn parse(place: &str) -> Option<(Position, Option<u64>, Known)> {
    let (place, known) = match place.split_once('~') {
        Some((place, known)) => (place, Known::read(known)?),
        None => (place, Known::default()),
    };
    let mut numbers = place.strip_prefix('s')?.split('_').map(str::parse);
    let mut next = || numbers.next()?.ok();
    let position = Position {
        inbox: next()?,
        to_device: next()?,
        typing: next()?,
    };
    Some((position, next(), known))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use respite_protocol::Role;
    use ruma::{owned_device_id, owned_user_id};

    use super::*;

    fn tokens(user: &str, device: &str) -> Tokens {
        let me = Device {
            user: user.try_into().unwrap(),
            device: device.into(),
            role: Role::Client,
            token: [0; 32],
            suspended: false,
        };
        Tokens::new(&Seal::from_secret(b"secret"), &me, None)
    }

    fn nurse() -> Tokens {
        tokens("@nurse:x", "PHONE")
    }

    fn positions() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(inbox, to_device, typing)| Position {
            inbox,
            to_device,
            typing,
        })
    }

    proptest! {
        #[test]
        fn a_device_goes_on_where_it_was(position in positions()) {
            prop_assert_eq!(nurse().read(&nurse().write(position)).unwrap(), position);
        }

        #[test]
        fn whom_a_device_knows_it_goes_on_knowing(
            position in positions(), members in proptest::collection::vec(any::<u32>(), 0..200),
        ) {
            let mut known = Known::default();
            members.into_iter().for_each(|member| known.add(member));
            let token = nurse().write_with(position, &known);
            prop_assert_eq!(nurse().read_with(&token).unwrap(), (position, known));
        }

        #[test]
        fn a_token_with_a_change_is_refused(
            position in positions(), at in any::<prop::sample::Index>(), char in any::<char>(),
        ) {
            let token = nurse().write(position);
            let mut chars: Vec<char> = token.chars().collect();
            let at = at.index(chars.len());
            prop_assume!(chars[at] != char);
            chars[at] = char;
            prop_assert!(nurse().read(&String::from_iter(chars)).is_err());
        }

        #[test]
        fn anything_else_is_refused(text in ".*") {
            prop_assert!(nurse().read(&text).is_err());
        }

        #[test]
        fn what_only_looks_like_a_token_is_refused(text in "s[0-9+]{0,22}_[0-9]{0,22}_[0-9]{0,3}(_[0-9a-f]{0,17})?") {
            prop_assert!(nurse().read(&text).is_err());
        }
    }

    #[test]
    fn nobody_can_go_on_with_somebody_elses_token() {
        let token = nurse().write(Position {
            inbox: 7,
            to_device: 2,
            typing: 0,
        });
        for other in [
            tokens("@nurse:x", "TABLET"),
            tokens("@nurs:x", "ePHONE"),
            tokens("@doctor:x", "PHONE"),
        ] {
            assert!(other.read(&token).is_err());
        }
    }

    #[test]
    fn a_token_of_another_server_is_refused() {
        let me = Device {
            user: owned_user_id!("@nurse:x"),
            device: owned_device_id!("PHONE"),
            role: Role::Client,
            token: [0; 32],
            suspended: false,
        };
        let token =
            Tokens::new(&Seal::from_secret(b"another"), &me, None).write(Position::default());
        assert!(nurse().read(&token).is_err());
    }

    #[test]
    fn clients_of_earlier_versions_go_on_where_they_were() {
        let position = Position {
            inbox: 7,
            to_device: 2,
            typing: 1,
        };
        assert_eq!(nurse().read("s7_2_1_516d08f2aeeef9bb").unwrap(), position);
    }

    #[test]
    fn after_a_restore_old_tokens_lead_nowhere_and_new_ones_work() {
        let position = Position {
            inbox: 7,
            to_device: 2,
            typing: 1,
        };
        let in_epoch = |epoch| Tokens { epoch, ..nurse() };
        for (old, new) in [(None, Some(5)), (Some(5), Some(6)), (Some(5), None)] {
            let token = in_epoch(old).write(position);
            assert_eq!(in_epoch(old).read(&token).unwrap(), position);
            assert_eq!(in_epoch(new).read(&token).unwrap(), Position::NOWHERE);
        }
    }
}
