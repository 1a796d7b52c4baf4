//! What may go wrong with a backup, and what becomes of it.

use ruma::room_id;

use super::*;
use crate::{
    hex,
    rooms::deletion::{DELETIONS, Deletion},
};

#[tokio::test]
async fn another_key_opens_nothing_and_new_recipients_get_all_blobs() {
    let here = Practice::new().await;
    here.upload(2_000).await;
    here.backup().await;
    let other = NewKey::generate();
    fs::write(&here.key, other.to_string()).unwrap();
    let said = sentence(here.restore(None, &Target::new()).await);
    assert!(said.contains("encrypted to other keys"), "{said}");
    let order = Order {
        recipients: vec![here.public.clone(), other.public()],
        ..here.order()
    };
    here.server.wait(1_000);
    let made = make(&here.server.app, &order, &mut ()).await.unwrap();
    assert_eq!(made.copied, 1);
    let target = Target::new();
    here.restore(None, &target).await.unwrap();
    here.is_same_in(&target).await;
}

#[tokio::test]
async fn a_snapshot_that_was_cut_or_changed_is_refused_before_anything_is_written() {
    let here = Practice::new().await;
    let made = here.backup().await;
    let file = here.snapshot_file(&made);
    let whole = fs::read(&file).unwrap();
    let list = file.with_extension("sha256");
    let real = fs::read_to_string(&list).unwrap();
    for length in [0, 100, 70_000, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        for honest in [true, false] {
            // Also when the plain checksum was made to match: what is encrypted cannot be changed without its key.
            let sum = shelf_line(&file).await;
            fs::write(&list, if honest { &real } else { &sum }).unwrap();
            let target = Target::new();
            let said = sentence(here.restore(None, &target).await);
            assert!(said.contains("damaged"), "{length}: {said}");
            assert!(filling::is_empty(&**target.store.engine()).await.unwrap());
        }
    }
    for at in [3, 150, 30_000, usize::MAX] {
        fs::write(&file, &whole).unwrap();
        flip(&file, at);
        fs::write(&list, shelf_line(&file).await).unwrap();
        let target = Target::new();
        assert!(here.restore(None, &target).await.is_err(), "{at}");
        assert!(filling::is_empty(&**target.store.engine()).await.unwrap());
    }
}

/// The list of a backup without blobs, made to match.
async fn shelf_line(file: &Path) -> String {
    let hash = seal::hash_file(file.to_owned()).await.unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    format!("{}  snapshots/{name}\n", hex::encode(&hash))
}

#[tokio::test]
async fn a_blob_that_was_changed_or_lost_is_found() {
    let here = Practice::new().await;
    here.upload(70_000).await;
    here.backup().await;
    let file = here.blob_files().remove(0);
    let whole = fs::read(&file).unwrap();
    let shelf = Shelf::at(&here.shelf());
    let identities = Identities::read(&here.key).unwrap();
    let checked = check(&shelf, None, Some(&identities), &mut ())
        .await
        .unwrap();
    assert_eq!((checked.backups, checked.files), (1, 2));
    assert!(checked.entries.unwrap() > 2 * PAGE as u64);
    for harm in [
        (|file: &Path| flip(file, 66_000)) as fn(&Path),
        |file| fs::write(file, b"age").unwrap(),
        |file| fs::remove_file(file).unwrap(),
    ] {
        harm(&file);
        let said = sentence(check(&shelf, None, None, &mut ()).await);
        assert!(said.contains("is damaged"), "{said}");
        let target = Target::new();
        let said = sentence(here.restore(None, &target).await);
        assert!(said.contains("is damaged"), "{said}");
        assert!(
            filling::is_unfinished(&**target.store.engine())
                .await
                .unwrap()
        );
        fs::write(&file, &whole).unwrap();
        // With the file put back, the same command goes on.
        here.restore(None, &target).await.unwrap();
        here.is_same_in(&target).await;
    }
}

#[tokio::test]
async fn a_blob_that_was_cut_is_copied_again_and_the_earlier_list_stays_true() {
    let here = Practice::new().await;
    here.upload(70_000).await;
    let first = here.backup().await;
    let file = here.blob_files().remove(0);
    fs::write(&file, b"age").unwrap();
    let second = here.backup().await;
    assert_eq!((second.copied, here.blob_files().len()), (1, 2));
    here.restore(Some(&second.name), &Target::new())
        .await
        .unwrap();
    assert!(
        here.restore(Some(&first.name), &Target::new())
            .await
            .is_err()
    );
}

impl Practice {
    /// Makes an upload a document of a room.
    async fn bind(&self, id: &str) {
        self.server
            .app
            .store
            .transact(|mut tx| async move {
                let mut media = tx.get(&MEDIA, id).await?.unwrap();
                media.room = Some(room_id!("!ward:x").to_owned());
                tx.put(&MEDIA, id, &media)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
    }
}

/// What goes away before a blob's bytes.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Nothing,
    Record,
    /// The record is there still, but that the room is being deleted is written down.
    Room,
}

/// Deletes a blob once the entries are written.
struct Deleting {
    app: crate::state::App,
    id: String,
    first: First,
}

impl Progress for Deleting {
    fn begin(&mut self, what: &str, _: Option<u64>) {
        if what == "writing blobs" {
            let delete = async {
                let id = self.id.as_str();
                let first = self.first;
                self.app
                    .store
                    .transact(|mut tx| async move {
                        match first {
                            First::Nothing => {}
                            First::Record => tx.delete(&MEDIA, id),
                            First::Room => {
                                let deletion = Deletion {
                                    since: 0,
                                    looked_through: None,
                                };
                                tx.put(&DELETIONS, room_id!("!ward:x"), &deletion)?;
                            }
                        }
                        Ok::<_, StoreError>((tx, ()))
                    })
                    .await
                    .unwrap();
                media::remove_blob(&self.app, id).await.unwrap();
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete));
        }
    }

    fn advance(&mut self, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_deleted_meanwhile_is_not_missed_and_a_lost_one_is_told() {
    for first in [First::Nothing, First::Record, First::Room] {
        let here = Practice::new().await;
        here.upload(2_000).await;
        let mut deleting = Deleting {
            app: here.server.app.clone(),
            id: here.upload(2_000).await,
            first,
        };
        here.bind(&deleting.id).await;
        let made = make(&here.server.app, &here.order(), &mut deleting)
            .await
            .unwrap();
        let lost = first == First::Nothing;
        assert_eq!(
            (made.blobs, made.gone, made.missing),
            (1, u64::from(!lost), u64::from(lost))
        );
        let target = Target::new();
        let restored = here.restore(None, &target).await.unwrap();
        assert_eq!((restored.blobs, restored.absent), (1, 1));
        // The snapshot's moment: the record was there.
        assert!(
            target
                .store
                .get(&MEDIA, &deleting.id)
                .await
                .unwrap()
                .is_some()
        );
    }
}

/// Puts a file into the place of the blobs' directory once the entries are written: nothing can be written there any more.
struct Breaking(PathBuf);

impl Progress for Breaking {
    fn begin(&mut self, what: &str, _: Option<u64>) {
        if what == "writing blobs" {
            fs::rename(self.0.join("blobs"), self.0.join("away")).unwrap();
            fs::write(self.0.join("blobs"), b"").unwrap();
        }
    }

    fn advance(&mut self, _: u64) {}
}

#[tokio::test]
async fn a_backup_that_failed_half_way_leaves_earlier_ones_whole_and_is_cleared_away() {
    let here = Practice::new().await;
    here.upload(2_000).await;
    let first = here.backup().await;
    here.upload(2_000).await;
    here.server.wait(1_000);
    let shelf = here.shelf();
    let broken = &mut Breaking(shelf.clone());
    sentence(make(&here.server.app, &here.order(), broken).await);
    fs::remove_file(shelf.join("blobs")).unwrap();
    fs::rename(shelf.join("away"), shelf.join("blobs")).unwrap();
    let left = || -> Vec<String> {
        let files = fs::read_dir(shelf.join("snapshots")).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(left().len(), 2, "{:?}", left());
    // What a process that was killed leaves: files without their list, or without their name.
    for name in ["20990101T000000Z.age", "20990101T000001Z.age.partial"] {
        fs::write(shelf.join("snapshots").join(name), b"cut").unwrap();
    }
    assert_eq!(here.source(None).name, first.name);
    here.restore(None, &Target::new()).await.unwrap();
    here.backup().await;
    assert_eq!(left().len(), 4, "{:?}", left());
    check(&Shelf::at(&shelf), None, None, &mut ())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_damaged_list_of_an_old_backup_stops_no_new_one() {
    let here = Practice::new().await;
    here.upload(2_000).await;
    let first = here.backup().await;
    let blob = here.blob_files().remove(0);
    let list = here.snapshot_file(&first).with_extension("sha256");
    let good = fs::read_to_string(&list).unwrap();
    fs::write(&list, "no list").unwrap();
    let order = Order {
        keep: Some(2),
        ..here.order()
    };
    here.server.wait(1_000);
    let second = make(&here.server.app, &order, &mut ()).await.unwrap();
    // Nobody knows whether the blob is part of the first one.
    assert_eq!((second.copied, second.pruned), (1, 0));
    let said = second.warnings.join(" ");
    assert!(said.contains(&first.name), "{said}");
    assert!(blob.exists() && here.blob_files().len() == 2);
    here.restore(None, &Target::new()).await.unwrap();
    fs::write(&list, good).unwrap();
    let target = Target::new();
    here.restore(Some(&first.name), &target).await.unwrap();
    // Once it is old enough, a damaged one goes as any other.
    fs::write(&list, "no list").unwrap();
    here.server.wait(1_000);
    let third = make(&here.server.app, &order, &mut ()).await.unwrap();
    assert_eq!((third.copied, third.pruned), (0, 1));
    assert!(!list.exists() && !blob.exists());
}

#[tokio::test]
async fn a_backup_is_made_also_if_older_ones_cannot_be_removed() {
    let here = Practice::new().await;
    here.upload(2_000).await;
    let first = here.backup().await;
    let file = here.snapshot_file(&first);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let order = Order {
        keep: Some(1),
        ..here.order()
    };
    here.server.wait(1_000);
    let made = make(&here.server.app, &order, &mut ()).await.unwrap();
    let said = made.warnings.join(" ");
    assert!(said.contains("were not removed"), "{said}");
    here.server.wait(1_000);
    let last = make(&here.server.app, &order, &mut ()).await.unwrap();
    let said = last.warnings.join(" ");
    assert!(said.contains("was not removed"), "{said}");
    assert_eq!(last.pruned, 1);
    here.restore(None, &Target::new()).await.unwrap();
}

#[test]
fn a_list_cannot_name_what_is_outside_of_the_directory() {
    let shelf = Shelf::at(Path::new("/backup"));
    for file in [
        "../etc/passwd.age",
        "/etc/x.age",
        "blobs/../x.age",
        "blobs/../../x.age",
        "blobs/ab/../x.age",
        "blobs/ab/.x.age",
        "snapshots/x.sha256",
        "lock",
        "",
    ] {
        assert_eq!(shelf.path(file), None, "{file}");
    }
    assert!(shelf.path("blobs/ab/abcd-1.age").is_some());
}
