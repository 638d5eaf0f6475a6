//! Takes an output away that somebody wants gone: what Kiln has built is removed, anything else is kept. Knows no recipes.

use std::fs;
use std::io;
use std::path::Path;

use crate::base::digest::Digest;
use crate::base::file::Memory;
use crate::base::job::JobId;
use crate::engine::local::digest::Digester;
use crate::engine::local::keep::keep;
use crate::engine::local::met::holds_root;
use crate::files::remove;
use crate::pipeline::paths::REPLACED;

/// Takes what stands at `path` away. `is_built` says whether Kiln has built that content there; where it has not, it is kept
/// with what runs replace, under `id`. Returns where that is.
pub(crate) fn clear(
    root: &Path,
    id: &JobId,
    path: &str,
    is_built: impl FnOnce(Digest) -> bool,
) -> io::Result<Option<String>> {
    let from = root.join(path);
    if from.symlink_metadata().is_err() {
        return Ok(None);
    }
    // It is looked at where nobody finds it any more: what is written to the path from now on is not taken away with it.
    let kept = keep(root, id, &from, path)?.kept;
    let full = root.join(&kept);
    let now = Digester::new(root, Box::new(Memory::default())).lying(&full, path);
    let is_link = full.is_symlink();
    if is_link || holds_root(&full) || !now.is_some_and(is_built) {
        return Ok(Some(kept));
    }
    remove(&full)?;
    // Those that were made for it go too, as far as nothing else is kept there.
    let all = root.join(REPLACED);
    let above = full.ancestors().skip(1).take_while(|above| *above != all && above.starts_with(&all));
    above.take_while(|above| fs::remove_dir(above).is_ok()).for_each(drop);
    Ok(None)
}
