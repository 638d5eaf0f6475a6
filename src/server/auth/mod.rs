//! Who may do what. Knows keys and rights; knows no routes.

pub(crate) mod door;
pub(crate) mod keys;
pub(crate) mod session;
pub(crate) mod slow;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What a key may be used for in a project. Each is given by itself; `view` is part of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    /// To look at jobs, logs and data.
    View,
    /// To start jobs.
    Run,
    /// To abort jobs.
    Abort,
    /// To clear what was built.
    Clear,
}

impl Right {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Run => "run",
            Self::Abort => "abort",
            Self::Clear => "clear",
        }
    }
}

/// Someone whose key is known.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// The name of the key.
    pub(crate) key: String,
    /// Whether it may do everything.
    pub(crate) admin: bool,
    /// What it may do, by project; `*` is every project.
    pub(crate) rights: Vec<(String, Vec<Right>)>,
}

impl Who {
    /// As jobs name it, in the way of DSS.
    pub(crate) fn initiator(&self) -> String {
        format!("API ({})", self.key)
    }

    /// Whether it has a right on a project. A project with its own line is not looked up under `*`.
    pub(crate) fn may(&self, right: Right, project: &str) -> bool {
        let line = |name: &str| self.rights.iter().find(|(project, _)| project == name).map(|(_, rights)| rights);
        let rights = line(project).or_else(|| line("*"));
        self.admin
            || rights.is_some_and(|rights| rights.contains(&right) || (right == Right::View && !rights.is_empty()))
    }
}

/// The keys that a request shows, best first: more than one where a Basic user name and password may both be meant.
pub(crate) fn shown(headers: &HeaderMap) -> Vec<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return value.to_str().ok().map(authorization).unwrap_or_default();
    }
    let ticket = headers.get("x-dku-apiticket").and_then(|value| value.to_str().ok());
    ticket.map(|ticket| vec![ticket.trim().to_owned()]).unwrap_or_default()
}

/// Whether a request shows a key at all.
pub(crate) fn shows(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-dku-apiticket")
}

/// `Bearer KEY`, `Basic base64(KEY:)` or `Basic base64(:KEY)`.
fn authorization(value: &str) -> Vec<String> {
    let Some((scheme, rest)) = value.trim().split_once(' ') else { return Vec::new() };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return vec![rest.to_owned()];
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Vec::new();
    }
    let Some(pair) = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Vec::new();
    };
    let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
    [password, user].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_ways_to_show_a_key() {
        let with = |name: &'static str, value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            shown(&headers)
        };
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(with("authorization", basic("KEY:")), ["KEY"]);
        assert_eq!(with("authorization", basic(":KEY")), ["KEY"]);
        assert_eq!(with("authorization", "bearer  KEY".to_owned()), ["KEY"]);
        assert_eq!(with("x-dku-apiticket", "KEY".to_owned()), ["KEY"]);
        assert_eq!(with("authorization", basic("ana:KEY")), ["KEY", "ana"]);
        for broken in ["Basic", "Basic %%%", "Digest KEY", "Basic /w==", ""] {
            assert_eq!(with("authorization", broken.to_owned()), [] as [&str; 0], "{broken}");
        }
    }

    #[test]
    fn rights_are_given_by_project() {
        let rights = vec![("ORDERS".to_owned(), vec![Right::Run]), ("*".to_owned(), vec![Right::View, Right::Abort])];
        let who = Who { key: "ci".to_owned(), admin: false, rights };
        assert!(who.may(Right::Run, "ORDERS") && who.may(Right::View, "ORDERS"));
        assert!(!who.may(Right::Abort, "ORDERS") && !who.may(Right::Clear, "ORDERS"));
        assert!(who.may(Right::View, "OTHER") && who.may(Right::Abort, "OTHER") && !who.may(Right::Run, "OTHER"));
        let nobody = Who { rights: vec![("ORDERS".to_owned(), Vec::new())], ..who };
        assert!(!nobody.may(Right::View, "ORDERS") && !nobody.may(Right::View, "OTHER"));
        assert!(Who { admin: true, ..nobody }.may(Right::Clear, "ORDERS"));
    }
}
