//! Devices: lost ones, new ones, and those that were off for a while.

use anyhow::{Context, Result, ensure};
use matrix_sdk::encryption::VerificationState;
use respite::{
    accounts,
    verification::{self, Emoji},
};
use respite_tests::{
    person::{Person, pair},
    practice::Practice,
};
use ruma::RoomId;
use tokio::sync::mpsc;

/// Everything said in the room, oldest first.
async fn said(person: &Person, room: &RoomId) -> Result<Vec<String>> {
    Ok(person
        .reads(room)
        .await?
        .iter()
        .filter(|seen| !seen.body().is_empty())
        .map(|seen| seen.body().to_owned())
        .collect())
}

/// Sets up recovery. Returns the recovery key.
async fn recovery_key(person: &Person) -> Result<String> {
    accounts::bootstrap_cross_signing(&person.client, || Ok(person.password.clone().into()))
        .await?;
    Ok(person
        .client
        .encryption()
        .recovery()
        .enable()
        .wait_for_backups_to_upload()
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_phone_loses_nothing() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    nurse
        .says(&room, "before the recovery key was made")
        .await?;
    therapist.says(&room, "an answer to it").await?;
    nurse.hears(&room, "an answer to it").await?;
    let key = recovery_key(&nurse).await?;
    therapist
        .hears(&room, "before the recovery key was made")
        .await?;
    therapist
        .says(&room, "after the recovery key was made")
        .await?;
    nurse
        .hears(&room, "after the recovery key was made")
        .await?;
    nurse
        .client
        .encryption()
        .backups()
        .wait_for_steady_state()
        .await?;
    let name = nurse.id().localpart().to_owned();
    nurse.client.matrix_auth().logout().await?;

    let phone = Person::log_in(practice.url(), &name, &nurse.password).await?;
    phone.enters(&room).await?;
    ensure!(
        said(&phone, &room).await?.is_empty(),
        "a device without keys reads the past"
    );
    let wrong = phone
        .client
        .encryption()
        .recovery()
        .recover("EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d")
        .await;
    ensure!(wrong.is_err(), "a wrong recovery key is taken");
    phone.client.encryption().recovery().recover(&key).await?;
    phone
        .client
        .encryption()
        .backups()
        .download_room_keys_for_room(&room)
        .await?;
    let past = [
        "before the recovery key was made",
        "an answer to it",
        "after the recovery key was made",
    ];
    ensure!(
        said(&phone, &room).await? == past,
        "{:?}",
        said(&phone, &room).await?
    );
    ensure!(phone.client.encryption().verification_state().get() == VerificationState::Verified);

    therapist.says(&room, "you are back").await?;
    phone.hears(&room, "you are back").await?;
    phone.says(&room, "with a new phone").await?;
    therapist.hears(&room, "with a new phone").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_off_for_a_hundred_messages_reads_them_all_in_order() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    let tablet = Person::log_in(practice.url(), nurse.id().localpart(), &nurse.password).await?;
    tablet.enters(&room).await?;
    // Both learn of the new device, as clients do that are on.
    therapist.sync().await?;
    nurse.sync().await?;
    let mut written = Vec::new();
    for number in 0..50 {
        for (who, name) in [(&therapist, "therapist"), (&nurse, "nurse")] {
            let text = format!("{number} from the {name}");
            who.says(&room, &text).await?;
            written.push(text);
        }
    }
    let last = written.last().context("nothing was written")?;
    tablet.hears(&room, last).await?;
    ensure!(
        said(&tablet, &room).await? == written,
        "{:?}",
        said(&tablet, &room).await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_person_vouch_for_each_other_by_emoji() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, phone, room) = pair(&practice).await?;
    therapist.says(&room, "before the tablet").await?;
    phone.hears(&room, "before the tablet").await?;
    recovery_key(&phone).await?;
    let tablet = Person::log_in(practice.url(), phone.id().localpart(), &phone.password).await?;
    phone.sync().await?;
    ensure!(tablet.client.encryption().verification_state().get() != VerificationState::Verified);

    let (show, mut shown) = mpsc::unbounded_channel::<Vec<Emoji>>();
    let also = show.clone();
    let compare = async |emoji: &[Emoji], shows: mpsc::UnboundedSender<Vec<Emoji>>| {
        shows.send(emoji.to_vec())?;
        Ok(emoji.len() == 7)
    };
    let accepts = verification::accept(&phone.client, async |emoji| compare(emoji, show).await);
    let asks = verification::start(&tablet.client, async |emoji| compare(emoji, also).await);
    tokio::try_join!(accepts, asks)?;
    ensure!(
        shown.recv().await.context("no emoji")? == shown.recv().await.context("no emoji")?,
        "the emoji differ"
    );

    ensure!(
        tablet.client.encryption().verification_state().get() == VerificationState::Verified,
        "the tablet is not verified"
    );
    tablet
        .client
        .encryption()
        .backups()
        .download_room_keys_for_room(&room)
        .await?;
    tablet.hears(&room, "before the tablet").await?;
    Ok(())
}
