//! What people see: by long polls, each at any server; and in the end, by paging through a room at one server.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    client::Client,
    judge::{Seen, View, mark},
};
use crate::raw::text_at;

/// How long a poll waits, at least and at most, in milliseconds: longer than a server looks for what it was not told of.
const POLLS: (u64, u64) = (1_000, 20_000);
/// How many events a page has.
const PAGE: usize = 1_000;

/// Syncs until everything has been written and nothing new comes. Returns a view of each room.
pub(super) async fn read(
    person: Client,
    rooms: BTreeSet<String>,
    written: CancellationToken,
) -> Result<Vec<(String, View)>> {
    let view = |room| (room, View::new(&person.raw().user, "as syncs tell it"));
    let mut views: Vec<(String, View)> = rooms.into_iter().map(view).collect();
    let (mut since, mut before) = (String::new(), None);
    loop {
        let finishing = written.is_cancelled();
        let wait = match finishing {
            true => 500,
            false => POLLS.0 + person.roll(POLLS.1 - POLLS.0),
        };
        let path = format!("v3/sync?timeout={wait}{since}");
        let begun = person.now();
        let news = tokio::select! {
            news = person.insist(Method::GET, &path, None) => news?.ok()?,
            () = written.cancelled(), if !finishing => continue,
        };
        let mut quiet = true;
        for (room, view) in &mut views {
            let timeline = &news["rooms"]["join"][room.as_str()]["timeline"];
            let mut events = seen(&timeline["events"])?;
            if timeline["limited"] == true {
                let from = text_at(timeline, "prev_batch")?;
                let mut gap = before_that(&person, room, &from, view.last()).await?;
                gap.append(&mut events);
                events = gap;
            }
            quiet &= events.is_empty();
            view.told(events, Some(person.now()), before);
        }
        since = format!("&since={}", text_at(&news, "next_batch")?);
        before = Some(begun);
        if finishing && quiet {
            return Ok(views);
        }
    }
}

/// The events before a place, back to one that is known, oldest first.
async fn before_that(
    person: &Client,
    room: &str,
    from: &str,
    known: Option<&str>,
) -> Result<Vec<Seen>> {
    let (mut gap, mut from) = (Vec::new(), from.to_owned());
    loop {
        let (events, end) = page(person, room, &format!("dir=b&from={from}")).await?;
        let end = end.filter(|_| !events.is_empty());
        for event in events {
            if Some(event.id.as_str()) == known {
                gap.reverse();
                return Ok(gap);
            }
            gap.push(event);
        }
        match end {
            Some(end) => from = end,
            None if known.is_some() => bail!("the last event before the gap is not in {room}"),
            None => {
                gap.reverse();
                return Ok(gap);
            }
        }
    }
}

/// All of a room's events as somebody is told them, oldest first.
pub(super) async fn history(person: &Client, room: &str, server: usize) -> Result<View> {
    let place = format!("at server {server}");
    let (mut view, mut from) = (View::new(&person.raw().user, &place), String::new());
    loop {
        let (events, end) = page(person, room, &format!("dir=f{from}")).await?;
        let end = end.filter(|_| !events.is_empty());
        view.told(events, None, None);
        match end {
            Some(end) => from = format!("&from={end}"),
            None => return Ok(view),
        }
    }
}

async fn page(person: &Client, room: &str, place: &str) -> Result<(Vec<Seen>, Option<String>)> {
    let path = format!("v3/rooms/{room}/messages?limit={PAGE}&{place}");
    let page = person.insist(Method::GET, &path, None).await?.ok()?;
    Ok((
        seen(&page["chunk"])?,
        page["end"].as_str().map(str::to_owned),
    ))
}

fn seen(events: &Value) -> Result<Vec<Seen>> {
    let none = json!([]);
    let events = if events.is_null() { &none } else { events };
    let events = events.as_array().context("no events")?;
    let seen = |event: &Value| {
        let encrypted = event["type"] == "m.room.encrypted";
        anyhow::Ok(Seen {
            id: text_at(event, "event_id")?,
            mark: encrypted.then(|| mark(&event["content"])).transpose()?,
        })
    };
    events.iter().map(seen).collect()
}
