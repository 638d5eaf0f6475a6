//! Of which state the runs are whose folders lie in the staging folder of a root: only a run with that state knows what they had
//! done. Does not know what is in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::local::leftovers::folders;
use crate::engine::local::staging::Staging;
use crate::files::remove;
use crate::pipeline::paths::OWN;
use crate::store::FILE;

/// The file of a run with the path of its state. A run whose state is that of the root has none.
const STATE: &str = "state";

impl Staging {
    /// For runs with this state.
    pub(super) fn of_state(mut self, state: &Path) -> Self {
        self.state = Some(state.to_owned());
        self
    }

    /// The state, where it is another one than that of the root.
    fn other_state(&self) -> Option<PathBuf> {
        // Before the first run it is not there yet.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let state = real(self.state.as_ref()?);
        (state != real(&self.root.join(OWN))).then_some(state)
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

    /// The folder of a run that died and is of another state, which is still there, and that state.
    pub(super) fn left_by_other(&self) -> io::Result<Option<(String, PathBuf)>> {
        let own = self.other_state();
        for run in folders(&self.root.join(&self.folder))? {
            let its = match fs::read(run.join(STATE)) {
                Ok(state) => Some(PathBuf::from(OsStr::from_bytes(&state))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let state = its.clone().unwrap_or_else(|| self.root.join(OWN));
            if its != own && state.join(FILE).exists() && !folders(&run)?.is_empty() {
                let folder = run.strip_prefix(&self.root).unwrap_or(&run).display().to_string();
                return Ok(Some((folder, state)));
            }
        }
        Ok(None)
    }
}
