use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject, OwnedUserId,
    api::client::keys::{
        claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys,
    },
    events::room::member::MembershipState,
    serde::Raw,
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::{Value, json};

use super::{claim, cross_signing, devices_changed_in, query, signatures, upload};
use crate::{
    auth::Device,
    error::{Error, Result},
    fixture::{self, Server, user},
    inbox::{Entry, INBOX},
    rooms::create::{self, NewRoom},
};

/// Some 32 bytes, which is all that the server sees in a public key that signs nothing.
const CURVE_KEY: &str = "4AT+0KZNmGhVnoYkq1LDqYfCTzH0kBbnhGFCEKiwOF8";

/// A key pair whose public key is its name, or that has the name of a device.
struct Signer {
    pair: Ed25519KeyPair,
    public: String,
}

impl Signer {
    fn new(name: Option<&str>) -> Self {
        let document = Ed25519KeyPair::generate();
        let public = Ed25519KeyPair::from_der(&document, "x".to_owned())
            .unwrap()
            .public_key();
        let public = STANDARD_NO_PAD.encode(public);
        let pair = Ed25519KeyPair::from_der(&document, name.unwrap_or(&public).to_owned()).unwrap();
        Self { pair, public }
    }

    fn sign(&self, user: &OwnedUserId, mut object: Value) -> Value {
        let mut canonical: CanonicalJsonObject = serde_json::from_value(object).unwrap();
        sign_json(user.as_str(), &self.pair, &mut canonical).unwrap();
        object = serde_json::to_value(canonical).unwrap();
        object
    }
}

/// Somebody with one device and cross-signing keys.
struct Person {
    me: Device,
    device: Signer,
    master: Signer,
    self_signing: Signer,
    user_signing: Signer,
}

impl Person {
    fn new(name: &str) -> Self {
        Self {
            me: fixture::device(name, "PHONE"),
            device: Signer::new(Some("PHONE")),
            master: Signer::new(None),
            self_signing: Signer::new(None),
            user_signing: Signer::new(None),
        }
    }

    fn device_keys(&self) -> Value {
        let keys = json!({
            "user_id": self.me.user,
            "device_id": "PHONE",
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { "ed25519:PHONE": self.device.public, "curve25519:PHONE": CURVE_KEY },
        });
        self.device.sign(&self.me.user, keys)
    }

    fn cross_signing_key(&self, usage: &str, key: &Signer) -> Value {
        let key = json!({
            "user_id": self.me.user,
            "usage": [usage],
            "keys": { format!("ed25519:{}", key.public): key.public },
        });
        if usage == "master" {
            key
        } else {
            self.master.sign(&self.me.user, key)
        }
    }

    async fn publish_device(&self, server: &Server, keys: Value) -> Result<()> {
        let mut request = upload_keys::v3::Request::new();
        request.device_keys = Some(raw(keys));
        upload::upload(server.app.clone(), self.me.clone(), request)
            .await
            .map(drop)
    }

    async fn publish_identity(&self, server: &Server) -> Result<()> {
        let mut request = upload_signing_keys::v3::Request::new();
        request.master_key = Some(raw(self.cross_signing_key("master", &self.master)));
        request.self_signing_key = Some(raw(
            self.cross_signing_key("self_signing", &self.self_signing)
        ));
        request.user_signing_key = Some(raw(
            self.cross_signing_key("user_signing", &self.user_signing)
        ));
        cross_signing::upload(server.app.clone(), self.me.clone(), request)
            .await
            .map(drop)
    }

    /// Uploads signed objects; how many failed.
    async fn vouch(&self, server: &Server, whose: &Person, key_id: &str, signed: Value) -> usize {
        let body = json!({ whose.me.user.to_string(): { key_id: signed } });
        let request = upload_signatures::v3::Request::new(serde_json::from_value(body).unwrap());
        let response = signatures::upload(server.app.clone(), self.me.clone(), request)
            .await
            .unwrap();
        response.failures.values().map(BTreeMap::len).sum()
    }

    /// A room in which these are joined.
    async fn meet(&self, server: &Server, others: &[&Person]) {
        let app = &server.app;
        let members = others
            .iter()
            .map(|other| (other.me.user.clone(), MembershipState::Join));
        let room = &NewRoom {
            members: members.collect(),
            ..NewRoom::default()
        };
        app.store
            .transact(async |mut tx| {
                create::create_in(&mut tx, app, &self.me.user, room.clone()).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    }

    async fn look_up(&self, server: &Server, whom: &Person) -> get_keys::v3::Response {
        let mut request = get_keys::v3::Request::new();
        request.device_keys.insert(whom.me.user.clone(), Vec::new());
        query::query(server.app.clone(), self.me.clone(), request)
            .await
            .unwrap()
    }
}

fn raw<T>(value: Value) -> Raw<T> {
    Raw::from_json(serde_json::value::to_raw_value(&value).unwrap())
}

/// Whose signatures are on an object.
fn signers<T>(object: &Raw<T>) -> Vec<String> {
    let object: Value = serde_json::from_str(object.json().get()).unwrap();
    let signatures = object["signatures"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let ids = signatures.iter().flat_map(|(user, keys)| {
        keys.as_object()
            .unwrap()
            .keys()
            .map(move |key| format!("{user} {key}"))
    });
    ids.collect()
}

#[tokio::test]
async fn a_device_is_found_with_the_keys_that_it_has_signed() {
    let server = Server::new().await;
    let (nurse, therapist) = (Person::new("nurse"), Person::new("therapist"));
    therapist.meet(&server, &[&nurse]).await;
    nurse
        .publish_device(&server, nurse.device_keys())
        .await
        .unwrap();
    let found = therapist.look_up(&server, &nurse).await;
    let keys = &found.device_keys[&nurse.me.user]["PHONE"];
    assert_eq!(signers(keys), ["@nurse:localhost ed25519:PHONE"]);
    assert!(
        therapist.look_up(&server, &therapist).await.device_keys[&therapist.me.user].is_empty()
    );
}

#[tokio::test]
async fn a_stranger_finds_and_claims_nothing() {
    let server = Server::new().await;
    let (nurse, stranger) = (Person::new("nurse"), Person::new("stranger"));
    nurse
        .publish_device(&server, nurse.device_keys())
        .await
        .unwrap();
    nurse.publish_identity(&server).await.unwrap();
    let key = nurse
        .device
        .sign(&nurse.me.user, json!({ "key": CURVE_KEY }));
    let mut request = upload_keys::v3::Request::new();
    request
        .one_time_keys
        .insert("signed_curve25519:AAAAAQ".try_into().unwrap(), raw(key));
    upload::upload(server.app.clone(), nurse.me.clone(), request)
        .await
        .unwrap();
    let found = stranger.look_up(&server, &nurse).await;
    assert!(found.device_keys[&nurse.me.user].is_empty() && found.master_keys.is_empty());
    let claimed = async || {
        let wanted = [(
            nurse.me.user.clone(),
            [("PHONE".into(), "signed_curve25519".into())].into(),
        )];
        let request = claim_keys::v3::Request::new(wanted.into());
        let claimed = claim::claim(server.app.clone(), stranger.me.clone(), request).await;
        claimed.unwrap().one_time_keys.len()
    };
    assert_eq!(claimed().await, 0);
    stranger.meet(&server, &[&nurse]).await;
    assert_eq!(claimed().await, 1);
}

#[tokio::test]
async fn keys_that_the_device_has_not_signed_or_of_another_device_are_refused() {
    let server = Server::new().await;
    let (nurse, therapist) = (Person::new("nurse"), Person::new("therapist"));
    let mut forged = nurse.device_keys();
    forged["keys"]["curve25519:PHONE"] = json!("u8hZz6KiMJcOBxFEKDdZ0b3GiuIJLkDpmnaZyO8Qs0o");
    for bad in [forged, therapist.device_keys()] {
        nurse.publish_device(&server, bad).await.unwrap_err();
    }
    assert!(nurse.look_up(&server, &nurse).await.device_keys[&nurse.me.user].is_empty());
}

#[tokio::test]
async fn a_one_time_key_must_be_signed_by_its_device() {
    let server = Server::new().await;
    let nurse = Person::new("nurse");
    nurse
        .publish_device(&server, nurse.device_keys())
        .await
        .unwrap();
    let upload = async |signer: &Signer| {
        let key = signer.sign(&nurse.me.user, json!({ "key": CURVE_KEY }));
        let mut request = upload_keys::v3::Request::new();
        request
            .one_time_keys
            .insert("signed_curve25519:AAAAAQ".try_into().unwrap(), raw(key));
        upload::upload(server.app.clone(), nurse.me.clone(), request).await
    };
    upload(&Signer::new(Some("PHONE"))).await.unwrap_err();
    let counts = upload(&nurse.device).await.unwrap().one_time_key_counts;
    assert_eq!(counts.into_values().map(u64::from).sum::<u64>(), 1);
}

#[tokio::test]
async fn the_first_identity_needs_no_password_the_same_again_neither_but_another_does() {
    let server = Server::new().await;
    let nurse = Person::new("nurse");
    nurse.publish_identity(&server).await.unwrap();
    nurse.publish_identity(&server).await.unwrap();
    let thief = Person::new("nurse");
    assert!(matches!(
        thief.publish_identity(&server).await,
        Err(Error::Interactive(_))
    ));
    let found = nurse.look_up(&server, &nurse).await;
    assert!(
        found.master_keys[&nurse.me.user]
            .json()
            .get()
            .contains(&nurse.master.public)
    );
}

#[tokio::test]
async fn an_identity_whose_parts_do_not_belong_together_is_refused() {
    let server = Server::new().await;
    let (mut nurse, other) = (Person::new("nurse"), Person::new("nurse"));
    nurse.publish_identity(&server).await.unwrap();
    let mut request = upload_signing_keys::v3::Request::new();
    request.self_signing_key = Some(raw(
        other.cross_signing_key("self_signing", &other.self_signing)
    ));
    let refused = cross_signing::upload(server.app.clone(), nurse.me.clone(), request)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Matrix { kind, .. } if kind.errcode().as_str() == "M_INVALID_SIGNATURE")
    );
    nurse.me = fixture::device("therapist", "PHONE");
    let mut request = upload_signing_keys::v3::Request::new();
    request.master_key = Some(raw(other.cross_signing_key("master", &other.master)));
    cross_signing::upload(server.app.clone(), nurse.me.clone(), request)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn everybody_sees_that_she_vouches_for_her_phone_but_not_whom_she_has_verified() {
    let server = Server::new().await;
    let (nurse, therapist, other) = (
        Person::new("nurse"),
        Person::new("therapist"),
        Person::new("other"),
    );
    therapist.meet(&server, &[&nurse, &other]).await;
    for person in [&nurse, &therapist] {
        person
            .publish_device(&server, person.device_keys())
            .await
            .unwrap();
        person.publish_identity(&server).await.unwrap();
    }
    let phone = nurse.self_signing.sign(&nurse.me.user, nurse.device_keys());
    assert_eq!(nurse.vouch(&server, &nurse, "PHONE", phone).await, 0);
    let verified = nurse.user_signing.sign(
        &nurse.me.user,
        therapist.cross_signing_key("master", &therapist.master),
    );
    assert_eq!(
        nurse
            .vouch(&server, &therapist, &therapist.master.public, verified)
            .await,
        0
    );

    let seen = other.look_up(&server, &nurse).await;
    assert_eq!(signers(&seen.device_keys[&nurse.me.user]["PHONE"]).len(), 2);
    assert!(seen.user_signing_keys.is_empty());
    let own = nurse.look_up(&server, &nurse).await;
    assert_eq!(own.user_signing_keys.len(), 1);
    let by = async |asker: &Person| {
        signers(&asker.look_up(&server, &therapist).await.master_keys[&therapist.me.user])
    };
    assert_eq!(
        by(&nurse).await,
        [format!(
            "@nurse:localhost ed25519:{}",
            nurse.user_signing.public
        )]
    );
    assert!(by(&other).await.is_empty());
    assert!(by(&therapist).await.is_empty());
    let inbox = server
        .app
        .store
        .after(&INBOX, &nurse.me.user, 0, 100)
        .await
        .unwrap();
    assert!(
        inbox
            .iter()
            .any(|(_, entry)| entry.value == Entry::Devices(user("therapist")))
    );
}

#[tokio::test]
async fn signatures_by_the_wrong_key_or_on_another_key_fail_one_by_one() {
    let server = Server::new().await;
    let (nurse, therapist) = (Person::new("nurse"), Person::new("therapist"));
    for person in [&nurse, &therapist] {
        person
            .publish_device(&server, person.device_keys())
            .await
            .unwrap();
        person.publish_identity(&server).await.unwrap();
    }
    let by_master = nurse.master.sign(&nurse.me.user, nurse.device_keys());
    assert_eq!(nurse.vouch(&server, &nurse, "PHONE", by_master).await, 1);
    let unknown = nurse.self_signing.sign(&nurse.me.user, nurse.device_keys());
    assert_eq!(nurse.vouch(&server, &nurse, "TABLET", unknown).await, 1);
    let theirs = nurse
        .user_signing
        .sign(&nurse.me.user, therapist.device_keys());
    assert_eq!(nurse.vouch(&server, &therapist, "PHONE", theirs).await, 1);
    let own_master = nurse.device.sign(
        &nurse.me.user,
        nurse.cross_signing_key("master", &nurse.master),
    );
    assert_eq!(
        nurse
            .vouch(&server, &nurse, &nurse.master.public, own_master)
            .await,
        0
    );
}

#[tokio::test]
async fn who_has_invited_somebody_hears_of_their_new_device() {
    let server = Server::new().await;
    server.admit("nurse").await;
    let (app, therapist, nurse) = (&server.app, user("therapist"), user("nurse"));
    let room = &NewRoom {
        members: vec![(nurse.clone(), MembershipState::Invite)],
        ..NewRoom::default()
    };
    app.store
        .transact(async |mut tx| {
            create::create_in(&mut tx, app, &user("therapist"), room.clone()).await?;
            devices_changed_in(&mut tx, app, &user("stranger")).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
    app.store
        .transact(async |mut tx| {
            devices_changed_in(&mut tx, app, &user("nurse")).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
    let told = app.store.after(&INBOX, &therapist, 0, 1_000).await.unwrap();
    let told: Vec<_> = told
        .into_iter()
        .filter_map(|(_, entry)| match entry.value {
            Entry::Devices(whose) => Some(whose),
            _ => None,
        })
        .collect();
    assert_eq!(told, [nurse]);
}
