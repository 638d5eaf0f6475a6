//! The rest: who asks, what this is, and that it lives.

use serde_json::json;

use crate::server::DSS_VERSION;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /auth/info`
pub(crate) fn auth(call: &Call) -> Reply {
    let who = call.who()?;
    json(&json!({
        "authSource": "PERSONAL_API_KEY",
        "authIdentifier": who.initiator(),
        "associatedDSSUser": who.key,
        "groups": [],
        "userProfile": if who.admin { "ADMIN" } else { "READER" },
        "userForImpersonation": who.key,
    }))
}

/// `GET /instance-info`
pub(crate) fn instance(_: &Call) -> Reply {
    json(&json!({
        "nodeId": "kiln",
        "nodeName": "kiln",
        "nodeType": "DESIGN",
        "dssVersion": DSS_VERSION,
        "kilnVersion": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /futures/`: everything here is a job.
pub(crate) fn futures(_: &Call) -> Reply {
    json(&json!([]))
}

/// `GET /healthz`: whatever else takes long.
pub(crate) async fn health() -> Reply {
    json(&json!({ "status": "ok" }))
}
