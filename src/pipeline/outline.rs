//! What is asked about all steps of a pipeline at once: what makes and reads what, and a few marks. An image holds it apart, so
//! that the rest of it is read for few. Does not know what is asked for.

use std::io::{ErrorKind, Result, Write as _};

use crate::base::id::{Id as _, NodeId, RecipeId};
use crate::pipeline::types::{Node, Rebuild, Recipe};

/// It has something to run.
const RUNS: u8 = 1;
/// It is built only where it is a target itself.
const EXPLICIT: u8 = 2;
/// It has secrets.
const SECRETS: u8 = 4;

/// No recipe makes a node of this maker.
const NONE: u32 = u32::MAX;

/// The outline of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// What makes each node.
    makers: Vec<u32>,
    /// Where the inputs of each recipe begin, and where the last ones end.
    begins: Vec<u32>,
    inputs: Vec<u32>,
    marks: Vec<u8>,
}

impl Outline {
    /// The outline of these.
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Node>, recipes: impl Iterator<Item = &'a Recipe>) -> Self {
        let makers = nodes.map(|node| node.maker.map_or(NONE, |maker| number(maker.index()))).collect();
        let mut outline = Self { makers, begins: vec![0], ..Self::default() };
        for recipe in recipes {
            outline.inputs.extend(recipe.inputs.iter().map(|node| number(node.index())));
            outline.begins.push(number(outline.inputs.len()));
            let marks = [
                (recipe.run.is_some(), RUNS),
                (recipe.rebuild == Rebuild::Explicit, EXPLICIT),
                (!recipe.how.secrets.is_empty(), SECRETS),
            ];
            outline.marks.push(marks.iter().filter(|(is, _)| *is).map(|(_, mark)| mark).sum());
        }
        outline
    }

    /// What makes a node.
    #[must_use]
    pub fn maker(&self, node: NodeId) -> Option<RecipeId> {
        let maker = self.makers[node.index()];
        (maker != NONE).then(|| RecipeId::from_index(maker as usize))
    }

    /// What a recipe reads.
    pub fn inputs(&self, recipe: RecipeId) -> impl Iterator<Item = NodeId> {
        let at = |i: usize| self.begins[i] as usize;
        let inputs = &self.inputs[at(recipe.index())..at(recipe.index() + 1)];
        inputs.iter().map(|node| NodeId::from_index(*node as usize))
    }

    /// Whether a recipe has something to run.
    #[must_use]
    pub fn runs(&self, recipe: RecipeId) -> bool {
        self.marks[recipe.index()] & RUNS != 0
    }

    /// Whether a recipe is built only where it is a target itself.
    #[must_use]
    pub fn is_explicit(&self, recipe: RecipeId) -> bool {
        self.marks[recipe.index()] & EXPLICIT != 0
    }

    /// The recipes that have secrets.
    pub fn with_secrets(&self) -> impl Iterator<Item = RecipeId> {
        self.recipes().filter(|id| self.marks[id.index()] & SECRETS != 0)
    }

    /// All recipes.
    pub fn recipes(&self) -> impl Iterator<Item = RecipeId> + use<> {
        (0..self.marks.len()).map(RecipeId::from_index)
    }

    /// Puts it into the bytes of an image.
    pub(super) fn write(&self, to: &mut Vec<u8>) -> Result<()> {
        for numbers in [&self.makers, &self.begins, &self.inputs] {
            to.extend(number(numbers.len()).to_le_bytes());
            to.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        to.write_all(&self.marks)
    }

    /// The one that was written, where it is that of so many nodes and recipes.
    pub(super) fn read(mut from: &[u8], nodes: usize, recipes: usize) -> Result<Self> {
        let mut numbers = || {
            let (len, rest) = from.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest))?;
            let (numbers, rest) = rest.split_at_checked(len.checked_mul(4)?)?;
            from = rest;
            let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
            numbers.chunks_exact(4).map(number).collect::<Option<Vec<_>>>()
        };
        let (makers, begins, inputs) = (numbers(), numbers(), numbers());
        let outline = Self {
            makers: makers.ok_or(ErrorKind::InvalidData)?,
            begins: begins.ok_or(ErrorKind::InvalidData)?,
            inputs: inputs.ok_or(ErrorKind::InvalidData)?,
            marks: from.to_vec(),
        };
        let Self { makers, begins, inputs, marks } = &outline;
        let is_sound = makers.len() == nodes
            && marks.len() == recipes
            && begins.len() == recipes + 1
            && begins.is_sorted()
            && begins.last().is_some_and(|end| *end as usize == inputs.len())
            && inputs.iter().all(|node| (*node as usize) < nodes)
            && makers.iter().all(|maker| *maker == NONE || (*maker as usize) < recipes);
        if is_sound { Ok(outline) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).expect("a file under 64 MiB has fewer than 2^32 inputs")
}

/// Whose a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node that lies there.
    Node(NodeId),
    /// A recipe that names it among its `files`.
    Recipe(RecipeId),
}

/// The paths of a pipeline: those of nodes, then those of `files`; of each its kind, its owner, its length, and its letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    bytes: Vec<u8>,
}

/// The bytes before the letters of a path.
const BEFORE: usize = 1 + 4 + 4;

impl Paths {
    /// The paths of these.
    pub(super) fn of<'a>(
        nodes: impl Iterator<Item = (NodeId, &'a Node)>,
        recipes: impl Iterator<Item = (RecipeId, &'a Recipe)>,
    ) -> Self {
        let mut bytes = Vec::new();
        let mut add = |kind: u8, owner: usize, path: &str| {
            bytes.push(kind);
            bytes.extend(number(owner).to_le_bytes());
            bytes.extend(number(path.len()).to_le_bytes());
            bytes.extend(path.as_bytes());
        };
        nodes.for_each(|(id, node)| node.path.iter().for_each(|path| add(0, id.index(), path)));
        recipes.for_each(|(id, recipe)| recipe.files.iter().for_each(|(path, _)| add(1, id.index(), path)));
        Self { bytes }
    }

    /// Its bytes in an image.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Those that were written.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let paths = Self { bytes: bytes.to_vec() };
        let read: usize = paths.iter().map(|(_, path)| BEFORE + path.len()).sum();
        if read == bytes.len() { Ok(paths) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Owner, &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (kind, behind) = rest.split_first()?;
            let (owner, behind) = behind.split_first_chunk()?;
            let (length, behind) = behind.split_first_chunk()?;
            let (path, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            let owner = u32::from_le_bytes(*owner) as usize;
            let owner = match kind {
                0 => Owner::Node(NodeId::from_index(owner)),
                _ => Owner::Recipe(RecipeId::from_index(owner)),
            };
            Some((owner, path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_no_outline() {
        let outline =
            Outline { makers: vec![NONE, 0, 1], begins: vec![0, 1, 3], inputs: vec![0, 0, 1], marks: vec![RUNS, 7] };
        let mut bytes = Vec::new();
        outline.write(&mut bytes).unwrap();
        assert_eq!(Outline::read(&bytes, 3, 2).unwrap(), outline);
        for length in 0..bytes.len() {
            assert!(Outline::read(&bytes[..length], 3, 2).is_err(), "cut at {length}");
        }
        assert!(Outline::read(&bytes, 2, 2).is_err() && Outline::read(&bytes, 3, 3).is_err());
        let other = Outline { inputs: vec![0, 0, 3], ..outline };
        bytes.clear();
        other.write(&mut bytes).unwrap();
        assert!(Outline::read(&bytes, 3, 2).is_err(), "there is no such node");
    }
}
