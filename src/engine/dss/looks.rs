//! Jobs that someone wants to know as they are now: each is asked for once for all who do, one at a time. Asks nobody itself.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use crate::engine::dss::asks::{Key, Looked};

/// Questions that wait for their turn.
#[derive(Default)]
pub(super) struct Looks {
    queue: VecDeque<Key>,
    replies: BTreeMap<Key, Vec<oneshot::Sender<Looked>>>,
    /// Whether one is on its way.
    on_its_way: bool,
}

impl Looks {
    /// Someone wants to know.
    pub(super) fn add(&mut self, key: Key, reply: oneshot::Sender<Looked>) {
        if !self.replies.contains_key(&key) {
            self.queue.push_back(key.clone());
        }
        self.replies.entry(key).or_default().push(reply);
    }

    /// The next job to ask for, unless one is on its way. What nobody wants to know any more is left out.
    pub(super) fn next(&mut self) -> Option<Key> {
        while !self.on_its_way {
            let key = self.queue.pop_front()?;
            if self.replies.get(&key).is_some_and(|replies| !replies.iter().all(oneshot::Sender::is_closed)) {
                self.on_its_way = true;
                return Some(key);
            }
            self.replies.remove(&key);
        }
        None
    }

    /// The answer came.
    pub(super) fn told(&mut self, key: &Key, looked: &Looked) {
        self.on_its_way = false;
        for reply in self.replies.remove(key).unwrap_or_default() {
            // Who asked may have found out by other ways.
            drop(reply.send(looked.clone()));
        }
    }
}
