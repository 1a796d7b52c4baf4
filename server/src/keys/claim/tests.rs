use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{super::upload::store_keys_in, one};
use crate::{
    error::{Error, Result},
    fixture::{store, user},
    keys,
    store::Store,
};

const ALGORITHM: &str = "signed_curve25519";

type Keys = Vec<(String, String, String)>;

fn keys(ids: impl IntoIterator<Item = u64>) -> Keys {
    ids.into_iter()
        .map(|id| {
            (
                ALGORITHM.to_owned(),
                format!("{id}"),
                format!("\"key {id}\""),
            )
        })
        .collect()
}

async fn upload(store: &Store, one_time: &Keys, fallback: &Keys) -> Result<u64> {
    let nurse = &user("nurse");
    let counts = store
        .transact(|mut tx| async move {
            let counts = store_keys_in(&mut tx, nurse, "PHONE".into(), one_time, fallback).await?;
            Ok::<_, Error>((tx, counts))
        })
        .await?;
    Ok(counts.value.values().map(|count| u64::from(*count)).sum())
}

async fn claim(store: &Store) -> Option<String> {
    one(store, &user("nurse"), "PHONE".into(), ALGORITHM)
        .await
        .unwrap()
        .map(|(id, _)| id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_people_who_write_to_the_nurse_at_once_share_no_key() {
    let (_directory, store) = store();
    upload(&store, &keys(0..50), &keys([1_000])).await.unwrap();
    let claims = join_all((0..100).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store).await.unwrap() })
    }));
    let claimed: Vec<String> = claims.await.into_iter().map(|id| id.unwrap()).collect();
    let (fallback, one_time): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|id| id == "1000");
    assert_eq!(fallback.len(), 50);
    assert_eq!(one_time.len(), 50);
    assert_eq!(one_time.into_iter().collect::<BTreeSet<_>>().len(), 50);
    let counts = keys::counts(&store, &user("nurse"), "PHONE".into())
        .await
        .unwrap();
    assert_eq!(counts.unclaimed.get(ALGORITHM), Some(&0));
    assert!(counts.unused_fallbacks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_on_two_servers_of_one_store_share_no_key_either() {
    let (_directory, store) = store();
    upload(&store, &keys(0..20), &Keys::new()).await.unwrap();
    // Without waiting for one's turn, as two processes would do it.
    let claims = join_all((0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let nurse = &user("nurse");
            let claimed = store.transact(|mut tx| async move {
                let key = super::one_in(&mut tx, nurse, "PHONE".into(), ALGORITHM).await?;
                Ok::<_, crate::store::StoreError>((tx, key))
            });
            claimed.await.unwrap().value.unwrap().0
        })
    }));
    let claimed: BTreeSet<String> = claims.await.into_iter().map(|id| id.unwrap()).collect();
    assert_eq!(claimed.len(), 20);
}

#[tokio::test]
async fn keys_are_given_out_in_the_order_of_their_upload() {
    let (_directory, store) = store();
    upload(&store, &keys([9]), &Keys::new()).await.unwrap();
    upload(&store, &keys([5]), &Keys::new()).await.unwrap();
    upload(&store, &keys([7]), &Keys::new()).await.unwrap();
    for expected in ["9", "5", "7"] {
        assert_eq!(claim(&store).await.as_deref(), Some(expected));
    }
    assert_eq!(claim(&store).await, None);
}

#[tokio::test]
async fn a_phone_that_missed_the_answer_and_uploads_again_brings_no_used_key_back() {
    let (_directory, store) = store();
    assert_eq!(upload(&store, &keys(0..3), &Keys::new()).await.unwrap(), 3);
    assert_eq!(claim(&store).await.as_deref(), Some("0"));
    assert_eq!(upload(&store, &keys(0..3), &Keys::new()).await.unwrap(), 2);
    assert_eq!(claim(&store).await.as_deref(), Some("1"));
    assert_eq!(claim(&store).await.as_deref(), Some("2"));
    assert_eq!(claim(&store).await, None);
}

#[tokio::test]
async fn another_key_under_a_taken_id_is_refused_and_nothing_of_the_upload_stays() {
    let (_directory, store) = store();
    upload(&store, &keys([1]), &Keys::new()).await.unwrap();
    let forged = vec![
        (ALGORITHM.to_owned(), "0".to_owned(), "\"new\"".to_owned()),
        (ALGORITHM.to_owned(), "1".to_owned(), "\"other\"".to_owned()),
    ];
    assert!(upload(&store, &forged, &Keys::new()).await.is_err());
    assert_eq!(upload(&store, &Keys::new(), &Keys::new()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_device_cannot_hoard_keys() {
    let (_directory, store) = store();
    upload(&store, &keys(0..500), &Keys::new()).await.unwrap();
    assert!(upload(&store, &keys([500]), &Keys::new()).await.is_err());
    claim(&store).await.unwrap();
    upload(&store, &keys([500]), &Keys::new()).await.unwrap();
}

#[tokio::test]
async fn a_fallback_key_counts_as_used_until_it_is_replaced() {
    let (_directory, store) = store();
    let unused = async || {
        keys::unused_fallback_types(&store, &user("nurse"), "PHONE".into())
            .await
            .unwrap()
            .len()
    };
    upload(&store, &Keys::new(), &keys([1])).await.unwrap();
    assert_eq!(unused().await, 1);
    claim(&store).await.unwrap();
    assert_eq!(unused().await, 0);
    upload(&store, &Keys::new(), &keys([1])).await.unwrap();
    assert_eq!(unused().await, 0);
    upload(&store, &Keys::new(), &keys([2])).await.unwrap();
    assert_eq!(unused().await, 1);
}

#[tokio::test]
async fn a_deleted_device_leaves_no_keys() {
    let (_directory, store) = store();
    upload(&store, &keys(0..3), &keys([9])).await.unwrap();
    claim(&store).await.unwrap();
    let nurse = &user("nurse");
    store
        .transact(|mut tx| async move {
            keys::forget_device_in(&mut tx, nurse, "PHONE".into()).await?;
            Ok::<_, crate::store::StoreError>((tx, ()))
        })
        .await
        .unwrap();
    assert_eq!(claim(&store).await, None);
    assert_eq!(upload(&store, &keys(0..3), &Keys::new()).await.unwrap(), 3);
}
