//! Of which state the runs are whose folders lie in the staging folder of a root: only a run with that state knows what they had
//! done. Does not know what is in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::local::aside::is_told;
use crate::engine::local::leftovers::folders;
use crate::engine::local::staging::Staging;
use crate::files::remove;
use crate::pipeline::paths::OWN;
use crate::store::{FILE, is_same};

/// The file of a run with the path of its state. A run whose state is that of the root has none. No step is called so.
const STATE: &str = "its-state";

impl Staging {
    /// For runs with this state.
    pub(super) fn of_state(mut self, state: &Path) -> Self {
        self.state = Some(state.to_owned());
        self
    }

    /// The state, where it is another one than that of the root.
    fn other_state(&self) -> Option<PathBuf> {
        let state = self.state.as_ref().filter(|state| !is_same(state, &self.root.join(OWN)))?;
        Some(state.canonicalize().unwrap_or_else(|_| state.clone()))
    }

    /// Says in the folder of a run which state it is of.
    pub(super) fn mark(&self, run: &Path) -> io::Result<()> {
        let Some(state) = self.other_state() else { return Ok(()) };
        let mut file = File::create(run.join(STATE))?;
        file.write_all(state.as_os_str().as_bytes())?;
        file.sync_all()
    }

    /// The run is over, and nothing is left of it.
    pub(super) fn forget_mark(run: &Path) {
        if folders(run).is_ok_and(|left| left.is_empty()) {
            // Whoever finds it alone takes it away.
            drop(remove(&run.join(STATE)));
        }
    }

    /// The folder of a run that died and is of another state, and that state. One that cannot be seen from here may be there: only
    /// of that of the root it is known that it has gone.
    pub(super) fn left_by_other(&self) -> io::Result<Option<(String, PathBuf)>> {
        let root = self.root.join(OWN);
        let own = self.state.as_ref().unwrap_or(&root);
        for run in folders(&self.root.join(&self.folder))? {
            let its = match fs::read(run.join(STATE)) {
                Ok(state) => Some(PathBuf::from(OsStr::from_bytes(&state))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    let its = run.join(STATE);
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", its.display())));
                }
            };
            let is_gone = its.is_none() && !root.join(FILE).try_exists()?;
            let state = its.unwrap_or_else(|| root.clone());
            if is_gone || is_same(&state, own) {
                continue;
            }
            let open = folders(&run)?.iter().map(|step| is_told(step)).collect::<io::Result<Vec<_>>>()?;
            if open.contains(&false) {
                let folder = run.strip_prefix(&self.root).unwrap_or(&run).display().to_string();
                return Ok(Some((folder, state)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_state_left_is_told_unless_all_of_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let of = |state: &str| Staging::new(dir.path(), "p").of_state(&at(state));
        let left = |state: &str| of(state).left_by_other().unwrap();
        // A step may be called so.
        for step in ["state", "its_state"] {
            fs::create_dir_all(at(&format!(".kiln/staging/p/run/{step}"))).unwrap();
        }
        let run = at(".kiln/staging/p/run");
        assert_eq!((left(".kiln"), left("far")), (None, None), "the root has no state");
        fs::write(at(".kiln").join(FILE), "").unwrap();
        let folder = ".kiln/staging/p/run".to_owned();
        assert_eq!((left(".kiln"), left("far")), (None, Some((folder.clone(), at(".kiln")))));
        // Neither state is there: they are two all the same.
        of("far").mark(&run).unwrap();
        let its = Some((folder, at("far")));
        assert_eq!((left("far"), left("near"), left(".kiln")), (None, its.clone(), its.clone()));
        Staging::forget_mark(&run);
        assert_eq!(left("near"), its, "something is left");
        let list = |told: bool| format!(r#"[{{"path":"a","kept":null,"told":{told}}}]"#);
        for step in ["state", "its_state"] {
            assert_eq!(left("near"), its);
            fs::write(run.join(step).join("aside.json"), list(false)).unwrap();
            assert_eq!(left("near"), its);
            fs::write(run.join(step).join("aside.json"), list(true)).unwrap();
        }
        assert_eq!(left("near"), None);
        fs::remove_file(run.join(STATE)).unwrap();
        fs::create_dir(run.join(STATE)).unwrap();
        let said = of("near").left_by_other().unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}: ", run.join(STATE).display())), "{said}");
    }
}
