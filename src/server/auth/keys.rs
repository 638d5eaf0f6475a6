//! The keys that the server knows: those of a key file, or the one that it made for itself. Only their hashes are kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::Deserialize;

use crate::server::auth::{Right, Who};
use crate::session::fail::Fail;

/// The file of the key that the server made for itself, in the state's folder.
const FILE: &str = "api-key";
/// What the hashes of keys are derived for, so that they fit nowhere else.
const CONTEXT: &str = "kiln serve 2026-11-24 api keys";
/// How a hash begins in a key file.
const PREFIX: &str = "blake3:";
/// A key shorter than this can be guessed from its hash.
pub(crate) const SHORTEST: usize = 20;

/// The keys that are known.
#[derive(Debug)]
pub(crate) struct Keys {
    known: Vec<(blake3::Hash, Who)>,
    own: bool,
    /// Names under which the server may be asked besides its addresses.
    pub(crate) hosts: Vec<String>,
}

impl Keys {
    /// Who a key belongs to. Takes the same time whether and wherever it is known.
    pub(crate) fn who(&self, key: &str) -> Option<&Who> {
        let asked = hash(key);
        let mut found = None;
        for (known, who) in &self.known {
            // `blake3::Hash` compares in constant time.
            if *known == asked {
                found = Some(who);
            }
        }
        found
    }

    /// Who the key belongs to that the server made for itself.
    pub(crate) fn own(&self) -> Option<&Who> {
        self.own.then(|| self.known.first().map(|(_, who)| who)).flatten()
    }

    /// The one key that may do everything.
    pub(crate) fn one(key: &str) -> Self {
        let who = Who { key: "local".to_owned(), admin: true, rights: Vec::new() };
        Self { known: vec![(hash(key), who)], own: true, hosts: Vec::new() }
    }

    /// Reads a key file.
    pub(crate) fn read(path: &Path) -> Result<Self, Fail> {
        let wrong = |message: String| Fail::Usage(format!("{}: {message}", path.display()), Some(HELP.to_owned()));
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let file: KeyFile = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        if file.keys.is_empty() {
            return Err(wrong("it has no key".to_owned()));
        }
        let mut known: Vec<(blake3::Hash, Who)> = Vec::new();
        for (name, entry) in file.keys {
            let hash = entry.hash.strip_prefix(PREFIX).and_then(|hex| blake3::Hash::from_hex(hex).ok());
            let hash = hash.ok_or_else(|| wrong(format!("[keys.{name}] hash is none of `kiln serve --hash-key`")))?;
            if let Some((_, other)) = known.iter().find(|(other, _)| *other == hash) {
                return Err(wrong(format!("[keys.{name}] has the same key as [keys.{}]", other.key)));
            }
            known.push((hash, Who { key: name, admin: entry.admin, rights: entry.rights.into_iter().collect() }));
        }
        Ok(Self { known, own: false, hosts: file.hosts })
    }
}

const HELP: &str = "a key: [keys.ci], then hash = \"…\" (made by `kiln serve --hash-key`), rights = { ORDERS = [\"view\", \
                    \"run\", \"abort\", \"clear\"], \"*\" = [\"view\"] } or admin = true";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    keys: BTreeMap<String, KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    hash: String,
    #[serde(default)]
    rights: BTreeMap<String, Vec<Right>>,
    #[serde(default)]
    admin: bool,
}

fn hash(key: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, key.as_bytes()))
}

/// The hash of a key, as a key file has it.
pub(crate) fn hash_text(key: &str) -> String {
    format!("{PREFIX}{}", hash(key).to_hex())
}

/// A new secret: 256 bits of the system's randomness.
pub(crate) fn random() -> Result<String, Fail> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fail::Surroundings(format!("the system has no randomness: {error}")))?;
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
}

/// The key that the server made for itself; made now if there is none. Nobody else on the machine can read it.
pub(crate) fn own(state: &Path) -> Result<String, Fail> {
    let path = state.join(FILE);
    let cannot = |error: std::io::Error| Fail::Surroundings(format!("{}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= SHORTEST => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(cannot)?;
            return Ok(key.trim().to_owned());
        }
        Ok(_) => fs::remove_file(&path).map_err(cannot)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    let key = random()?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
    writeln!(file, "{key}").and_then(|()| file.sync_all()).map_err(cannot)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Keys, Fail> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, text).unwrap();
        Keys::read(&path)
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let text = format!(
            "hosts = [\"kiln.example\"]\n[keys.ci]\nhash = \"{}\"\nrights = {{ ORDERS = [\"run\"] }}\n[keys.boss]\nhash = \"{}\"\nadmin = true\n",
            hash_text("a key for the tests"),
            hash_text("another key for tests")
        );
        let keys = read(&text).unwrap();
        let ci = keys.who("a key for the tests").unwrap();
        assert_eq!((ci.key.as_str(), ci.admin), ("ci", false));
        assert!(ci.may(Right::Run, "ORDERS") && !ci.may(Right::View, "OTHER"));
        assert!(keys.who("another key for tests").unwrap().admin);
        assert!(keys.who("").is_none() && keys.who("A key for the tests").is_none());
        assert_eq!(keys.hosts, ["kiln.example"]);
    }

    #[test]
    fn mistakes_in_a_key_file_are_told() {
        let hash = hash_text("a key for the tests");
        for (text, part) in [
            ("".to_owned(), "it has no key"),
            ("[keys.a]\nhash = \"secret\"\n".to_owned(), "[keys.a] hash is none of"),
            (format!("[keys.a]\nhash = \"{hash}\"\n[keys.b]\nhash = \"{hash}\"\n"), "the same key as [keys.a]"),
            (format!("[keys.a]\nhash = \"{hash}\"\nright = {{}}\n"), "unknown field `right`"),
            (format!("[keys.a]\nhash = \"{hash}\"\nrights = {{ P = [\"all\"] }}\n"), "unknown variant `all`"),
        ] {
            let Err(Fail::Usage(message, Some(_))) = read(&text) else { panic!("{text}") };
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_own_key_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let key = own(dir.path()).unwrap();
        assert_eq!(key.len(), 64);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(own(dir.path()).unwrap(), key);
        fs::write(dir.path().join(FILE), "").unwrap();
        assert_ne!(own(dir.path()).unwrap(), key);
    }
}
