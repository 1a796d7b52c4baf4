//! Messages: one after the other, each at any server, some at two.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use tokio_util::sync::CancellationToken;

use super::{
    client::Client,
    judge::{Kind, Sent, mark},
};
use crate::raw::{Answer, megolm, text_at};

/// One of so many messages is sent to two servers at the same time, as a client does that has lost patience.
const TWICE_AT_ONCE: u64 = 10;
/// One of so many is sent again although it was acknowledged, as a client does that has not heard so.
const ONCE_MORE: u64 = 10;

/// Writes until it is over; each message is sent again, under the same transaction id, until it is acknowledged. Returns the
/// room and what was acknowledged.
pub(super) async fn write(
    person: Client,
    room: String,
    pace: Duration,
    over: CancellationToken,
) -> Result<(String, Vec<Sent>)> {
    let mut written: Vec<Sent> = Vec::new();
    while !over.is_cancelled() {
        let number = written.len();
        let content = megolm(&room, &number.to_string())?;
        let path = format!("v3/rooms/{room}/send/m.room.encrypted/h{number}");
        let send = || async {
            let answer = person.insist(Method::PUT, &path, Some(&content)).await?;
            id_in(answer)
        };
        let begun = person.now();
        let mut ids = match person.roll(TWICE_AT_ONCE) {
            0 => <[String; 2]>::from(tokio::try_join!(send(), send())?).to_vec(),
            _ => vec![send().await?],
        };
        let due = person.now();
        if person.roll(ONCE_MORE) == 0 {
            ids.push(send().await?);
        }
        written.push(Sent {
            kind: Kind::Message,
            mark: mark(&content)?,
            ids,
            begun,
            due,
        });
        tokio::select! {
            () = person.pauses(pace) => {}
            () = over.cancelled() => {}
        }
    }
    Ok((room, written))
}

fn id_in(answer: Answer) -> Result<String> {
    text_at(&answer.ok()?, "event_id")
}
