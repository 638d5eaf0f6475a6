//! Any output of a step, in any pieces: the same lines come out as from the whole, none too long, and nothing is lost.
#![no_main]

use kiln::report::output::{Block, LONGEST, Lines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u16>)| {
    let (printed, sizes) = input;
    let mut whole = Lines::default();
    let mut lines = whole.push(&printed);
    lines.extend(whole.finish());

    let (mut cutter, mut pieces, mut rest) = (Lines::default(), Vec::new(), printed.as_slice());
    let mut sizes = sizes.into_iter().cycle();
    while !rest.is_empty() {
        let size = usize::from(sizes.next().unwrap_or(u16::MAX)).clamp(1, rest.len());
        let (piece, more) = rest.split_at(size);
        pieces.extend(cutter.push(piece));
        rest = more;
    }
    pieces.extend(cutter.finish());
    assert_eq!(lines, pieces);

    // Bytes that are no text become up to three bytes each.
    assert!(lines.iter().all(|line| line.len() <= 3 * LONGEST && !line.contains(['\n', '\r'])));
    let plain = |text: &str| text.replace(['\n', '\r'], "");
    if let Ok(text) = std::str::from_utf8(&printed) {
        assert_eq!(lines.concat(), plain(text), "something was lost");
    }

    let mut block = Block::new(64);
    block.push(&printed);
    let (kept, cut) = block.into_lines();
    assert_eq!(cut, printed.len() > 64);
    assert!(cut || kept == lines);
});
