//! What the server is and can do.

use std::collections::BTreeMap;

use axum::Router;
use respite_protocol::{
    Role,
    api::capability::{CAPABILITY, TherapyCapability, UNSTABLE_FEATURE},
};
use ruma::{
    api::client::{
        discovery::{
            discover_homeserver::{self, HomeserverInfo},
            discover_support,
            get_capabilities::{
                self,
                v3::{
                    AccountModerationCapability, Capabilities, GetLoginTokenCapability,
                    ProfileFieldsCapability, RoomVersionStability, RoomVersionsCapability,
                    ThirdPartyIdChangesCapability,
                },
            },
            get_supported_versions,
        },
        thirdparty::get_protocols,
    },
    profile::ProfileFieldName,
};
use serde_json::{Map, Value, json};

use crate::{
    auth::{Anyone, Device},
    endpoint::{LeavesOut, SpelledOut, endpoint},
    error::{Error, Result},
    rooms::version::SUPPORTED,
    state::App,
};

/// The versions of the client-server API whose endpoints are served.
pub const VERSIONS: [&str; 18] = [
    "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
    "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18",
];

/// What is served beyond that. Clients look for the second one before they offer secure backup.
pub const UNSTABLE_FEATURES: [&str; 9] = [
    UNSTABLE_FEATURE,
    "io.element.msc4360",
    "org.matrix.e2e_cross_signing",
    "org.matrix.msc3814",
    "org.matrix.msc4140",
    "org.matrix.simplified_msc3575",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.timedout.msc4323",
];

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(versions))
        .merge(endpoint::<_, _, _, _>(capabilities))
        .merge(endpoint::<_, _, _, _>(homeserver))
        .merge(endpoint::<_, _, _, _>(support))
        .merge(endpoint::<_, _, _, _>(bridges))
}

async fn versions(
    _: App,
    _: Anyone,
    _: get_supported_versions::Request,
) -> Result<get_supported_versions::Response> {
    let mut response = get_supported_versions::Response::new(VERSIONS.map(str::to_owned).to_vec());
    response.unstable_features = UNSTABLE_FEATURES
        .into_iter()
        .map(|feature| (feature.to_owned(), true))
        .collect();
    Ok(response)
}

async fn capabilities(
    app: App,
    me: Device,
    _: SpelledOut<get_capabilities::v3::Request>,
) -> Result<SpelledOut<get_capabilities::v3::Response>> {
    let mut capabilities = Capabilities::new();
    capabilities.room_versions = RoomVersionsCapability::new(
        app.config.rooms.default_version.clone(),
        SUPPORTED
            .into_iter()
            .map(|version| (version, RoomVersionStability::Stable))
            .collect(),
    );
    capabilities.get_login_token = GetLoginTokenCapability::new(true);
    if me.role == Role::Operator {
        capabilities.account_moderation = AccountModerationCapability::new(true, true);
    }
    capabilities.thirdparty_id_changes = ThirdPartyIdChangesCapability::new(false);
    let mut fields = ProfileFieldsCapability::new(true);
    fields.allowed = Some(vec![
        ProfileFieldName::DisplayName,
        ProfileFieldName::TimeZone,
    ]);
    capabilities.profile_fields = Some(fields);
    let therapy = TherapyCapability {
        enabled: true,
        role: me.role,
    };
    let set = [
        ("m.set_avatar_url", json!({ "enabled": false })),
        (
            CAPABILITY,
            serde_json::to_value(therapy).map_err(Error::internal)?,
        ),
    ];
    for (name, value) in set {
        capabilities.set(name, value).map_err(Error::internal)?;
    }
    Ok(SpelledOut(get_capabilities::v3::Response::new(
        capabilities,
    )))
}

impl LeavesOut for get_capabilities::v3::Response {
    fn spell_out(answer: &mut Map<String, Value>) {
        let capabilities = answer.get_mut("capabilities");
        if let Some(capabilities) = capabilities.and_then(Value::as_object_mut) {
            let password = capabilities.entry("m.change_password");
            password.or_insert_with(|| json!({ "enabled": true }));
        }
    }
}

/// Only told when it is known: otherwise clients go on using the address that they came to.
async fn homeserver(
    app: App,
    _: Anyone,
    _: discover_homeserver::Request,
) -> Result<discover_homeserver::Response> {
    let url = app.config.server.public_url.clone();
    let base_url = url.ok_or_else(|| Error::not_found("Use the address that you came to."))?;
    Ok(discover_homeserver::Response::new(HomeserverInfo::new(
        base_url,
    )))
}

async fn support(
    _: App,
    _: Anyone,
    _: discover_support::Request,
) -> Result<discover_support::Response> {
    Err(Error::not_found(
        "Nobody is named here. Ask whoever gave you your code.",
    ))
}

/// There are none; clients ask at every start.
async fn bridges(
    _: App,
    _: Device,
    _: get_protocols::v3::Request,
) -> Result<get_protocols::v3::Response> {
    Ok(get_protocols::v3::Response::new(BTreeMap::new()))
}
