//! What an engine saw: contents of nodes, of files, of the environment, and what tools print. Does not know how it looked.

use std::collections::{HashMap, HashSet};
use std::ops::Index;

use crate::base::digest::Digest;
use crate::base::id::{DenseMap, NodeId, RecipeId};

/// What is there now. An engine fills in what the wanted steps need.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it looked.
    pub now: jiff::Timestamp,
    /// Whether the engine decides by itself what is out of date, when it is asked to build.
    pub asks: bool,
    /// The steps that are known to be as they were when they were found up to date. Nothing else is filled in for them.
    pub settled: DenseMap<RecipeId, bool>,
    /// What is needed to look at a step and is not there, for people: of such a step nothing else is to be trusted.
    pub unseen: HashMap<RecipeId, Vec<String>>,
    /// Why outputs could not be asked for that count as missing: they may be there all the same. None of a step that is built only
    /// where an output is missing.
    pub unasked: HashMap<NodeId, String>,
    /// The outputs in which a pipeline has its root: what that keeps there is not to be lost with them.
    pub roots: HashSet<NodeId>,
    /// Where outputs lie with the links above them followed, relative to the root, where there are any.
    pub reals: HashMap<NodeId, String>,
    /// The content of each node.
    pub nodes: DenseMap<NodeId, Content>,
    /// What each recipe is made from besides its inputs.
    pub recipes: AllOwn,
}

/// The content of a node as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing is there.
    Missing,
    /// This.
    Is(Digest),
    /// It cannot be seen: what the last good build recorded counts.
    AsRecorded,
    /// It could be asked for, and was not.
    NotProbed,
}

/// What a recipe is made from besides its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnFacts {
    /// The files of `files`, globs resolved, sorted by path.
    pub files: Vec<(String, Digest)>,
    /// What each tool prints; none where it was not asked.
    pub tools: Vec<(String, Option<String>)>,
    /// The variables of `env` with their values.
    pub env: Vec<(String, String)>,
}

/// What each recipe is made from besides its inputs: for most that is nothing.
#[derive(Clone, Debug)]
pub struct AllOwn {
    some: DenseMap<RecipeId, Option<Box<OwnFacts>>>,
}

/// What a recipe is made from that is made from its inputs alone.
const NOTHING: &OwnFacts = &OwnFacts { files: Vec::new(), tools: Vec::new(), env: Vec::new() };

impl AllOwn {
    /// Says what a recipe is made from.
    pub fn set(&mut self, id: RecipeId, own: OwnFacts) {
        self.some[id] = (own != *NOTHING).then(|| Box::new(own));
    }
}

impl Index<RecipeId> for AllOwn {
    type Output = OwnFacts;
    fn index(&self, id: RecipeId) -> &OwnFacts {
        self.some[id].as_deref().unwrap_or(NOTHING)
    }
}

impl Facts {
    /// Facts of which nothing was seen yet.
    #[must_use]
    pub fn unseen(now: jiff::Timestamp, nodes: usize, recipes: usize) -> Self {
        Self {
            now,
            asks: false,
            settled: DenseMap::filled(recipes, false),
            unseen: HashMap::new(),
            unasked: HashMap::new(),
            roots: HashSet::new(),
            reals: HashMap::new(),
            nodes: DenseMap::filled(nodes, Content::Missing),
            recipes: AllOwn { some: DenseMap::filled(recipes, None) },
        }
    }
}
