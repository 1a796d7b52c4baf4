mod harm;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;

use super::*;
use crate::{
    blobs::Blobs,
    fixture::{self, Server, user},
    inbox::token::EPOCH,
    keys::{KEY_COUNTS, KeyCounts, ONE_TIME_KEYS, OneTimeKey},
    media::{self, MEDIA},
    migrate::hash_blob,
    progress::Progress,
    store::{Engine, Page, Store, StoreError, Table, engine::PAGE, filling},
};

const NOTES: Table<u64, String> = Table::new(9001, "notes");

/// A server, a key in a safe, and a directory for backups.
struct Practice {
    server: Server,
    key: PathBuf,
    public: String,
}

impl Practice {
    async fn new() -> Self {
        let server = Server::new().await;
        let key = server.directory.path().join("key.txt");
        let new = NewKey::generate();
        fs::write(&key, new.to_string()).unwrap();
        let practice = Self {
            server,
            key,
            public: new.public(),
        };
        for note in 0..2 * PAGE as u64 {
            practice.note(note, &"ciphertext ".repeat(20)).await;
        }
        practice
    }

    async fn note(&self, number: u64, text: &str) {
        self.server
            .app
            .store
            .transact(|mut tx| async move {
                tx.put(&NOTES, number, &text.to_owned())?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
    }

    /// Keeps an encrypted file as uploads do; returns its id.
    async fn upload(&self, size: usize) -> String {
        self.server.admit("nurse").await;
        let noise: Vec<u8> = (0..size / 32 + 1)
            .flat_map(|_| self.server.app.random.bytes::<32>())
            .take(size)
            .collect();
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(noise))]);
        let nurse = user("nurse");
        let incoming = media::Incoming {
            user: &nurse,
            room: None,
            size: None,
        };
        let address = media::store_upload(&self.server.app, incoming, body)
            .await
            .unwrap();
        address.media_id().unwrap().to_owned()
    }

    fn shelf(&self) -> PathBuf {
        self.server.directory.path().join("backups")
    }

    fn order(&self) -> Order {
        Order {
            destination: self.shelf(),
            recipients: vec![self.public.clone()],
            keep: None,
        }
    }

    async fn backup(&self) -> Made {
        self.server.wait(1_000);
        make(&self.server.app, &self.order(), &mut ())
            .await
            .unwrap()
    }

    fn source(&self, name: Option<&str>) -> Source {
        let identities = Identities::read(&self.key).unwrap();
        Source::find(Shelf::at(&self.shelf()), name, identities).unwrap()
    }

    /// Restores into this place.
    async fn restore(&self, name: Option<&str>, to: &Target) -> anyhow::Result<Restored> {
        restore(
            &self.source(name),
            to.store.engine().clone(),
            &to.blobs,
            &self.server.app.random,
            &mut (),
        )
        .await
    }

    async fn is_same_in(&self, to: &Target) {
        let engine: &dyn Engine = &**self.server.app.store.engine();
        let mut restored = sums(&**to.store.engine()).await;
        // What says that it was restored.
        restored.0.remove(&EPOCH.describe().0).unwrap();
        assert_eq!(sums(engine).await, restored);
    }

    /// The blobs' files in the directory of backups.
    fn blob_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for shard in fs::read_dir(self.shelf().join("blobs")).unwrap() {
            for file in fs::read_dir(shard.unwrap().path()).unwrap() {
                files.push(file.unwrap().path());
            }
        }
        files.sort();
        files
    }

    fn snapshot_file(&self, made: &Made) -> PathBuf {
        self.shelf().join(format!("snapshots/{}.age", made.name))
    }
}

async fn sums(engine: &dyn Engine) -> crate::store::sums::Sums {
    filling::sums(&*engine.snapshot().await.unwrap(), &mut |_| {})
        .await
        .unwrap()
}

/// An empty place to restore into.
struct Target {
    store: Store,
    blobs: Blobs,
    _directory: TempDir,
}

impl Target {
    fn new() -> Self {
        let (directory, store) = fixture::store();
        Self {
            store,
            blobs: Blobs::open(&directory.path().join("blobs")).unwrap(),
            _directory: directory,
        }
    }
}

fn sentence<T>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.err().unwrap())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn what_was_backed_up_comes_back() {
    let here = Practice::new().await;
    let ids = [here.upload(2_000).await, here.upload(200_000).await];
    let made = here.backup().await;
    assert_eq!((made.blobs, made.copied, made.missing), (2, 2, 0));
    let target = Target::new();
    let restored = here.restore(None, &target).await.unwrap();
    assert_eq!((restored.blobs, restored.bytes), (2, 202_000));
    here.is_same_in(&target).await;
    for id in &ids {
        assert_eq!(
            hash_blob(&target.blobs, id).await.unwrap().unwrap(),
            hash_blob(&here.server.app.blobs, id)
                .await
                .unwrap()
                .unwrap()
        );
    }
}

#[tokio::test]
async fn the_second_backup_copies_only_new_blobs_and_each_is_of_its_own_moment() {
    let here = Practice::new().await;
    here.upload(2_000).await;
    let first = here.backup().await;
    let kept = here.blob_files();
    here.note(1, "later").await;
    here.upload(2_000).await;
    let second = here.backup().await;
    assert_eq!((second.blobs, second.copied), (2, 1));
    assert!(here.blob_files().contains(&kept[0]));
    let (old, new) = (Target::new(), Target::new());
    assert_eq!(
        here.restore(Some(&first.name), &old).await.unwrap().blobs,
        1
    );
    assert_eq!(here.restore(None, &new).await.unwrap().blobs, 2);
    assert!(
        old.store
            .get(&NOTES, 1)
            .await
            .unwrap()
            .unwrap()
            .starts_with("ciphertext")
    );
    assert_eq!(new.store.get(&NOTES, 1).await.unwrap().unwrap(), "later");
}

#[tokio::test]
async fn one_time_keys_that_may_have_been_used_since_are_not_given_out_again() {
    let here = Practice::new().await;
    let nurse = user("nurse");
    let device = fixture::device("nurse", "PHONE").device;
    let (of, algorithm) = ((&*nurse, &*device), "signed_curve25519");
    here.server
        .app
        .store
        .transact(|mut tx| async move {
            for number in 0..50 {
                let key = OneTimeKey {
                    id: number.to_string(),
                    key: String::new(),
                };
                tx.put(&ONE_TIME_KEYS, (of.0, of.1, algorithm, number), &key)?;
            }
            let counts = KeyCounts {
                stored: 50,
                unclaimed: [(algorithm.to_owned(), 50)].into(),
                ..KeyCounts::default()
            };
            tx.put(&KEY_COUNTS, of, &counts)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    here.backup().await;
    let target = Target::new();
    here.restore(None, &target).await.unwrap();
    let left = target
        .store
        .scan(&ONE_TIME_KEYS, (), Page::first(9))
        .await
        .unwrap();
    assert!(left.is_empty());
    let counts = target.store.get(&KEY_COUNTS, of).await.unwrap().unwrap();
    assert_eq!((counts.stored, counts.unclaimed.len()), (50, 0));
    assert!(target.store.get(&EPOCH, ()).await.unwrap().is_some());
}

#[tokio::test]
async fn only_an_empty_place_is_restored_into() {
    let here = Practice::new().await;
    let id = here.upload(2_000).await;
    here.backup().await;
    let busy = Target::new();
    busy.store
        .transact(|mut tx| async move {
            tx.put(&NOTES, 1, &"already here".to_owned())?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    let said = sentence(here.restore(None, &busy).await);
    assert!(said.contains("The store is not empty"), "{said}");
    assert_eq!(
        busy.store
            .scan(&NOTES, (), Page::first(9))
            .await
            .unwrap()
            .len(),
        1
    );
    let littered = Target::new();
    let mut writer = littered.blobs.writer(&id).await.unwrap();
    writer.write(Bytes::from_static(b"other")).await.unwrap();
    writer.finish().await.unwrap();
    for _ in 0..2 {
        let said = sentence(here.restore(None, &littered).await);
        assert!(said.contains("There are blobs"), "{said}");
        assert!(filling::is_empty(&**littered.store.engine()).await.unwrap());
    }
}

#[tokio::test]
async fn old_backups_go_with_the_blobs_that_nobody_else_needs() {
    let here = Practice::new().await;
    let id = here.upload(2_000).await;
    here.backup().await;
    media::remove_blob(&here.server.app, &id).await.unwrap();
    here.server
        .app
        .store
        .transact(|mut tx| async move {
            tx.delete(&MEDIA, "");
            let all = tx.store().scan(&MEDIA, (), Page::first(9)).await?;
            for (id, _) in all {
                tx.delete(&MEDIA, &id);
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    here.upload(2_000).await;
    here.backup().await;
    assert_eq!(here.blob_files().len(), 2);
    let order = Order {
        keep: Some(2),
        ..here.order()
    };
    here.server.wait(1_000);
    let made = make(&here.server.app, &order, &mut ()).await.unwrap();
    assert_eq!((made.pruned, here.blob_files().len()), (1, 1));
    let shelf = Shelf::at(&here.shelf());
    assert_eq!(shelf.names().unwrap().len(), 2);
    check(&shelf, None, None, &mut ()).await.unwrap();
    let none = Order {
        keep: Some(0),
        ..here.order()
    };
    assert!(make(&here.server.app, &none, &mut ()).await.is_err());
}

#[tokio::test]
async fn the_backup_that_was_just_made_is_the_newest_whatever_the_clock_says() {
    let here = Practice::new().await;
    let first = here.backup().await;
    let shelf = Shelf::at(&here.shelf());
    for ending in ["age", "sha256"] {
        let file = here.snapshot_file(&first).with_extension(ending);
        let text = fs::read(&file).unwrap();
        // From a time when the clock was wrong.
        fs::write(
            here.shelf()
                .join(format!("snapshots/20990101T000000Z.{ending}")),
            text,
        )
        .unwrap();
    }
    let order = Order {
        keep: Some(3),
        ..here.order()
    };
    for number in 2..12 {
        let made = make(&here.server.app, &order, &mut ()).await.unwrap();
        assert_eq!(made.name, format!("20990101T000000Z-{number}"));
        assert_eq!(shelf.find(None).unwrap(), made.name);
    }
    assert_eq!(
        shelf.names().unwrap(),
        [9, 10, 11].map(|number| format!("20990101T000000Z-{number}"))
    );
}

#[tokio::test]
async fn two_backups_into_one_directory_do_not_mix_and_somebodys_directory_is_left_alone() {
    let here = Practice::new().await;
    let shelf = Shelf::at(&here.shelf());
    let lock = shelf.lock().unwrap();
    let said = sentence(make(&here.server.app, &here.order(), &mut ()).await);
    assert!(said.contains("under way"), "{said}");
    drop(lock);
    let first = here.backup().await.name;
    let again = make(&here.server.app, &here.order(), &mut ())
        .await
        .unwrap()
        .name;
    assert_eq!(again, format!("{first}-2"));
    assert_eq!(shelf.find(None).unwrap(), again);
    let photos = here.server.directory.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("snapshots.jpg"), b"").unwrap();
    let order = Order {
        destination: photos.clone(),
        ..here.order()
    };
    let said = sentence(make(&here.server.app, &order, &mut ()).await);
    assert!(said.contains("holds no backups"), "{said}");
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_of_backups_tells_no_ids_and_no_content() {
    let here = Practice::new().await;
    let id = here.upload(2_000).await;
    let made = here.backup().await;
    let mut texts = vec![format!("{:?}", here.blob_files())];
    texts.push(fs::read_to_string(here.snapshot_file(&made).with_extension("sha256")).unwrap());
    let sealed = fs::read(here.snapshot_file(&made)).unwrap();
    texts.push(String::from_utf8_lossy(&sealed).into_owned());
    for text in texts {
        assert!(
            !text.contains(&id) && !text.contains("ciphertext"),
            "{text}"
        );
    }
}
