//! The names of the steps of a run, cut to the room there is. Does not know where they are shown.

use std::cell::RefCell;
use std::collections::HashMap;

use super::line::columns;
use crate::base::cut::{distinct, shorten};

/// Names that are shown together.
#[derive(Debug, Default)]
pub(crate) struct Names {
    all: Vec<String>,
    longest: usize,
    /// Those that are cut, by the room for them: they are asked for with each line, and the room changes rarely.
    cut: RefCell<HashMap<usize, HashMap<String, String>>>,
}

impl Names {
    pub(crate) fn new(all: Vec<String>) -> Self {
        let longest = all.iter().map(|name| columns(name)).max().unwrap_or_default();
        Self { all, longest, cut: RefCell::default() }
    }

    /// How many columns the longest one takes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// A name in so many columns: two that differ are shown as two.
    pub(crate) fn cut(&self, name: &str, room: usize) -> String {
        if columns(name) <= room {
            return name.to_owned();
        }
        let mut cut = self.cut.borrow_mut();
        let cut = cut.entry(room).or_insert_with(|| distinct(self.all.iter().map(String::as_str), room));
        cut.get(name).cloned().unwrap_or_else(|| shorten(name, room))
    }
}
