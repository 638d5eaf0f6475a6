//! Content digests (BLAKE3) and how they are written; does not know where contents come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many hexadecimal digits a digest has.
pub const HEX: usize = 64;

/// A BLAKE3 digest. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Its hexadecimal digits, written into `buffer`: for where so many are needed that each allocation counts.
    pub fn hex<'b>(&self, buffer: &'b mut [u8; HEX]) -> &'b str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(buffer).expect("hexadecimal digits are ASCII")
    }

    /// The first four hexadecimal digits, for people to tell two digests apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..4].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.hex(&mut [0; HEX]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// The value of each hexadecimal digit; of all else more than 15.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "not a digest of 64 hexadecimal digits";
        let text: &[u8; HEX] = text.as_bytes().try_into().map_err(|_| wrong)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            if high | low > 15 {
                return Err(wrong);
            }
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// Digests a sequence of fields so that no two sequences give the same bytes.
pub struct FieldHasher {
    hasher: blake3::Hasher,
    /// What is not hashed yet: many short pieces cost more than a few long ones.
    buffer: Vec<u8>,
}

/// So many bytes are hashed at once.
const AT_ONCE: usize = 16 << 10;

impl Default for FieldHasher {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(1 << 10) }
    }
}

impl FieldHasher {
    /// Adds one field, with its length before it.
    pub fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.begin(bytes.len()).add(bytes)
    }

    /// Adds the length of a field whose pieces follow.
    pub fn begin(&mut self, length: usize) -> &mut Self {
        self.add(&(length as u64).to_le_bytes())
    }

    /// Adds a piece of the field that was begun.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= AT_ONCE {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
        self
    }

    /// The digest of all fields so far.
    #[must_use]
    pub fn finish(&mut self) -> Digest {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        Digest(*self.hasher.finalize().as_bytes())
    }
}

/// Digests a stream of bytes.
///
/// # Errors
/// What reading from `reader` gives.
pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<Digest> {
    // Most files are small, and larger pieces take longer to make room for than a small file takes to read.
    let mut start = [0; 4 << 10];
    let mut length = 0;
    while length < start.len() {
        match reader.read(&mut start[length..]) {
            Ok(0) => return Ok(Digest::of(&start[..length])),
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&start);
    hasher.update_reader(reader)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_one_another() {
        let ab_c = FieldHasher::default().field(b"ab").field(b"c").finish();
        let a_bc = FieldHasher::default().field(b"a").field(b"bc").finish();
        assert_ne!(ab_c, a_bc);
    }

    #[test]
    fn a_stream_has_the_digest_of_its_bytes() {
        for length in [0, 1, 4_095, 4_096, 4_097, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| i.to_le_bytes()[0]).collect();
            let halves = std::io::Read::chain(&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]);
            assert_eq!(of_reader(halves).unwrap(), Digest::of(&bytes), "{length}");
        }
    }

    #[test]
    fn a_digest_survives_being_written() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("xyz".parse::<Digest>().is_err());
    }
}
