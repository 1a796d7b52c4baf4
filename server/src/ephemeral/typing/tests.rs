use ruma::owned_room_id;

use super::*;
use crate::fixture::{self, user};

#[tokio::test]
async fn who_types_for_ever_in_many_rooms_fills_no_list() {
    let server = fixture::Server::new().await;
    let members = BTreeSet::from([user("nurse"), user("therapist")]);
    let room = owned_room_id!("!night:localhost");
    for _ in 0..MAX_CHANGES + 20 {
        begin(&server.app, &room, &user("nurse"), &members, MAX_TYPING)
            .await
            .unwrap();
        server
            .app
            .store
            .transact(async |mut tx| {
                tx.delete(&TYPISTS, (&room, &user("nurse")));
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    }
    let store = &server.app.store;
    while trim(store, &user("therapist"), 100).await.unwrap() > 0 {}
    let kept = store
        .after(&CHANGES, user("therapist"), 0, 10_000)
        .await
        .unwrap();
    assert!(kept.len() as u64 <= MAX_CHANGES, "{}", kept.len());
    let changed = changes(store, &user("therapist"), 1).await.unwrap();
    assert!(changed.forgotten && changed.rooms.contains(&room));
    let changed = changes(store, &user("therapist"), changed.last - 1)
        .await
        .unwrap();
    assert!(!changed.forgotten && changed.rooms.len() == 1);
}

#[tokio::test]
async fn typing_ends_when_its_time_is_over_and_not_before_whoever_looks() {
    let server = fixture::Server::new().await;
    let (app, room) = (&server.app, owned_room_id!("!night:localhost"));
    let members = BTreeSet::from([user("nurse")]);
    let second = Duration::from_secs(1);
    begin(app, &room, &user("nurse"), &members, second)
        .await
        .unwrap();
    server.wait(999);
    begin(app, &room, &user("nurse"), &members, second)
        .await
        .unwrap();
    server.wait(999);
    end_overdue(app).await.unwrap();
    assert_eq!(in_room(&app.store, &room).await.unwrap(), [user("nurse")]);
    server.wait(1);
    for looked in futures_util::future::join_all((0..3).map(|_| end_overdue(app))).await {
        looked.unwrap();
    }
    assert!(in_room(&app.store, &room).await.unwrap().is_empty());
    assert!(
        app.store
            .scan(&ENDS, (), Page::first(1))
            .await
            .unwrap()
            .is_empty()
    );
}
