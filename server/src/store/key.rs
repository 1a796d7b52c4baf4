//! Keys as bytes whose order is the order of the values, and whose prefixes are prefixes of bytes.
//!
//! Numbers are big-endian; text ends in `00 01`, with a zero byte inside it written as `00 ff`.

use ruma::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};

/// A key as it is read back.
pub trait Key: Sized + Send + 'static {
    /// Takes the key's bytes off the front of the input.
    fn take(input: &mut &[u8]) -> Option<Self>;
}

/// Something, owned or borrowed, that can stand for the key `K`.
pub trait AsKey<K> {
    /// Appends the key's bytes.
    fn write(&self, out: &mut Vec<u8>);
}

/// The first parts of a key `K`: `()` for all, `(a,)`, `(a, b)` …
pub trait PrefixOf<K> {
    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);
}

impl<K> PrefixOf<K> for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

impl<K, A: AsKey<K> + ?Sized> AsKey<K> for &A {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn take_text(input: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match input {
            [0, 0xff, rest @ ..] => {
                text.push(0);
                *input = rest;
            }
            [0, 1, rest @ ..] => {
                *input = rest;
                return String::from_utf8(text).ok();
            }
            [byte, rest @ ..] if *byte != 0 => {
                text.push(*byte);
                *input = rest;
            }
            _ => return None,
        }
    }
}

macro_rules! text_keys {
    ($($owned:ty, $borrowed:ty;)*) => {$(
        impl Key for $owned {
            fn take(input: &mut &[u8]) -> Option<Self> {
                take_text(input)?.try_into().ok()
            }
        }
        impl AsKey<$owned> for $owned {
            fn write(&self, out: &mut Vec<u8>) {
                write_text(self.as_str().as_bytes(), out);
            }
        }
        impl AsKey<$owned> for $borrowed {
            fn write(&self, out: &mut Vec<u8>) {
                write_text(<$borrowed>::as_bytes(self), out);
            }
        }
    )*};
}

text_keys! {
    String, str;
    OwnedUserId, UserId;
    OwnedRoomId, RoomId;
    OwnedEventId, EventId;
    OwnedDeviceId, DeviceId;
}

macro_rules! number_keys {
    ($($number:ty),*) => {$(
        impl Key for $number {
            fn take(input: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = input.split_first_chunk()?;
                *input = rest;
                Some(<$number>::from_be_bytes(*bytes))
            }
        }
        impl AsKey<$number> for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

number_keys!(u8, u16, u32, u64);

impl<const N: usize> Key for [u8; N] {
    fn take(input: &mut &[u8]) -> Option<Self> {
        let (bytes, rest) = input.split_first_chunk()?;
        *input = rest;
        Some(*bytes)
    }
}

impl<const N: usize> AsKey<[u8; N]> for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl Key for () {
    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl AsKey<()> for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

macro_rules! tuple_keys {
    ($($k:ident $a:ident $i:tt),*) => {
        impl<$($k: Key),*> Key for ($($k,)*) {
            fn take(input: &mut &[u8]) -> Option<Self> {
                Some(($($k::take(input)?,)*))
            }
        }
        impl<$($k, $a: AsKey<$k>),*> AsKey<($($k,)*)> for ($($a,)*) {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$i.write(out);)*
            }
        }
    };
}

tuple_keys!(K0 A0 0, K1 A1 1);
tuple_keys!(K0 A0 0, K1 A1 1, K2 A2 2);
tuple_keys!(K0 A0 0, K1 A1 1, K2 A2 2, K3 A3 3);

macro_rules! tuple_prefixes {
    ($(($($a:ident $k:ident $i:tt),*) of ($($all:ident),*);)*) => {$(
        impl<$($all,)* $($a: AsKey<$k>),*> PrefixOf<($($all,)*)> for ($($a,)*) {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$i.write(out);)*
            }
        }
    )*};
}

tuple_prefixes! {
    (A0 K0 0) of (K0, K1);
    (A0 K0 0) of (K0, K1, K2);
    (A0 K0 0) of (K0, K1, K2, K3);
    (A0 K0 0, A1 K1 1) of (K0, K1, K2);
    (A0 K0 0, A1 K1 1) of (K0, K1, K2, K3);
    (A0 K0 0, A1 K1 1, A2 K2 2) of (K0, K1, K2, K3);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes<K>(key: &impl AsKey<K>) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(&mut out);
        out
    }

    fn prefix<K>(prefix: &impl PrefixOf<K>) -> Vec<u8> {
        let mut out = Vec::new();
        prefix.write(&mut out);
        out
    }

    fn taken<K: Key>(mut input: &[u8]) -> Option<K> {
        K::take(&mut input).filter(|_| input.is_empty())
    }

    /// Short texts of few characters, so that equal beginnings and zero bytes are common.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[\0\u{1}ab\u{ff}]{0,4}", any::<String>()]
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..3u64, 250..260u64, any::<u64>()]
    }

    type Long = (String, [u8; 2], u64, String);

    fn long() -> impl Strategy<Value = Long> {
        (text(), any::<[u8; 2]>(), number(), text())
    }

    proptest! {
        #[test]
        fn bytes_are_in_the_order_of_the_values(a in long(), b in long()) {
            prop_assert_eq!(bytes::<Long>(&a).cmp(&bytes::<Long>(&b)), a.cmp(&b));
        }

        #[test]
        fn texts_that_begin_alike_are_in_order(a in (text(), number()), b in (text(), number())) {
            prop_assert_eq!(bytes::<(String, u64)>(&a).cmp(&bytes::<(String, u64)>(&b)), a.cmp(&b));
        }

        #[test]
        fn a_key_is_read_back_as_it_was_written(key in long()) {
            prop_assert_eq!(taken::<Long>(&bytes::<Long>(&key)), Some(key));
        }

        #[test]
        fn borrowed_and_owned_keys_are_the_same_bytes(key in (text(), number())) {
            let borrowed = (key.0.as_str(), key.1);
            prop_assert_eq!(bytes::<(String, u64)>(&key), bytes::<(String, u64)>(&borrowed));
        }

        #[test]
        fn a_prefix_finds_the_keys_that_have_it_and_no_others(a in long(), b in long()) {
            let of_a = bytes::<Long>(&a);
            prop_assert!(of_a.starts_with(&prefix::<Long>(&())));
            prop_assert_eq!(of_a.starts_with(&prefix::<Long>(&(b.0.as_str(),))), a.0 == b.0);
            let two = (b.0.as_str(), b.1);
            prop_assert_eq!(of_a.starts_with(&prefix::<Long>(&two)), (&a.0, a.1) == (&b.0, b.1));
            let three = (b.0.as_str(), b.1, b.2);
            prop_assert_eq!(of_a.starts_with(&prefix::<Long>(&three)), (&a.0, a.1, a.2) == (&b.0, b.1, b.2));
        }

        #[test]
        fn bytes_that_are_no_key_are_refused(input in prop::collection::vec(0..4u8, 0..12)) {
            if let Some(key) = taken::<(String, u16)>(&input) {
                prop_assert_eq!(bytes::<(String, u16)>(&key), input);
            }
        }
    }

    #[test]
    fn a_key_that_is_cut_off_is_refused() {
        let whole = bytes::<(OwnedUserId, u64)>(&(ruma::user_id!("@nurse:localhost"), 7));
        for length in 0..whole.len() {
            assert_eq!(taken::<(OwnedUserId, u64)>(&whole[..length]), None);
        }
        assert_eq!(taken::<OwnedUserId>(&bytes::<String>(&"no user id")), None);
    }
}
