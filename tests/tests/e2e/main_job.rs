//! The main job: a therapist and a night nurse, end to end, through ciphertext.

use anyhow::{Context, Result, ensure};
use respite_tests::{
    held::Held,
    practice::Practice,
    story::{self, Scene},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_therapist_and_a_night_nurse_work_together_and_the_server_holds_ciphertext() -> Result<()>
{
    let practice = Practice::open().await?;
    let mut scenes: Vec<Scene> = Vec::new();
    let ending = story::play(&practice, &mut |scene| scenes.push(scene)).await?;

    ensure!(scenes.len() == 10, "the story has {} scenes", scenes.len());
    let words = [
        "tired",
        "lay down",
        "sleep",
        "pieces",
        "diary",
        "lawn mower",
    ];
    for scene in &scenes {
        ensure!(!scene.held.is_empty(), "nothing is held of: {}", scene.what);
        for held in &scene.held {
            let shown = format!("{held:?}").to_lowercase();
            ensure!(
                !words.iter().any(|word| shown.contains(word)),
                "{}: the server holds {shown}",
                scene.what
            );
            is_ciphertext(held).with_context(|| scene.what.clone())?;
        }
    }
    for word in words.iter().filter(|word| **word != "lawn mower") {
        ensure!(
            scenes
                .iter()
                .any(|scene| scene.sees.to_lowercase().contains(word)),
            "nobody has seen “{word}”"
        );
    }
    ensure!(ending.returned != ending.worksheet && ending.returned.starts_with(b"%PDF-"));
    Ok(())
}

fn is_ciphertext(held: &Held) -> Result<()> {
    match held {
        Held::Hash(_) => {}
        Held::Event { kind, content } if kind == "m.room.encryption" => {
            ensure!(content.contains("m.megolm.v1.aes-sha2"), "{content}");
        }
        Held::Event { content, kind } => {
            ensure!(
                kind == "m.room.encrypted" && content.contains("\"ciphertext\""),
                "{kind}: {content}"
            );
        }
        Held::Waiting { content, .. } => ensure!(content.contains("\"ciphertext\""), "{content}"),
        Held::Blob { bytes, size } => {
            ensure!(
                bytes.len() as u64 == *size,
                "{} of {size} bytes",
                bytes.len()
            );
            ensure!(!bytes.starts_with(b"%PDF"), "the file is kept in the clear");
        }
    }
    Ok(())
}
