use super::*;
use crate::{
    devices,
    fixture::{Server, device, user},
    inbox::{Entry, deliver},
};

/// The nurse's phone and tablet, and an inbox with so many entries.
async fn nurse(entries: u64) -> (Server, Device, Device) {
    let server = Server::new().await;
    let (phone, tablet) = (device("nurse", "PHONE"), device("nurse", "TABLET"));
    for device in [&phone, &tablet] {
        server.log_in(device).await;
    }
    hear(&server, entries).await;
    (server, phone, tablet)
}

async fn hear(server: &Server, entries: u64) {
    server
        .app
        .store
        .transact(|mut tx| async move {
            for _ in 0..entries {
                deliver(&mut tx, &user("nurse"), Entry::Devices(user("therapist")))?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

async fn passes(server: &Server, device: &Device, inbox: u64) {
    note_passed(&server.app, device, inbox).await.unwrap();
}

/// Trims to the end, and tells which entries are left.
async fn left(server: &Server) -> Vec<u64> {
    let app = &server.app;
    while trim(&app.store, &app.clock, &user("nurse"), 100)
        .await
        .unwrap()
        > 0
    {}
    let left = app.store.after(&INBOX, user("nurse"), 0, 100_000).await;
    left.unwrap()
        .into_iter()
        .map(|(number, _)| number)
        .collect()
}

#[tokio::test]
async fn what_every_device_has_goes_away_and_what_one_lacks_stays() {
    let (server, phone, tablet) = nurse(5_000).await;
    passes(&server, &phone, 3_000).await;
    passes(&server, &tablet, 1_500).await;
    assert_eq!(left(&server).await, Vec::from_iter(1_501..=5_000));
    passes(&server, &tablet, 2_500).await;
    assert_eq!(left(&server).await, Vec::from_iter(2_501..=5_000));
    hear(&server, 1).await;
    assert_eq!(left(&server).await, Vec::from_iter(2_501..=5_001));
}

#[tokio::test]
async fn the_newest_stay_for_a_client_that_has_lost_its_place() {
    let (server, phone, tablet) = nurse(1_200).await;
    passes(&server, &phone, 1_200).await;
    passes(&server, &tablet, 1_200).await;
    assert_eq!(left(&server).await, Vec::from_iter(201..=1_200));
}

#[tokio::test]
async fn a_tablet_in_a_drawer_does_not_keep_everything_for_ever() {
    let (server, phone, tablet) = nurse(3_000).await;
    let day = u64::try_from(DAY.as_millis()).unwrap();
    passes(&server, &tablet, 10).await;
    server.wait(90 * day);
    passes(&server, &phone, 2_000).await;
    assert_eq!(left(&server).await, Vec::from_iter(11..=3_000));
    server.wait(day);
    assert_eq!(left(&server).await, Vec::from_iter(2_001..=3_000));
}

#[tokio::test]
async fn a_device_that_is_logged_out_is_not_waited_for() {
    let (server, phone, tablet) = nurse(3_000).await;
    passes(&server, &phone, 2_000).await;
    passes(&server, &tablet, 10).await;
    let devices = [tablet.device.clone()];
    devices::delete_all(&server.app, &tablet.user, &devices)
        .await
        .unwrap();
    passes(&server, &tablet, 20).await;
    let noted = server
        .app
        .store
        .get(&PASSED, (&tablet.user, &tablet.device));
    assert_eq!(noted.await.unwrap(), None);
    assert_eq!(left(&server).await.first(), Some(&2_001));
}

#[tokio::test]
async fn two_servers_may_trim_at_the_same_time() {
    let (server, phone, tablet) = nurse(4_000).await;
    passes(&server, &phone, 2_700).await;
    passes(&server, &tablet, 2_600).await;
    let (one, other) = futures_util::future::join(left(&server), left(&server)).await;
    assert_eq!(one, Vec::from_iter(2_601..=4_000));
    assert_eq!(one, other);
}

#[tokio::test]
async fn how_far_a_device_is_is_written_down_now_and_then_only() {
    let (server, phone, _) = nurse(1_000).await;
    let noted = async || {
        let noted = server.app.store.get(&PASSED, (&phone.user, &phone.device));
        noted.await.unwrap().map(|passed| passed.inbox)
    };
    passes(&server, &phone, 100).await;
    passes(&server, &phone, 299).await;
    assert_eq!(noted().await, Some(100));
    passes(&server, &phone, 300).await;
    assert_eq!(noted().await, Some(300));
    passes(&server, &phone, 5).await;
    assert_eq!(noted().await, Some(300));
    server.wait(u64::try_from(DAY.as_millis()).unwrap());
    passes(&server, &phone, 301).await;
    assert_eq!(noted().await, Some(301));
}
