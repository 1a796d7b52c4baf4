//! What Element X is made of: a list of rooms that sorts itself, and a timeline, both fed by sliding sync.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, pin_mut};
use matrix_sdk::ruma::{OwnedRoomId, RoomId, events::room::message::RoomMessageEventContent};
use matrix_sdk_ui::{
    room_list_service::filters::new_filter_non_left,
    sync_service::{State, SyncService},
    timeline::{RoomExt, Timeline},
};
use respite_tests::{
    person::{PATIENCE, Person, pair},
    practice::Practice,
};

/// Somebody opens such a client. It ends with the test.
async fn opens_the_app(person: &Person) -> Result<SyncService> {
    let app = SyncService::builder(person.client.clone()).build().await?;
    app.start().await;
    Ok(app)
}

/// Somebody closes it, who has read something in it that was sent since they opened it. Not before: what is shown earlier
/// may be from the client's own store, and to be told to stop before it has asked the server for the first time is a
/// message that nobody listens to yet (`SlidingSync::stop_sync` in matrix-sdk 0.18: "SlidingSync's internal channel is
/// broken"), after which `SyncService::stop` waits for ever for requests that go on.
async fn closes(app: SyncService) -> Result<()> {
    tokio::time::timeout(PATIENCE, app.stop())
        .await
        .context("the app does not stop")?;
    let state = app.state().get();
    ensure!(matches!(state, State::Idle), "the app is {state:?}");
    Ok(())
}

/// Waits until the list shows these rooms, in this order.
async fn shows(app: &SyncService, wanted: &[&RoomId]) -> Result<()> {
    let service = app.room_list_service();
    let list = service.all_rooms().await?;
    let (changes, controller) = list.entries_with_dynamic_adapters(20);
    controller.set_filter(Box::new(new_filter_non_left()));
    pin_mut!(changes);
    let mut rooms = Default::default();
    let waiting = async {
        while let Some(diffs) = changes.next().await {
            for diff in diffs {
                diff.apply(&mut rooms);
            }
            let shown: Vec<OwnedRoomId> =
                rooms.iter().map(|room| room.room_id().to_owned()).collect();
            if shown == wanted {
                return Ok(());
            }
        }
        anyhow::bail!("the list has ended")
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .with_context(|| format!("the list never was {wanted:?}"))?
}

/// Waits until a timeline ends with these texts.
async fn reads(timeline: &Timeline, wanted: &[impl AsRef<str> + std::fmt::Debug]) -> Result<()> {
    let mut texts: Vec<String> = Vec::new();
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < PATIENCE {
        let items = timeline.items().await;
        texts = items
            .iter()
            .filter_map(|item| Some(item.as_event()?.content().as_message()?.body().to_owned()))
            .collect();
        let last = texts.len().saturating_sub(wanted.len());
        if texts[last..]
            .iter()
            .eq(wanted.iter().map(|text| text.as_ref()))
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the timeline says {texts:?} instead of {wanted:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_therapist_has_the_list_of_rooms_and_the_timeline_of_one() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    let app = opens_the_app(&therapist).await?;
    shows(&app, &[&room]).await?;
    app.room_list_service().subscribe_to_rooms(&[&room]).await;
    let timeline = therapist.room(&room)?.timeline().await?;
    nurse.sync().await?;
    nurse.says(&room, "Slept three hours.").await?;
    nurse.says(&room, "Then the phone rang.").await?;
    reads(&timeline, &["Slept three hours.", "Then the phone rang."]).await?;
    let answer = RoomMessageEventContent::text_plain("I read you tomorrow.");
    timeline.send(answer.into()).await?;
    nurse.hears(&room, "I read you tomorrow.").await?;
    reads(&timeline, &["Then the phone rang.", "I read you tomorrow."]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_in_which_somebody_wrote_last_is_at_the_top_and_a_new_one_comes_by_itself()
-> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, first) = pair(&practice).await?;
    let app = opens_the_app(&therapist).await?;
    shows(&app, &[&first]).await?;
    let code = therapist.invites_a_client().await?;
    let porter = Person::register(practice.url(), "porter", &code).await?;
    let second = porter.room_with(therapist.id()).await?;
    shows(&app, &[&second, &first]).await?;
    nurse.sync().await?;
    nurse.says(&first, "Awake again.").await?;
    shows(&app, &[&first, &second]).await?;
    porter.says(&second, "So am I.").await?;
    shows(&app, &[&second, &first]).await?;
    porter.room(&second)?.leave().await?;
    let state = app.state().get();
    ensure!(
        matches!(state, State::Running),
        "the app stopped: {state:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_was_closed_shows_what_was_written_meanwhile_when_it_is_opened_again()
-> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    nurse.sync().await?;
    let timeline = therapist.room(&room)?.timeline().await?;
    let mut wanted = Vec::new();
    for night in ["Monday", "Tuesday", "Wednesday"] {
        let app = opens_the_app(&therapist).await?;
        shows(&app, &[&room]).await?;
        // With a key of its own, so that reading it takes both of the app's connections.
        nurse.room(&room)?.discard_room_key().await?;
        wanted.push(format!("{night}: awake at four."));
        nurse.says(&room, &wanted[wanted.len() - 1]).await?;
        reads(&timeline, &wanted).await?;
        closes(app).await?;
        wanted.push(format!("{night}: awake at five."));
        nurse.says(&room, &wanted[wanted.len() - 1]).await?;
    }
    let app = opens_the_app(&therapist).await?;
    reads(&timeline, &wanted).await?;
    let state = app.state().get();
    ensure!(
        matches!(state, State::Running),
        "the app stopped: {state:?}"
    );
    Ok(())
}
