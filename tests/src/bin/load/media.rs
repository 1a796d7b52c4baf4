//! Encrypted attachments, there and back.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use respite_tests::raw::encrypted_bytes;

use crate::{
    measure::{self, Latencies, Plan},
    people::People,
};

/// A photograph of a filled-in sheet, or some minutes of speech.
const BYTES: usize = 256 * 1024;
/// Uploads of each person.
const UPLOADS: usize = 10;

/// What was measured; each is one attachment of [`BYTES`].
pub(crate) struct MediaWork {
    pub(crate) upload: Latencies,
    pub(crate) download: Latencies,
}

/// Everybody uploads some attachments, then fetches the last of them for the plan's duration.
pub(crate) async fn media(people: &People, plan: &Plan) -> Result<MediaWork> {
    let last: Mutex<Vec<String>> = Mutex::new(vec![String::new(); people.all.len()]);
    let upload = measure::repeated(people, async |person, times| {
        if times >= UPLOADS {
            return Ok(None);
        }
        let bytes = encrypted_bytes(BYTES);
        let start = Instant::now();
        let uri = person.upload(bytes).await?;
        let took = start.elapsed();
        if let Some(mine) = last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(person.number)
        {
            *mine = uri;
        }
        Ok(Some(took))
    })
    .await?;

    let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    let download = measure::repeated(people, async |person, _| {
        if begin.elapsed() >= plan.duration.min(Duration::from_secs(5)) {
            return Ok(None);
        }
        let uri = last.get(person.number).context("nothing was uploaded")?;
        let start = Instant::now();
        let length = person.download(uri).await?;
        ensure!(length == BYTES, "{length} bytes came back of {BYTES}");
        Ok(Some(start.elapsed()))
    })
    .await?;
    Ok(MediaWork { upload, download })
}
