//! Browsers that are signed in. A link that works once, or a form, gives a cookie; the cookie stands for a key. Nothing of it
//! outlives the server.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::http::{HeaderMap, header};

use crate::server::auth::Who;
use crate::server::auth::keys::{hash_text, random};
use crate::session::fail::Fail;

/// How long a browser stays signed in, in seconds.
const LASTS: i64 = 12 * 3_600;
/// So many browsers are signed in at most; the oldest goes.
const MOST: usize = 1_000;

/// The browsers that are signed in, by the hash of what their cookie says.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<String, (jiff::Timestamp, Who)>,
    link: Option<(String, Who)>,
}

impl Sessions {
    /// What a link has to say to sign a browser in, once.
    pub(crate) fn link(&self, who: Who) -> Result<String, Fail> {
        let token = random()?;
        self.lock().link = Some((hash_text(&token), who));
        Ok(token)
    }

    /// Who a link signs in. It does not work again.
    pub(crate) fn follow(&self, token: &str) -> Option<Who> {
        let mut inner = self.lock();
        let hash = hash_text(token);
        inner.link.take_if(|(known, _)| *known == hash).map(|(_, who)| who)
    }

    /// Signs a browser in. Returns what its cookie says.
    pub(crate) fn open(&self, who: Who, now: jiff::Timestamp) -> Result<String, Fail> {
        let token = random()?;
        let mut inner = self.lock();
        inner.open.retain(|_, (since, _)| age(*since, now) < LASTS);
        while inner.open.len() >= MOST {
            let oldest = inner.open.iter().min_by_key(|(_, (since, _))| *since).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| inner.open.remove(&hash));
        }
        inner.open.insert(hash_text(&token), (now, who));
        Ok(token)
    }

    /// Whose browser this is.
    pub(crate) fn who(&self, token: &str, now: jiff::Timestamp) -> Option<Who> {
        let inner = self.lock();
        let (since, who) = inner.open.get(&hash_text(token))?;
        (age(*since, now) < LASTS).then(|| who.clone())
    }

    /// Signs a browser out.
    pub(crate) fn close(&self, token: &str) {
        self.lock().open.remove(&hash_text(token));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> i64 {
    now.as_second() - since.as_second()
}

/// What the cookie of a server on `port` says. Cookies do not know ports, so their names do.
pub(crate) fn cookie(headers: &HeaderMap, port: u16) -> Option<String> {
    let name = format!("kiln_{port}");
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The header that sets the cookie; an empty token takes it away.
pub(crate) fn set_cookie(token: &str, port: u16) -> String {
    let age = if token.is_empty() { 0 } else { LASTS };
    format!("kiln_{port}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { key: "local".to_owned(), admin: true, rights: Vec::new() }
    }

    #[test]
    fn a_link_signs_in_once() {
        let sessions = Sessions::default();
        let link = sessions.link(who()).unwrap();
        assert!(sessions.follow("something else").is_none());
        assert!(sessions.follow(&link).is_some());
        assert!(sessions.follow(&link).is_none());
    }

    #[test]
    fn a_browser_is_signed_in_for_a_while() {
        let sessions = Sessions::default();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let token = sessions.open(who(), now).unwrap();
        let later = |secs| now + jiff::SignedDuration::from_secs(secs);
        assert!(sessions.who(&token, later(LASTS - 1)).is_some());
        assert!(sessions.who(&token, later(LASTS)).is_none());
        sessions.close(&token);
        assert!(sessions.who(&token, now).is_none());
        let mut headers = HeaderMap::new();
        headers.append("cookie", "kiln_1=other; kiln_11200=abc".parse().unwrap());
        assert_eq!(cookie(&headers, 11_200).unwrap(), "abc");
        assert_eq!(cookie(&headers, 2), None);
    }
}
