//! Browsers that are signed in. A link that works once, or a form, gives a cookie; the cookie stands for a key, for as long as
//! that is one. A server that begins anew knows them still: their hashes are kept in a file.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use crate::server::auth::Who;
use crate::server::auth::keys::{Keys, hash_text, random};
use crate::session::fail::Fail;

/// How long a browser stays signed in, in seconds.
const LASTS: i64 = 12 * 3_600;
/// So many browsers are signed in at most; the oldest goes.
const MOST: usize = 1_000;

/// The file in the state's folder.
const FILE: &str = "sessions.json";

/// The browsers that are signed in, by the hash of what their cookie says.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    /// Where they are kept, by one at a time.
    file: Mutex<Option<PathBuf>>,
    /// The hashes of the keys, by the names of these.
    keys: HashMap<String, String>,
}

/// A browser that is signed in, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The hash of what its cookie says.
    cookie: String,
    /// The hash of the key that it stands for. With another key of the same name it means nothing.
    key: String,
    since: jiff::Timestamp,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<String, (jiff::Timestamp, Who)>,
    link: Option<(String, Who)>,
}

impl Sessions {
    /// Those that are kept in a folder, as far as their keys are known.
    pub(crate) fn kept(folder: &Path, keys: &Keys) -> Self {
        let file = folder.join(FILE);
        // One that cannot be read knows nobody: whoever was signed in does so again.
        let kept: Vec<Kept> =
            fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let open =
            kept.into_iter().filter_map(|kept| Some((kept.cookie, (kept.since, keys.hashed(&kept.key)?.clone()))));
        let inner = Inner { open: open.collect(), link: None };
        Self { inner: Mutex::new(inner), file: Mutex::new(Some(file)), keys: keys.hashes().collect() }
    }

    /// Keeps those that are signed in. Where that cannot be, they are known until the server ends. Nobody who is asked who
    /// someone is waits for that.
    fn keep(&self) {
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(file) = &*file else { return };
        let kept = |(cookie, (since, who)): (&String, &(jiff::Timestamp, Who))| {
            Some(Kept { cookie: cookie.clone(), key: self.keys.get(&who.key)?.clone(), since: *since })
        };
        let all: Vec<Kept> = self.lock().open.iter().filter_map(kept).collect();
        let write = || {
            let (new, text) = (file.with_extension("new"), serde_json::to_vec(&all)?);
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            out.write_all(&text)?;
            fs::rename(&new, file)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "who is signed in cannot be kept");
        }
    }

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

    /// Signs a browser in. Returns what its cookie says. May block.
    pub(crate) fn open(&self, who: Who, now: jiff::Timestamp) -> Result<String, Fail> {
        let token = random()?;
        let mut inner = self.lock();
        inner.open.retain(|_, (since, _)| age(*since, now) < LASTS);
        while inner.open.len() >= MOST {
            let oldest = inner.open.iter().min_by_key(|(_, (since, _))| *since).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| inner.open.remove(&hash));
        }
        inner.open.insert(hash_text(&token), (now, who));
        drop(inner);
        self.keep();
        Ok(token)
    }

    /// Whose browser this is.
    pub(crate) fn who(&self, token: &str, now: jiff::Timestamp) -> Option<Who> {
        let inner = self.lock();
        let (since, who) = inner.open.get(&hash_text(token))?;
        (age(*since, now) < LASTS).then(|| who.clone())
    }

    /// Signs a browser out. May block.
    pub(crate) fn close(&self, token: &str) {
        let was_in = self.lock().open.remove(&hash_text(token)).is_some();
        if was_in {
            self.keep();
        }
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
    fn a_server_that_begins_anew_knows_its_browsers_by_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        let now = crate::clock::now();
        let (keys, others) = (Keys::one("a key for the tests"), Keys::one("another key for tests"));
        let sessions = Sessions::kept(dir.path(), &keys);
        let (stays, goes) = (sessions.open(who(), now).unwrap(), sessions.open(who(), now).unwrap());
        sessions.close(&goes);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains(&stays) && !text.contains("a key for"), "{text}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.path().join(FILE)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let anew = Sessions::kept(dir.path(), &keys);
        assert!(anew.who(&stays, now).unwrap().admin && anew.who(&goes, now).is_none());
        assert!(anew.who(&stays, now + jiff::SignedDuration::from_secs(LASTS)).is_none());
        // A key of the same name that is another one is not what they signed in with.
        assert!(Sessions::kept(dir.path(), &others).who(&stays, now).is_none());
        fs::write(dir.path().join(FILE), "no list").unwrap();
        assert!(Sessions::kept(dir.path(), &keys).who(&stays, now).is_none());
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
