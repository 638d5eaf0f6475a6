//! Finds many patterns in one pass (Aho and Corasick). Knows no secrets.

/// A tree of patterns. A state is the longest end of what was read that is the beginning of a pattern.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    first: [u32; 256],
}

#[derive(Debug, Default)]
struct Node {
    next: Vec<(u8, u32)>,
    /// The state for the longest shorter end.
    shorter: u32,
    depth: u32,
    /// The length of the longest pattern that ends here.
    ends: u32,
}

/// Nothing was read that matters.
pub(super) const ROOT: u32 = 0;

impl Trie {
    pub(super) fn new(patterns: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut trie = Self { nodes: vec![Node::default()], first: [ROOT; 256] };
        for pattern in patterns {
            trie.add(&pattern);
        }
        trie.link();
        trie
    }

    fn add(&mut self, pattern: &[u8]) {
        let mut at = ROOT;
        for (depth, byte) in (1..).zip(pattern) {
            at = match self.child(at, *byte) {
                Some(next) => next,
                None => {
                    let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
                    self.nodes.push(Node { depth, ..Node::default() });
                    self.nodes[at as usize].next.push((*byte, next));
                    if at == ROOT {
                        self.first[usize::from(*byte)] = next;
                    }
                    next
                }
            };
        }
        let node = &mut self.nodes[at as usize];
        node.ends = node.depth;
    }

    /// Finds the shorter ends of all states, the shorter ones first.
    fn link(&mut self) {
        let mut order: Vec<u32> = self.nodes[0].next.iter().map(|(_, next)| *next).collect();
        let mut i = 0;
        while let Some(&at) = order.get(i) {
            for (byte, next) in self.nodes[at as usize].next.clone() {
                let shorter = self.step(self.nodes[at as usize].shorter, byte);
                let ends = self.nodes[shorter as usize].ends;
                let node = &mut self.nodes[next as usize];
                node.shorter = shorter;
                node.ends = node.ends.max(ends);
                order.push(next);
            }
            i += 1;
        }
    }

    fn child(&self, at: u32, byte: u8) -> Option<u32> {
        if at == ROOT {
            return Some(self.first[usize::from(byte)]).filter(|next| *next != ROOT);
        }
        self.nodes[at as usize].next.iter().find(|(other, _)| *other == byte).map(|(_, next)| *next)
    }

    /// The state after one more byte.
    pub(super) fn step(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.child(at, byte) {
                Some(next) => return next,
                None if at == ROOT => return ROOT,
                None => at = self.nodes[at as usize].shorter,
            }
        }
    }

    /// How many bytes a state stands for.
    pub(super) fn depth(&self, at: u32) -> usize {
        self.nodes[at as usize].depth as usize
    }

    /// The length of the longest pattern that ends with a state; 0 for none.
    pub(super) fn ends(&self, at: u32) -> usize {
        self.nodes[at as usize].ends as usize
    }
}
