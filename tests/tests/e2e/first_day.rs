//! The first day of a practice.

use anyhow::Result;
use respite_protocol::Role;
use respite_tests::{person::Person, practice::Practice};

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_finds_herself_in_a_room_with_her_therapist() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = Person::register(
        practice.url(),
        "therapist",
        &practice.code(Role::Therapist).await?,
    )
    .await?;
    let code = therapist.invites_a_client().await?;
    let nurse = Person::register(practice.url(), "nurse", &code).await?;

    let room = nurse.room_with(therapist.id()).await?;
    therapist.enters(&room).await?;
    nurse
        .says(&room, "Another night on the ward, and I lie awake again.")
        .await?;
    therapist
        .hears(&room, "Another night on the ward, and I lie awake again.")
        .await?;
    therapist
        .says(
            &room,
            "I read this in the morning. Tell me about the night.",
        )
        .await?;
    nurse
        .hears(
            &room,
            "I read this in the morning. Tell me about the night.",
        )
        .await?;
    Ok(())
}
