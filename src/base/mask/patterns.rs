//! The forms of a secret that are looked for. Does not know how they are found.

use super::SHORTEST;

/// The values, without white space at their ends too, and their lines, as far as they are long enough.
pub(super) fn plain(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        all.push(value.clone());
        all.push(value.trim_ascii().to_owned());
        for line in value.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            all.push(line.to_owned());
            all.push(line.trim_ascii().to_owned());
        }
    }
    all.retain(|pattern| pattern.len() >= SHORTEST);
    all.sort();
    all.dedup();
    all
}

/// The digits of a value, in lower case.
pub(super) fn hex(value: &[u8]) -> Vec<u8> {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A value as it stands in the base64 of something longer, by how many bytes it is shifted there: the letters that depend
/// on nothing else.
pub(super) fn base64(value: &[u8]) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|shift: usize| {
        let bits: Vec<bool> = std::iter::repeat_n(0, shift)
            .chain(value.iter().copied())
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
            .collect();
        let letter = |bits: &[bool]| ALPHABET[bits.iter().fold(0, |n, bit| n << 1 | usize::from(*bit))];
        let letters = bits.chunks_exact(6).map(letter);
        letters.skip((shift * 8).div_ceil(6)).collect()
    })
}
