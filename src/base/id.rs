//! Ids as small integers and vectors indexed by them; does not know what the ids stand for.

use std::io::Read;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use borsh::BorshDeserialize;

/// An id that indexes a [`DenseMap`].
pub trait Id: Copy {
    /// Makes the id of position `index`.
    fn from_index(index: usize) -> Self;
    /// The position that the id stands for.
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, borsh::BorshSerialize, borsh::BorshDeserialize)]
        pub struct $name(u32);

        impl Id for $name {
            fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).expect("a file under 64 MiB has fewer than 2^32 items"))
            }
            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A node of a pipeline.
    NodeId;
    /// A recipe of a pipeline. Without partitions a recipe has one step, so this names steps too.
    RecipeId;
    /// A way in which recipes of a pipeline are run.
    WayId;
}

/// A vector indexed by an id type.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize)]
pub struct DenseMap<K, V> {
    items: Vec<V>,
    #[borsh(skip)]
    key: PhantomData<K>,
}

/// For so many values room is made at once, if a length says that there are as many: what is damaged may say anything.
const AT_ONCE: usize = 1 << 16;

impl<K, V: BorshDeserialize> BorshDeserialize for DenseMap<K, V> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let len = u32::deserialize_reader(reader)? as usize;
        // Values are large, and to move all of them each time there are twice as many takes longer than to read them.
        let mut items = Vec::with_capacity(len.min(AT_ONCE));
        for _ in 0..len {
            items.push(V::deserialize_reader(reader)?);
        }
        Ok(Self { items, key: PhantomData })
    }
}

impl<K, V> Default for DenseMap<K, V> {
    fn default() -> Self {
        Self { items: Vec::new(), key: PhantomData }
    }
}

impl<K: Id, V> DenseMap<K, V> {
    /// A map with `value` for each of `len` ids.
    pub fn filled(len: usize, value: V) -> Self
    where
        V: Clone,
    {
        Self { items: vec![value; len], key: PhantomData }
    }

    /// Adds a value and returns its id.
    pub fn push(&mut self, value: V) -> K {
        let id = K::from_index(self.items.len());
        self.items.push(value);
        id
    }

    /// Makes room for so many more values.
    pub fn reserve(&mut self, more: usize) {
        self.items.reserve(more);
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All ids in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = K> + use<K, V> {
        (0..self.items.len()).map(K::from_index)
    }

    /// All values in the order of their ids.
    pub fn values(&self) -> std::slice::Iter<'_, V> {
        self.items.iter()
    }

    /// All ids with their values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.items.iter().enumerate().map(|(i, v)| (K::from_index(i), v))
    }
}

impl<K: Id, V> FromIterator<V> for DenseMap<K, V> {
    fn from_iter<I: IntoIterator<Item = V>>(iter: I) -> Self {
        Self { items: iter.into_iter().collect(), key: PhantomData }
    }
}

impl<K: Id, V> Index<K> for DenseMap<K, V> {
    type Output = V;
    fn index(&self, id: K) -> &V {
        &self.items[id.index()]
    }
}

impl<K: Id, V> IndexMut<K> for DenseMap<K, V> {
    fn index_mut(&mut self, id: K) -> &mut V {
        &mut self.items[id.index()]
    }
}
