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

    /// The names of the keys with their hashes.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = (String, String)> {
        self.known.iter().map(|(hash, who)| (who.key.clone(), hash.to_hex().to_string()))
    }

    /// Who the key of this hash belongs to.
    pub(crate) fn hashed(&self, hash: &str) -> Option<&Who> {
        let asked = blake3::Hash::from_hex(hash).ok()?;
        self.known.iter().find(|(known, _)| *known == asked).map(|(_, who)| who)
    }

    /// Who the key belongs to that the server made for itself.
    pub(crate) fn own(&self) -> Option<&Who> {
        self.own.then(|| self.known.first().map(|(_, who)| who)).flatten()
    }

    /// What is odd about the rights: these may be meant otherwise.
    pub(crate) fn doubts(&self, projects: &[String]) -> Vec<String> {
        let mut doubts = Vec::new();
        for (_, who) in &self.known {
            let name = &who.key;
            if !who.admin && who.rights.iter().all(|(_, rights)| rights.is_empty()) {
                doubts.push(format!("[keys.{name}] may do nothing: give it rights, or admin = true"));
            }
            let unknown = who.rights.iter().filter(|(key, _)| key != "*" && !projects.contains(key));
            doubts.extend(unknown.map(|(key, _)| format!("[keys.{name}] has rights on {key}, which is not served")));
        }
        doubts
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
        if let Some(host) = file.hosts.iter().find(|host| !is_host(host)) {
            let message =
                format!("hosts: `{}` is no name of a host; write it alone, as kiln.example.com", host.escape_default());
            return Err(wrong(message));
        }
        let mut known: Vec<(blake3::Hash, Who)> = Vec::new();
        for (name, entry) in file.keys {
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(wrong(format!("[keys.\"{}\"]: a name has no such signs", name.escape_default())));
            }
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

/// Whether it is a name or an address without anything around it.
fn is_host(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = address.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    address || (!text.is_empty() && text.bytes().all(name))
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

/// What is wrong with who may read and write a key file; what may be used all the same is returned.
///
/// # Errors
/// Everybody could give himself a key.
pub(crate) fn private(path: &Path) -> Result<Option<String>, Fail> {
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode() & 0o777);
    let (name, help) = (path.display(), format!("chmod 600 {}", path.display()));
    if mode & 0o002 != 0 {
        let message =
            format!("{name}: everybody on this machine can write it (mode {mode:04o}), and give himself a key");
        return Err(Fail::Usage(message, Some(help)));
    }
    let what = match (mode & 0o020, mode & 0o004) {
        (0, 0) => return Ok(None),
        (0, _) => "everybody on this machine can read which keys there are, what they may, and their hashes",
        _ => "others of its group can write it, and give themselves keys",
    };
    Ok(Some(format!("{name}: {what} (mode {mode:04o}): {help}")))
}

/// The key that the server made for itself; made now if there is none. Nobody else on the machine can read it. Also returns
/// what whoever starts the server should know about it.
pub(crate) fn own(state: &Path) -> Result<(String, Option<String>), Fail> {
    let path = state.join(FILE);
    let cannot = |error: std::io::Error| Fail::Surroundings(format!("{}: {error}", path.display()));
    let mut told = None;
    match fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= SHORTEST => {
            let mode = fs::metadata(&path).map_err(cannot)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(cannot)?;
                told = Some(format!(
                    "{}: others could read it until now (mode {mode:04o}): remove it and start anew to have another key",
                    path.display()
                ));
            }
            return Ok((key.trim().to_owned(), told));
        }
        Ok(key) => {
            let length = key.trim().chars().count();
            told = Some(format!(
                "{}: the key in it had {length} characters, at least {SHORTEST} are needed: another one stands there now",
                path.display()
            ));
            fs::remove_file(&path).map_err(cannot)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    let key = random()?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
    writeln!(file, "{key}").and_then(|()| file.sync_all()).map_err(cannot)?;
    Ok((key, told))
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
            ("hosts = [\"*\"]".to_owned(), "it has no key"),
            (format!("hosts = [\"*\"]\n[keys.a]\nhash = \"{hash}\"\n"), "hosts: `*` is no name of a host"),
            (format!("hosts = [\"http://x/\"]\n[keys.a]\nhash = \"{hash}\"\n"), "hosts: `http://x/` is no name"),
            (format!("hosts = [\"x:80\"]\n[keys.a]\nhash = \"{hash}\"\n"), "hosts: `x:80` is no name"),
            (format!("[keys.\"a\\nb\"]\nhash = \"{hash}\"\n"), "[keys.\"a\\nb\"]: a name has no such signs"),
            (format!("[keys.a]\nhash = \"{hash}\"\nright = {{}}\n"), "unknown field `right`"),
            (format!("[keys.a]\nhash = \"{hash}\"\nrights = {{ P = [\"all\"] }}\n"), "unknown variant `all`"),
        ] {
            let Err(Fail::Usage(message, Some(_))) = read(&text) else { panic!("{text}") };
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn rights_that_give_nothing_are_told() {
        let hashes = ["one key for the tests", "two key for the tests"].map(hash_text);
        let text = format!(
            "[keys.a]\nhash = \"{}\"\nrights = {{ P = [\"view\"], GONE = [\"run\"], \"*\" = [\"view\"] }}\n[keys.b]\nhash = \"{}\"\n",
            hashes[0], hashes[1]
        );
        let expected = [
            "[keys.a] has rights on GONE, which is not served",
            "[keys.b] may do nothing: give it rights, or admin = true",
        ];
        assert_eq!(read(&text).unwrap().doubts(&["P".to_owned()]), expected);
    }

    #[test]
    fn the_own_key_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (key, told) = own(dir.path()).unwrap();
        assert_eq!((key.len(), told), (64, None));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert_eq!(own(dir.path()).unwrap(), (key.clone(), None));
        // What others could read, and what is no key, is told.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (same, told) = own(dir.path()).unwrap();
        assert!(same == key && told.unwrap().contains("others could read it until now (mode 0644)"));
        assert_eq!(mode(), 0o600);
        fs::write(&path, "hunter2\n").unwrap();
        let (other, told) = own(dir.path()).unwrap();
        assert!(other != key && other.len() == 64);
        assert!(told.unwrap().contains("the key in it had 7 characters, at least 20 are needed"));
    }

    #[test]
    fn a_key_file_that_others_can_write_or_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, "").unwrap();
        let with = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            private(&path)
        };
        for mode in [0o600, 0o400, 0o640] {
            assert_eq!(with(mode).unwrap(), None, "{mode:o}");
        }
        assert!(with(0o644).unwrap().unwrap().contains("everybody on this machine can read which keys there are"));
        assert!(with(0o660).unwrap().unwrap().contains("others of its group can write it"));
        for mode in [0o666, 0o602, 0o777] {
            let Err(Fail::Usage(message, Some(help))) = with(mode) else { panic!("{mode:o}") };
            assert!(message.contains("everybody on this machine can write it") && help.starts_with("chmod 600 "));
        }
    }
}
