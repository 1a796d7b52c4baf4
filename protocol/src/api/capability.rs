//! The entry in `GET /_matrix/client/v3/capabilities` that announces the therapy extension, under
//! the key [`CAPABILITY`]. `/versions` lists [`UNSTABLE_FEATURE`].

use serde::{Deserialize, Serialize};

use crate::{Role, therapy};

/// The key in `/capabilities`.
pub const CAPABILITY: &str = therapy::FEATURE;
/// The name in the `unstable_features` of `/versions`.
pub const UNSTABLE_FEATURE: &str = therapy::FEATURE;

/// What the therapy extension offers the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TherapyCapability {
    /// Whether the endpoints are there.
    pub enabled: bool,
    /// The caller's role, which decides what they may do there.
    pub role: Role,
}
