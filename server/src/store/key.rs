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
