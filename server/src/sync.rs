//! `/sync`: what is new for a device, read from its user's inbox.
//!
//! An answer costs what is new: the inbox says which rooms have something, and which events. A device that is up to date
//! waits, holding little more than its subscriptions.
//!
//! Sliding sync (`sync/sliding.rs`) tells the same to clients that say which rooms they have on their screen.
//!
//! [Syncing](https://spec.matrix.org/v1.18/client-server-api/#syncing)

mod answer;
mod deleted;
mod devices;
mod key_changes;
mod notices;
mod notifications;
#[cfg(test)]
mod practice;
mod room;
mod select;
mod sliding;
mod story;
mod summary;
mod threads;
mod timeline;
mod window;
mod wire;

use std::{borrow::Cow, time::Duration};

use axum::Router;
use ruma::api::client::{
    filter::FilterDefinition,
    sync::sync_events::v3::{Filter, Request},
};
use tokio::time::Instant;

use self::{
    answer::Answerer,
    wire::{Answered, Asked},
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    ephemeral::typing,
    error::{Error, Result},
    filters,
    inbox::{
        INBOX,
        token::{Known, Position, Tokens},
        trim,
    },
    presence,
    state::App,
    store::Watch,
    to_device::{self, TO_DEVICE},
};

/// The longest that a poll waits, whatever the client asks for.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// The endpoints.
pub fn router() -> Router<App> {
    endpoint::<_, _, _, _>(sync)
        .merge(key_changes::router())
        .merge(notifications::router())
        .merge(sliding::router())
        .merge(threads::router())
}

async fn sync(app: App, me: Device, Asked(request): Asked) -> Result<Answered> {
    presence::is_known(&request.set_presence)?;
    presence::seen(&app, &me.user, &request.set_presence).await?;
    let tokens = Tokens::of(&app, &me);
    let since = request.since.as_deref();
    let since = since.map(|token| tokens.read_with(token)).transpose()?;
    let (mut since, mut known) = since.map_or((None, Known::default()), |(position, known)| {
        (Some(position), known)
    });
    let until = Instant::now() + request.timeout.unwrap_or_default().min(MAX_WAIT);
    let mut changes = Changes::of(&app, &me);
    // What the client itself has said that it has.
    let mut acknowledged = since;
    loop {
        // What it takes to put an answer together is on the heap, and gone while the poll waits.
        let answer = Box::pin(async {
            let filter = filter(&app, &me, &request).await?;
            let answerer = Answerer::new(&app, &me, &tokens, &request);
            answerer.since(&filter, since, &known).await
        });
        let answer = answer.await?;
        let acknowledged = acknowledged.take().filter(|_| !answer.anew);
        if let Some(position) = acknowledged {
            delivered(&app, &me, position).await;
        }
        if let Some(position) = acknowledged.or(answer.anew.then_some(answer.position)) {
            note(&app, &me, position).await;
        }
        let done = answer.anew || request.full_state || answer.says_something();
        let waits = !done && !answer.more;
        if done || (waits && !changes.within(&app, until).await) {
            let mut response = answer.response;
            response.next_batch = tokens.write_with(answer.position, &answer.known);
            return Ok(Answered(response));
        }
        if waits {
            me.stays(&app).await?;
        }
        // Nothing was left unsaid up to here.
        (since, known) = (Some(answer.position), answer.known);
    }
}

/// Notes how far a device is. Not worth failing for: what is not noted is noted at another sync.
async fn note(app: &App, me: &Device, position: Position) {
    if let Err(error) = trim::note_passed(app, me, position.inbox).await {
        tracing::debug!(%error, "it could not be noted how far a device is");
    }
}

/// Removes the messages that a device has. Not worth failing for: what is not removed is removed at another sync.
async fn delivered(app: &App, me: &Device, position: Position) {
    let up_to = position.to_device;
    if let Err(error) = to_device::delivered(&app.store, &me.user, &me.device, up_to).await {
        tracing::debug!(%error, "messages that a device has could not be removed");
    }
}

/// What a poll waits for.
struct Changes {
    inbox: Watch,
    to_device: Watch,
    typing: Watch,
}

impl Changes {
    /// From now on: what is read after this is not missed.
    fn of(app: &App, me: &Device) -> Self {
        Self {
            inbox: app.store.watch(&INBOX, &*me.user),
            to_device: app.store.watch(&TO_DEVICE, (&*me.user, &*me.device)),
            typing: typing::watch(&app.store, &me.user),
        }
    }

    /// Waits for something to happen; false if nothing does in time, or the server stops.
    async fn within(&mut self, app: &App, until: Instant) -> bool {
        tokio::select! {
            () = self.inbox.grown() => true,
            () = self.to_device.grown() => true,
            () = self.typing.grown() => true,
            () = tokio::time::sleep_until(until) => false,
            () = app.shutdown.cancelled() => false,
        }
    }
}

/// The filter that a request brings, or names.
async fn filter<'r>(
    app: &App,
    me: &Device,
    request: &'r Request,
) -> Result<Cow<'r, FilterDefinition>> {
    match &request.filter {
        Some(Filter::FilterDefinition(filter)) => Ok(Cow::Borrowed(filter)),
        // A definition that ruma cannot read.
        Some(Filter::FilterId(id)) if id.starts_with('{') => {
            Err(Error::invalid_param("The filter has the wrong form."))
        }
        Some(Filter::FilterId(id)) => {
            let stored = filters::get(&app.store, &me.user, id).await?;
            Ok(Cow::Owned(stored))
        }
        _ => Ok(Cow::Owned(FilterDefinition::default())),
    }
}

#[cfg(test)]
mod tests;
