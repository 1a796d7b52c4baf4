//! A device's keys, made by hand.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vodozemac::olm::Account;

use crate::raw::Raw;

/// Signs an object as the specification says: canonical JSON without `signatures` and `unsigned`.
pub fn sign(
    mut object: Value,
    user: &str,
    key_id: &str,
    sign: impl Fn(&str) -> String,
) -> Result<Value> {
    let kept = object.as_object_mut().context("no object")?;
    let signatures = kept.remove("signatures");
    let canonical = ruma::CanonicalJsonValue::try_from(object.clone())?.to_string();
    let mut signatures = signatures.unwrap_or_else(|| json!({}));
    signatures[user][key_id] = json!(sign(&canonical));
    object["signatures"] = signatures;
    Ok(object)
}

/// A device's keys.
pub struct Keys {
    /// The device's secrets.
    pub account: Account,
    /// Its signed public keys, as they are uploaded.
    pub device: Value,
    user: String,
    device_id: String,
}

impl Keys {
    /// Fresh keys for somebody's device.
    pub fn of(who: &Raw) -> Result<Self> {
        Self::of_device(&who.user, &who.device)
    }

    /// Fresh keys for a device that is known by its names.
    pub fn of_device(user: &str, device_id: &str) -> Result<Self> {
        let account = Account::new();
        let keys = json!({
            "user_id": user, "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                format!("curve25519:{device_id}"): account.curve25519_key().to_base64(),
                format!("ed25519:{device_id}"): account.ed25519_key().to_base64(),
            },
        });
        let device = sign(keys, user, &format!("ed25519:{device_id}"), |text| {
            account.sign(text).to_base64()
        })?;
        Ok(Self {
            account,
            device,
            user: user.to_owned(),
            device_id: device_id.to_owned(),
        })
    }

    /// Signed one-time keys, by id.
    pub fn one_time(&mut self, count: usize) -> Result<Value> {
        self.account.generate_one_time_keys(count);
        let mut keys = json!({});
        for (id, key) in self.account.one_time_keys() {
            keys[format!("signed_curve25519:{}", id.to_base64())] =
                self.signed(json!({ "key": key.to_base64() }))?;
        }
        self.account.mark_keys_as_published();
        Ok(keys)
    }

    /// A signed fallback key, by its id.
    pub fn fallback(&mut self) -> Result<Value> {
        self.account.generate_fallback_key();
        let (id, key) = self
            .account
            .fallback_key()
            .into_iter()
            .next()
            .context("no fallback key")?;
        let key = self.signed(json!({ "key": key.to_base64(), "fallback": true }))?;
        Ok(json!({ format!("signed_curve25519:{}", id.to_base64()): key }))
    }

    fn signed(&self, key: Value) -> Result<Value> {
        sign(
            key,
            &self.user,
            &format!("ed25519:{}", self.device_id),
            |text| self.account.sign(text).to_base64(),
        )
    }
}
