use super::*;

fn hasher(at_once: u32) -> Hasher {
    Hasher::new(&config::Passwords {
        memory_kib: 8,
        passes: 1,
        at_once,
    })
}

fn password() -> Secret {
    Secret::from("sleeps by day".to_owned())
}

#[tokio::test]
async fn a_flood_of_strangers_is_sent_away_and_others_are_not_kept_waiting() {
    let hasher = hasher(2);
    // One stranger is being served, as many as may wait do so.
    let _served = hasher.strangers.turn().await.unwrap();
    let _waiting: Vec<_> = (0..MAX_QUEUED_STRANGERS)
        .map(|_| queued(&hasher.strangers.queue).unwrap())
        .collect();
    let refused = hasher.matches(Asker::Stranger, password(), None).await;
    let Err(Error::Matrix { status, kind, .. }) = refused else {
        panic!("one more was let in");
    };
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(matches!(*kind, ErrorKind::LimitExceeded(_)));
    let phone = Asker::Device("PHONE".into());
    assert!(!hasher.matches(phone, password(), None).await.unwrap());
    hasher.hash(&Random::system(), password()).await.unwrap();
}

#[tokio::test]
async fn strangers_have_their_passwords_checked_too() {
    let hasher = hasher(1);
    let hash = hasher.hash(&Random::system(), password()).await.unwrap();
    let right = hasher.matches(Asker::Stranger, password(), Some(hash));
    assert!(right.await.unwrap());
}
