//! A phone that waits for what is new.

use ruma::api::{client::sync::sync_events::v3::Response, error::ErrorKind};
use serde_json::json;

use super::*;
use crate::{
    account_data,
    error::Error,
    fixture::{device, user},
    sync::practice::{Act, Practice},
    to_device::ToDevice,
};

const LONG: Duration = Duration::from_secs(50);

fn request(since: Option<&str>, timeout: Duration) -> Request {
    let mut request = Request::new();
    request.since = since.map(ToOwned::to_owned);
    request.timeout = Some(timeout);
    request
}

fn phone() -> Device {
    device("nurse", "PHONE")
}

async fn sync(app: App, me: Device, request: Request) -> Result<Response> {
    let Answered(response) = super::sync(app, me, Asked(request)).await?;
    Ok(response)
}

async fn now(practice: &Practice, since: Option<&str>) -> Response {
    sync(
        practice.server.app.clone(),
        phone(),
        request(since, Duration::ZERO),
    )
    .await
    .unwrap()
}

/// What a waiting phone is told when `act` happens.
async fn woken(practice: &Practice, since: &str, act: impl Future<Output = ()>) -> Response {
    let wait = sync(
        practice.server.app.clone(),
        phone(),
        request(Some(since), LONG),
    );
    let act = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        act.await;
    };
    let (told, ()) = tokio::time::timeout(LONG / 2, futures_util::future::join(wait, act))
        .await
        .expect("nobody woke the phone");
    told.unwrap()
}

async fn knock_on(practice: &Practice, device: &Device, text: &str) {
    let message = ToDevice {
        kind: "m.room.encrypted".to_owned(),
        sender: user("therapist"),
        content: json!({ "text": text }).to_string(),
    };
    let (message, to) = (&message, (&*device.user, &*device.device));
    practice
        .server
        .app
        .store
        .transact(async |mut tx| {
            tx.append(&TO_DEVICE, to, message)?;
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_wakes_the_phone() {
    let practice = Practice::open().await;
    let begin = now(&practice, None).await;
    let told = woken(&practice, &begin.next_batch, practice.act(0, Act::Answer)).await;
    let room = &told.rooms.join[&practice.rooms[0]];
    assert_eq!(room.timeline.events.len(), 1);
    let after = now(&practice, Some(&told.next_batch)).await;
    assert!(after.rooms.is_empty());
    assert_eq!(after.next_batch, told.next_batch);
}

#[tokio::test]
async fn a_message_in_another_room_does_not() {
    let practice = Practice::open().await;
    let begin = now(&practice, None).await;
    practice.act(1, Act::Answer).await;
    let wait = request(Some(&begin.next_batch), Duration::from_millis(50));
    let told = sync(practice.server.app.clone(), phone(), wait)
        .await
        .unwrap();
    assert!(told.rooms.is_empty());
    assert_eq!(told.next_batch, begin.next_batch);
}

#[tokio::test]
async fn what_the_filter_hides_does_not_wake_the_phone_and_is_not_told_later() {
    let practice = Practice::open().await;
    let begin = now(&practice, None).await;
    practice.act(0, Act::Answer).await;
    let mut wait = request(Some(&begin.next_batch), Duration::from_millis(50));
    let filter = json!({ "room": { "not_rooms": [practice.rooms[0]] } });
    wait.filter = Some(Filter::FilterDefinition(
        serde_json::from_value(filter).unwrap(),
    ));
    let told = sync(practice.server.app.clone(), phone(), wait)
        .await
        .unwrap();
    assert!(told.rooms.is_empty());
    assert_ne!(told.next_batch, begin.next_batch);
}

#[tokio::test]
async fn keys_wake_the_device_they_are_for_and_are_gone_when_they_have_arrived() {
    let practice = Practice::open().await;
    let begin = now(&practice, None).await;
    knock_on(&practice, &device("nurse", "TABLET"), "not for the phone").await;
    let told = woken(
        &practice,
        &begin.next_batch,
        knock_on(&practice, &phone(), "one"),
    )
    .await;
    assert_eq!(told.to_device.events.len(), 1);
    let again = now(&practice, Some(&begin.next_batch)).await;
    assert_eq!(
        again.to_device.events.len(),
        1,
        "the answer may have been lost on its way"
    );
    now(&practice, Some(&told.next_batch)).await;
    let again = now(&practice, Some(&begin.next_batch)).await;
    assert!(again.to_device.events.is_empty());
}

#[tokio::test]
async fn typing_and_settings_wake_the_phone() {
    let practice = Practice::open().await;
    let app = &practice.server.app;
    let begin = now(&practice, None).await;
    let told = woken(&practice, &begin.next_batch, async {
        let members = [user("therapist"), user("nurse")].into();
        let room = &practice.rooms[0];
        typing::begin(app, room, &user("therapist"), &members, LONG)
            .await
            .unwrap();
    })
    .await;
    assert_eq!(
        told.rooms.join[&practice.rooms[0]].ephemeral.events.len(),
        1
    );
    let told = woken(&practice, &told.next_batch, async {
        app.store
            .transact(async |mut tx| {
                account_data::set_in(&mut tx, &user("nurse"), None, "m.direct", "{}").await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    })
    .await;
    assert_eq!(told.account_data.events.len(), 1);
}

#[tokio::test]
async fn a_server_that_stops_answers_who_waits() {
    let practice = Practice::open().await;
    let begin = now(&practice, None).await;
    let shutdown = practice.server.app.shutdown.clone();
    let told = woken(
        &practice,
        &begin.next_batch,
        async move { shutdown.cancel() },
    )
    .await;
    assert_eq!(told.next_batch, begin.next_batch);
}

#[tokio::test]
async fn garbage_and_other_peoples_tokens_are_refused() {
    let practice = Practice::open().await;
    let tablet = sync(
        practice.server.app.clone(),
        device("nurse", "TABLET"),
        request(None, LONG),
    );
    let tablet = tablet.await.unwrap().next_batch;
    for token in [
        "",
        "s1_0_0",
        "t5",
        "s_",
        &tablet,
        "s18446744073709551616_0_0_00",
    ] {
        let refused = sync(
            practice.server.app.clone(),
            phone(),
            request(Some(token), LONG),
        )
        .await;
        let Err(Error::Matrix { kind, .. }) = refused else {
            panic!("{token} was taken")
        };
        assert_eq!(*kind, ErrorKind::InvalidParam);
    }
}

#[tokio::test]
async fn a_phone_that_is_logged_out_while_it_waits_hears_nothing_more() {
    let practice = Practice::open().await;
    let app = &practice.server.app;
    let begin = now(&practice, None).await;
    let request = request(Some(&begin.next_batch), LONG);
    let log_out = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        app.store
            .transact(async |mut tx| {
                tx.delete(&crate::auth::ACCESS_TOKENS, phone().token);
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
        practice.act(0, Act::Answer).await;
    };
    let (told, ()) = futures_util::future::join(sync(app.clone(), phone(), request), log_out).await;
    let Err(Error::Matrix { kind, .. }) = told else {
        panic!("the phone was told")
    };
    assert!(matches!(*kind, ErrorKind::UnknownToken(_)));
}

mod away {
    //! Devices that come back when the inbox was trimmed.

    use super::*;
    use crate::{
        inbox::{self, Entry, trim},
        rooms::position,
    };

    const DAY: u64 = 24 * 60 * 60 * 1000;

    async fn hears_of_much(practice: &Practice, entries: u64) {
        let store = &practice.server.app.store;
        store
            .transact(async |mut tx| {
                for _ in 0..entries {
                    let entry = Entry::Devices(user("therapist"));
                    inbox::deliver(&mut tx, &user("nurse"), entry)?;
                }
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    }

    async fn trimmed(practice: &Practice) -> usize {
        let app = &practice.server.app;
        let mut removed = 0;
        loop {
            match trim::trim(&app.store, &app.clock, &user("nurse"), 500).await {
                Ok(0) => return removed,
                more => removed += more.unwrap(),
            }
        }
    }

    async fn inbox_at(practice: &Practice, token: &str) -> u64 {
        let tokens = Tokens::of(&practice.server.app, &phone());
        tokens.read(token).unwrap().inbox
    }

    #[tokio::test]
    async fn a_phone_that_was_away_for_months_is_told_everything_and_misses_nothing() {
        let practice = Practice::open().await;
        practice.server.log_in(&phone()).await;
        let begin = now(&practice, None).await.next_batch;
        practice.act(0, Act::Answer).await;
        knock_on(&practice, &phone(), "a key").await;
        hears_of_much(&practice, 3_000).await;
        let has = inbox_at(&practice, &begin).await;
        assert_eq!(
            trimmed(&practice).await as u64,
            has,
            "the phone lacks the rest"
        );
        practice.server.wait(91 * DAY);
        assert!(trimmed(&practice).await > 1_900);

        let told = now(&practice, Some(&begin)).await;
        let room = &told.rooms.join[&practice.rooms[0]];
        let head = practice
            .server
            .app
            .store
            .head(&crate::rooms::event::TIMELINE, &*practice.rooms[0]);
        assert_eq!(
            room.timeline.events.len() as u64,
            head.await.unwrap().min(10)
        );
        assert!(told.device_lists.is_empty(), "it is told everything anew");
        assert_eq!(
            told.to_device.events.len(),
            1,
            "what waited for it is there"
        );
        practice.act(0, Act::Answer).await;
        let after = now(&practice, Some(&told.next_batch)).await;
        assert_eq!(
            after.rooms.join[&practice.rooms[0]].timeline.events.len(),
            1
        );
    }

    #[tokio::test]
    async fn a_phone_that_comes_back_hears_which_rooms_were_left_meanwhile() {
        let practice = Practice::open().await;
        practice.server.log_in(&phone()).await;
        let begin = now(&practice, None).await;
        assert!(begin.rooms.join.contains_key(&practice.rooms[0]));
        practice.act(0, Act::Leave).await;
        hears_of_much(&practice, 3_000).await;
        practice.server.wait(91 * DAY);
        trimmed(&practice).await;
        let told = now(&practice, Some(&begin.next_batch)).await;
        assert!(told.rooms.leave.contains_key(&practice.rooms[0]));
        assert!(now(&practice, None).await.rooms.leave.is_empty());
    }

    #[tokio::test]
    async fn a_token_at_the_edge_goes_on_and_one_before_it_begins_anew() {
        let practice = Practice::open().await;
        practice.server.log_in(&phone()).await;
        hears_of_much(&practice, 500).await;
        let before = now(&practice, None).await.next_batch;
        practice.act(0, Act::Answer).await;
        let edge = now(&practice, Some(&before)).await.next_batch;
        hears_of_much(&practice, 1_500).await;
        // The phone comes back with this token, so that it is known to be there.
        practice.server.wait(DAY);
        now(&practice, Some(&edge)).await;
        trimmed(&practice).await;
        let oldest = practice.server.app.store.after(&INBOX, user("nurse"), 0, 1);
        let oldest = oldest.await.unwrap()[0].0;
        assert_eq!(oldest, inbox_at(&practice, &edge).await + 1);

        let goes_on = now(&practice, Some(&edge)).await;
        assert!(goes_on.rooms.is_empty() && !goes_on.device_lists.changed.is_empty());
        let anew = now(&practice, Some(&before)).await;
        assert!(
            !anew.rooms.join[&practice.rooms[0]]
                .timeline
                .events
                .is_empty()
        );
        assert!(anew.device_lists.changed.is_empty());
    }

    #[tokio::test]
    async fn a_place_in_the_history_is_found_from_an_old_token() {
        let practice = Practice::open().await;
        practice.server.log_in(&phone()).await;
        let (app, room) = (&practice.server.app, &practice.rooms[0]);
        let quiet = now(&practice, None).await.next_batch;
        let place = position::parse(app, &phone(), room, &quiet).await.unwrap();
        hears_of_much(&practice, 3_000).await;
        practice.act(0, Act::Answer).await;
        practice.server.wait(91 * DAY);
        trimmed(&practice).await;
        let found = position::parse(app, &phone(), room, &quiet).await.unwrap();
        assert_eq!(found, place);
    }
}
