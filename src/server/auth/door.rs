//! Which requests are let in before anyone looks at their keys: those to our own name, and writes from our own pages or from
//! no page at all. Keeps pages of other sites from using a browser that is signed in.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};

use crate::server::error::ApiError;

/// The names that the server answers to.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    listens: SocketAddr,
    hosts: Vec<String>,
}

impl Door {
    /// For a server that listens on `listens` and may be asked as `hosts`, on whichever port a proxy has.
    pub(crate) fn new(listens: SocketAddr, hosts: Vec<String>) -> Self {
        Self { listens, hosts }
    }

    /// Whether the request is for this server.
    pub(crate) fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut said = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (said.next(), said.next()) else {
            return Err(ApiError::wrong("a request names its host once"));
        };
        let host = host.to_str().unwrap_or_default();
        let said = uri.authority().map(Authority::as_str);
        let short = |name: &str| name.chars().take(100).collect::<String>();
        match [Some(host), said].into_iter().flatten().find(|name| !self.knows(name)) {
            Some(other) => Err(ApiError::misdirected(format!("`{}` is no name of this server", short(other)))),
            None if said.is_some_and(|said| !said.eq_ignore_ascii_case(host)) => {
                let said = short(said.unwrap_or_default());
                let message =
                    format!("the request is for `{said}` in its first line, and for `{}` as its host", short(host));
                Err(ApiError::misdirected(message))
            }
            None => Ok(()),
        }
    }

    /// Whether a write comes from one of our own pages, or from no page.
    pub(crate) fn origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
            return Ok(());
        }
        let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or_default());
        if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
            return Err(ApiError::forbidden("a page of another site may not write here"));
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
                return Err(ApiError::forbidden("a page of another site may not write here"));
            }
        }
        Ok(())
    }

    /// Whether a write of a browser that is signed in says which page it comes from. Each browser does.
    pub(crate) fn page(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        if reads || headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "a write with a cookie says which page it comes from: with `Origin` or `Sec-Fetch-Site`",
        ))
    }

    fn knows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        if self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return true;
        }
        if authority.port_u16().unwrap_or(80) != self.listens.port() || authority.as_str().ends_with(':') {
            return false;
        }
        let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let here = self.listens.ip();
        match address {
            // No name of another site stands for an address that was written as a number.
            Some(address) => address == here || (address.is_loopback() && here.is_loopback()) || here.is_unspecified(),
            None => name.eq_ignore_ascii_case("localhost") && (here.is_loopback() || here.is_unspecified()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn door(listens: &str) -> Door {
        Door::new(listens.parse().unwrap(), vec!["kiln.example".to_owned()])
    }

    #[test]
    fn only_own_names_are_answered() {
        let uri = Uri::from_static("/x");
        for (listens, host, known) in [
            ("127.0.0.1:11200", "127.0.0.1:11200", true),
            ("127.0.0.1:11200", "localhost:11200", true),
            ("127.0.0.1:11200", "LOCALHOST:11200", true),
            ("127.0.0.1:11200", "[::1]:11200", true),
            ("127.0.0.1:11200", "kiln.example", true),
            ("127.0.0.1:11200", "kiln.example:443", true),
            ("127.0.0.1:80", "localhost", true),
            ("127.0.0.1:11200", "localhost", false),
            ("127.0.0.1:11200", "localhost:", false),
            ("127.0.0.1:11200", "localhost:11201", false),
            ("127.0.0.1:11200", "localhost.:11200", false),
            ("127.0.0.1:11200", "evil.example:11200", false),
            ("127.0.0.1:11200", "127.0.0.1.evil.example:11200", false),
            ("127.0.0.1:11200", "localhost@evil.example:11200", false),
            ("127.0.0.1:11200", "10.0.0.1:11200", false),
            ("127.0.0.1:11200", "", false),
            ("0.0.0.0:11200", "10.0.0.1:11200", true),
            ("0.0.0.0:11200", "evil.example:11200", false),
        ] {
            let said = door(listens).host(&uri, &headers(&[("host", host)]));
            assert_eq!(said.is_ok(), known, "{listens} asked as {host}");
        }
        let door = door("127.0.0.1:11200");
        assert!(door.host(&uri, &headers(&[])).is_err());
        assert!(door.host(&uri, &headers(&[("host", "localhost:11200"), ("host", "localhost:11200")])).is_err());
        let absolute = Uri::from_static("http://evil.example/x");
        assert!(door.host(&absolute, &headers(&[("host", "localhost:11200")])).is_err());
    }

    #[test]
    fn only_own_pages_write() {
        let door = door("127.0.0.1:11200");
        for (more, fine) in [
            (vec![], true),
            (vec![("origin", "http://localhost:11200")], true),
            (vec![("sec-fetch-site", "same-origin"), ("origin", "http://localhost:11200")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "http://localhost:11201")], false),
            (vec![("origin", "http://localhost:11200.evil.example")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
        ] {
            let mut all = vec![("host", "localhost:11200")];
            all.extend(more);
            let headers = headers(&all);
            assert_eq!(door.origin(&Method::POST, &headers).is_ok(), fine, "{all:?}");
            assert!(door.origin(&Method::GET, &headers).is_ok());
        }
    }
}
