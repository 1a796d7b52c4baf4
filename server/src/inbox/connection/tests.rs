//! What a phone was told, and what is certain of it.

use ruma::{OwnedDeviceId, OwnedUserId, owned_device_id, owned_user_id};

use super::*;
use crate::fixture::Server;

const HOME: Name = [1; 16];
const NIGHT: Name = [2; 16];

struct Phone {
    server: Server,
    user: OwnedUserId,
    device: OwnedDeviceId,
}

impl Phone {
    async fn new() -> Self {
        Self {
            server: Server::new().await,
            user: owned_user_id!("@nurse:localhost"),
            device: owned_device_id!("PHONE"),
        }
    }

    fn of(&self, name: Name) -> Of<'_> {
        Of {
            user: &self.user,
            device: &self.device,
            name,
        }
    }

    fn store(&self) -> &Store {
        &self.server.app.store
    }

    /// Tells of a room after an answer; the number of the new one.
    async fn tells(&self, name: Name, after: u64, up_to: u64) -> Option<u64> {
        let clock = &self.server.app.clock;
        let mut ledger = Ledger::after(self.store(), clock, self.of(name), after)
            .await
            .ok()?;
        let told = Told {
            up_to,
            live: true,
            ..Told::default()
        };
        ledger.add(NIGHT, told, None);
        ledger.save().await.ok()
    }

    /// Up to where the phone was told after an answer; `None` if that is not known.
    async fn knows(&self, answer: u64) -> Option<u64> {
        let clock = &self.server.app.clock;
        let ledger = Ledger::after(self.store(), clock, self.of(HOME), answer);
        let told = ledger.await.ok()?.told(&[NIGHT]).await.unwrap();
        Some(told[0].as_ref().map_or(0, |told| told.up_to))
    }
}

#[tokio::test]
async fn until_the_phone_comes_back_either_answer_may_be_what_it_has() {
    let phone = Phone::new().await;
    let first = phone.tells(HOME, 0, 1).await.unwrap();
    let lost = phone.tells(HOME, first, 2).await.unwrap();
    let again = phone.tells(HOME, first, 3).await.unwrap();
    assert_eq!(phone.knows(first).await, Some(1));
    assert_eq!(phone.knows(lost).await, Some(2));
    assert_eq!(phone.knows(again).await, Some(3));
    let next = phone.tells(HOME, again, 4).await.unwrap();
    assert_eq!(phone.knows(lost).await, None);
    assert_eq!(phone.knows(first).await, None);
    assert_eq!(phone.knows(again).await, Some(3));
    assert_eq!(phone.knows(next).await, Some(4));
}

#[tokio::test]
async fn beginning_anew_is_certain_once_the_phone_goes_on_from_it() {
    let phone = Phone::new().await;
    let first = phone.tells(HOME, 0, 1).await.unwrap();
    let second = phone.tells(HOME, first, 2).await.unwrap();
    let anew = phone.tells(HOME, 0, 7).await.unwrap();
    assert_eq!(phone.knows(second).await, Some(2));
    assert_eq!(phone.knows(anew).await, Some(7));
    phone.tells(HOME, anew, 8).await.unwrap();
    assert_eq!(phone.knows(second).await, None);
    let kept = phone
        .store()
        .scan(&TOLD, (), Page::first(10))
        .await
        .unwrap();
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn few_uncertain_answers_and_few_connections_are_kept() {
    let phone = Phone::new().await;
    let first = phone.tells(HOME, 0, 1).await.unwrap();
    for _ in 0..MAX_PENDING * 2 {
        phone.tells(HOME, first, 2).await.unwrap();
    }
    let pending = phone.store().scan(&PENDING, (), Page::first(100)).await;
    assert_eq!(pending.unwrap().len(), MAX_PENDING);
    phone.server.wait(1_000);
    for number in 0..u8::try_from(MAX_CONNECTIONS).unwrap() {
        phone.tells([100 + number; 16], 0, 1).await.unwrap();
    }
    assert_eq!(phone.knows(first).await, None);
}

#[tokio::test]
async fn nothing_is_left_of_a_device_that_is_gone_or_was_not_used_for_long() {
    let phone = Phone::new().await;
    let app = &phone.server.app;
    for gone in [true, false] {
        let answer = phone.tells(HOME, 0, 1).await.unwrap();
        let answer = phone.tells(HOME, answer, 2).await.unwrap();
        if gone {
            let (user, device) = (&*phone.user, &*phone.device);
            app.store
                .transact(|mut tx| async move {
                    forget_device_in(&mut tx, user, device).await?;
                    Ok::<_, StoreError>((tx, ()))
                })
                .await
                .unwrap();
            assert_eq!(phone.knows(answer).await, None);
        } else {
            let trimmed = trim(&app.store, &app.clock, &phone.user, 10).await;
            assert_eq!(trimmed.unwrap(), 0);
            phone.server.wait((UNUSED_DAYS + 1) * DAY_MS);
        }
        while trim(&app.store, &app.clock, &phone.user, 10).await.unwrap() > 0 {}
        assert!(
            app.store
                .scan(&TOLD, (), Page::first(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            app.store
                .scan(&PENDING, (), Page::first(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            app.store
                .scan(&CONNECTIONS, (), Page::first(1))
                .await
                .unwrap()
                .is_empty()
        );
    }
}
