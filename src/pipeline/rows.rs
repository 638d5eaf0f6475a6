//! Values by their ids that are all there, or lie in an image of a pipeline and are read when they are asked for: of a long file
//! mostly few are. Does not know what the values are.

use std::fmt;
use std::io::{ErrorKind, Result};
use std::ops::{Deref, DerefMut, Index, IndexMut, Range};
use std::sync::{Arc, OnceLock};

use crate::base::id::{DenseMap, Id};

/// The bytes of an image, from the first.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Reads one value and moves on behind it.
type Read<V> = Arc<dyn Fn(&mut &[u8]) -> Result<V> + Send + Sync>;

/// So many values are read from an image at once.
const AT_ONCE: usize = 16;

/// What a reader that comes upon other bytes than were written says: their checksum was right.
const SOUND: &str = "an image holds what was written";

/// Values by id. Those of an image cannot be told from those that were made.
#[derive(Clone)]
pub struct Rows<K, V> {
    there: DenseMap<K, V>,
    stored: Option<Stored<V>>,
}

/// Values that lie in an image, a few together in each block.
#[derive(Clone)]
struct Stored<V> {
    bytes: Bytes,
    /// Where each block begins, and where the last one ends.
    begins: Vec<usize>,
    len: usize,
    read: Read<V>,
    blocks: Vec<OnceLock<Box<[V]>>>,
}

impl<V> Stored<V> {
    fn block(&self, block: usize) -> Result<Box<[V]>> {
        let mut rest = &self.bytes.as_ref().as_ref()[self.begins[block]..self.begins[block + 1]];
        let count = AT_ONCE.min(self.len - block * AT_ONCE);
        let values = (0..count).map(|_| (self.read)(&mut rest)).collect::<Result<Box<_>>>()?;
        if rest.is_empty() { Ok(values) } else { Err(ErrorKind::InvalidData.into()) }
    }

    fn get(&self, index: usize) -> &V {
        let block = self.blocks[index / AT_ONCE].get_or_init(|| self.block(index / AT_ONCE).expect(SOUND));
        &block[index % AT_ONCE]
    }
}

impl<K: Id, V> Rows<K, V> {
    /// The values that [`write()`] has put into this part of an image. Reads none yet.
    pub(super) fn stored(
        bytes: &Bytes,
        part: Range<usize>,
        read: impl Fn(&mut &[u8]) -> Result<V> + Send + Sync + 'static,
    ) -> Result<Self> {
        let rest = (**bytes).as_ref().get(part.clone()).ok_or(ErrorKind::InvalidData)?;
        let number = |at: usize| Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?) as usize);
        let len = number(0).ok_or(ErrorKind::InvalidData)?;
        let blocks = len.div_ceil(AT_ONCE);
        let first = part.start + 4 * (blocks + 2);
        let begins: Option<Vec<_>> = (0..=blocks).map(|i| Some(first + number(4 * (i + 1))?)).collect();
        let begins = begins.filter(|begins| begins.is_sorted() && begins.last() == Some(&part.end));
        let begins = begins.ok_or(ErrorKind::InvalidData)?;
        let blocks = (0..blocks).map(|_| OnceLock::new()).collect();
        let stored = Stored { bytes: Arc::clone(bytes), begins, len, read: Arc::new(read), blocks };
        Ok(Self { there: DenseMap::default(), stored: Some(stored) })
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.as_ref().map_or_else(|| self.there.len(), |stored| stored.len)
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = K> + use<K, V> {
        (0..self.len()).map(K::from_index)
    }

    /// All values in the order of their ids. Of an image it reads all.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        (0..self.len()).map(|i| self.at(i))
    }

    /// All ids with their values. Of an image it reads all.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        (0..self.len()).map(|i| (K::from_index(i), self.at(i)))
    }

    /// Adds a value and returns its id.
    pub fn push(&mut self, value: V) -> K {
        self.all().push(value)
    }

    /// Makes room for so many more values.
    pub fn reserve(&mut self, more: usize) {
        self.all().reserve(more);
    }

    fn at(&self, index: usize) -> &V {
        match &self.stored {
            None => &self.there[K::from_index(index)],
            Some(stored) => stored.get(index),
        }
    }

    /// All values, where they can be changed.
    fn all(&mut self) -> &mut DenseMap<K, V> {
        if let Some(stored) = self.stored.take() {
            let blocks = (0..stored.blocks.len()).flat_map(|block| stored.block(block).expect(SOUND));
            self.there = blocks.collect();
        }
        &mut self.there
    }
}

/// Puts values into the bytes of an image.
pub(super) fn write<V>(
    to: &mut Vec<u8>,
    values: impl Iterator<Item = V>,
    put: impl Fn(&V, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let (mut body, mut begins, mut len) = (Vec::new(), Vec::new(), 0);
    for value in values {
        if len % AT_ONCE == 0 {
            begins.push(body.len());
        }
        put(&value, &mut body)?;
        len += 1;
    }
    begins.push(body.len());
    for number in std::iter::once(len).chain(begins) {
        to.extend(u32::try_from(number).map_err(|_| ErrorKind::FileTooLarge)?.to_le_bytes());
    }
    to.extend(body);
    Ok(())
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { there: DenseMap::default(), stored: None }
    }
}

impl<K: Id, V: fmt::Debug> fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<K: Id, V> Index<K> for Rows<K, V> {
    type Output = V;
    fn index(&self, id: K) -> &V {
        self.at(id.index())
    }
}

impl<K: Id, V> IndexMut<K> for Rows<K, V> {
    fn index_mut(&mut self, id: K) -> &mut V {
        &mut self.all()[id]
    }
}

/// One value that is there, or lies in an image and is read when it is asked for.
#[derive(Clone)]
pub struct Late<T> {
    value: OnceLock<T>,
    read: Option<Arc<dyn Fn() -> Result<T> + Send + Sync>>,
}

impl<T: Default> Late<T> {
    /// A value that is read like this.
    pub(super) fn stored(read: impl Fn() -> Result<T> + Send + Sync + 'static) -> Self {
        Self { value: OnceLock::new(), read: Some(Arc::new(read)) }
    }

    fn value(&self) -> &T {
        self.value.get_or_init(|| self.read.as_ref().map_or_else(T::default, |read| read().expect(SOUND)))
    }
}

impl<T: Default> Default for Late<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), read: None }
    }
}

impl<T: Default> Deref for Late<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value()
    }
}

impl<T: Default> DerefMut for Late<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value();
        self.value.get_mut().expect("it was just made")
    }
}

impl<T: Default + fmt::Debug> fmt::Debug for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use borsh::{BorshDeserialize as _, BorshSerialize as _};

    use super::*;
    use crate::base::id::NodeId;

    /// An image with so many numbers between other bytes, where they lie, and a count of those that are read of it.
    fn stored(count: u32) -> (Rows<NodeId, u32>, Arc<AtomicUsize>) {
        let mut bytes = b"before".to_vec();
        let begin = bytes.len();
        write(&mut bytes, 0..count, |value, to| value.serialize(to)).unwrap();
        let part = begin..bytes.len();
        bytes.extend(b"behind");
        let (bytes, reads): (Bytes, _) = (Arc::new(bytes), Arc::<AtomicUsize>::default());
        for end in begin..part.end {
            assert!(Rows::<NodeId, u32>::stored(&bytes, begin..end, u32::deserialize).is_err(), "cut at {end}");
        }
        let counted = Arc::clone(&reads);
        let read = move |from: &mut &[u8]| {
            counted.fetch_add(1, Ordering::Relaxed);
            u32::deserialize(from)
        };
        (Rows::stored(&bytes, part, read).unwrap(), reads)
    }

    #[test]
    fn only_what_is_asked_for_is_read() {
        let (rows, reads) = stored(100);
        assert_eq!((rows.len(), reads.load(Ordering::Relaxed)), (100, 0));
        for _ in 0..2 {
            assert_eq!([rows[NodeId::from_index(40)], rows[NodeId::from_index(33)]], [40, 33]);
            assert_eq!(reads.load(Ordering::Relaxed), AT_ONCE);
        }
        assert!(rows.values().copied().eq(0..100));
        assert_eq!(reads.load(Ordering::Relaxed), 100);
        assert!(stored(0).0.is_empty());
    }

    #[test]
    fn what_lies_in_an_image_can_be_changed() {
        let (mut rows, _) = stored(20);
        rows[NodeId::from_index(19)] = 7;
        assert_eq!(rows.push(8), NodeId::from_index(20));
        assert!(rows.values().copied().eq((0..19).chain([7, 8])));
    }

    #[test]
    fn a_late_value_is_read_once() {
        let reads = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&reads);
        let mut late = Late::stored(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(vec![1])
        });
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        late.push(2);
        assert_eq!((late.as_slice(), reads.load(Ordering::Relaxed)), (&[1, 2][..], 1));
        assert!(Late::<Vec<u8>>::default().is_empty());
    }
}
