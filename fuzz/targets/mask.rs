//! A secret within any output, in any pieces: what is masked does not depend on the pieces, the secret does not come
//! through, and nothing else is lost.
#![no_main]

use kiln::base::mask::{MASK, Masker, SHORTEST, Secrets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>, Vec<u8>, Vec<u8>)| {
    let (values, before, after, sizes) = input;
    let Some(secrets) = Secrets::new(&values) else { return };
    let secret = values.iter().find(|value| value.len() >= SHORTEST).cloned().unwrap_or_default();
    let printed = [before, secret.clone(), after].concat();

    let mut masker = Masker::new(&secrets);
    let mut whole = Vec::new();
    masker.push(&printed, &mut whole);
    masker.finish(&mut whole);

    let (mut masker, mut pieces, mut rest) = (Masker::new(&secrets), Vec::new(), printed.as_slice());
    let mut sizes = sizes.into_iter().cycle();
    while !rest.is_empty() {
        let size = usize::from(sizes.next().unwrap_or(u8::MAX)).clamp(1, rest.len());
        let (piece, more) = rest.split_at(size);
        masker.push(piece, &mut pieces);
        rest = more;
    }
    masker.finish(&mut pieces);
    assert_eq!(whole, pieces);

    // A mask may complete what was printed around it to something that looks like a secret; that is none.
    let stars = |bytes: &[u8]| bytes.windows(MASK.len()).any(|window| window == MASK.as_bytes());
    if secret.len() >= SHORTEST && !secret.contains(&b'*') {
        assert!(stars(&whole), "nothing was masked");
        assert!(!whole.windows(secret.len()).any(|window| window == secret), "the secret came through");
    }
});
