//! Where links in what steps read lead: not to what recipes make, for then nobody knows that it is made first. Does not read what
//! is there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::base::span::{Problem, Problems};
use crate::engine::local::Local;
use crate::files::tree;
use crate::pipeline::paths::{OWN, ancestors, is_glob};

/// What recipes make below a root. It is asked for where there is a link.
pub(super) struct Built {
    real_root: LazyLock<PathBuf, Box<dyn FnOnce() -> PathBuf + Send>>,
    paths: LazyLock<BTreeSet<String>, Box<dyn FnOnce() -> BTreeSet<String> + Send>>,
}

impl Built {
    pub(super) fn new(root: &Path, paths: impl FnOnce() -> BTreeSet<String> + Send + 'static) -> Self {
        let root = root.to_owned();
        let real_root = move || root.canonicalize().unwrap_or(root);
        Self { real_root: LazyLock::new(Box::new(real_root)), paths: LazyLock::new(Box::new(paths)) }
    }

    /// Refuses a link that leads to what is made, or to what holds that.
    pub(super) fn refuse(&self, link: &Path) -> io::Result<()> {
        let Some(made) = self.behind(link) else { return Ok(()) };
        let name = link.file_name().unwrap_or_default().display();
        let why = match made {
            OWN => format!("the link `{name}` in it leads into {OWN}, which is for Kiln alone: remove it"),
            _ => format!(
                "the link `{name}` in it leads to where Kiln builds {made}: remove it, and make an input of what is read there"
            ),
        };
        Err(io::Error::other(why))
    }

    fn behind(&self, link: &Path) -> Option<&str> {
        if self.paths.is_empty() {
            return None;
        }
        let real = link.canonicalize().or_else(|_| ahead(link)).ok()?;
        // What is around the root is around all that is in it.
        let below =
            if self.real_root.starts_with(&real) { Path::new("") } else { real.strip_prefix(&*self.real_root).ok()? };
        let below = below.to_str()?;
        if below.split('/').any(|name| name == OWN) {
            return Some(OWN);
        }
        let around = ancestors(below).find_map(|path| self.paths.get(path));
        let inside = || match below {
            "" => self.paths.first(),
            _ => self.paths.range(format!("{below}/")..format!("{below}0")).next(),
        };
        around.or_else(inside).map(String::as_str)
    }
}

/// Where a link leads to what is not there yet.
fn ahead(link: &Path) -> io::Result<PathBuf> {
    let to = link.parent().unwrap_or(link).join(link.read_link()?);
    let there = to.ancestors().skip(1).find(|above| above.exists()).unwrap_or(&to);
    Ok(there.canonicalize()?.join(to.strip_prefix(there).unwrap_or(&to)))
}

/// What is wrong with the links in sources, and in folders that `files` names.
pub(super) fn check(local: &Local) -> Problems {
    let Local { pipeline, root, digester, .. } = local;
    let refused = |path: &str| {
        let full = root.join(path);
        let mut links = tree(&full).flatten().filter(|(_, metadata)| metadata.is_symlink());
        // A link in its own place leads to the folder itself.
        links.find_map(|(link, _)| if link == full { None } else { digester.built.refuse(&link).err() })
    };
    let sources = pipeline.nodes.values().filter(|node| node.maker.is_none()).filter_map(|node| {
        let why = refused(node.path.as_deref()?)?;
        Some(
            Problem::new("unreadable", format!("`{}` cannot be read: {why}", node.name))
                .at(&node.path_span, "this path"),
        )
    });
    let files = pipeline.recipes.values().flat_map(|recipe| &recipe.files).filter(|(file, _)| !is_glob(file));
    let files = files.filter_map(|(file, span)| {
        let problem = Problem::new("unreadable", format!("`{file}` of `files` cannot be read: {}", refused(file)?));
        Some(problem.at(span, "this path"))
    });
    sources.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_to_what_is_built_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["in", "out/d", "out-not", "other", ".kiln/logs"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("out/a"), "").unwrap();
        let built = Built::new(dir.path(), || ["out/a", "out/d", "out/none"].map(str::to_owned).into());
        for (to, made) in [
            ("../out/a", Some("out/a")),
            ("../out/d", Some("out/d")),
            ("../out", Some("out/a")),
            ("..", Some("out/a")),
            ("/", Some("out/a")),
            ("../.kiln/logs", Some(".kiln")),
            ("../out-not", None),
            ("../other", None),
            ("../out/none", Some("out/none")),
            ("../none/a", None),
        ] {
            symlink(to, at("in/link")).unwrap();
            assert_eq!(built.behind(&at("in/link")), made, "{to}");
            fs::remove_file(at("in/link")).unwrap();
        }
    }
}
