//! Tests of masking.

use proptest::prelude::*;

use super::*;

fn masked(values: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
    let Some(secrets) = Secrets::new(&values) else { return pieces.concat() };
    let mut masker = Masker::new(&secrets);
    let mut out = Vec::new();
    for piece in pieces {
        masker.push(piece, &mut out);
    }
    masker.finish(&mut out);
    out
}

#[track_caller]
fn check(secret: &str, text: &str, want: &str) {
    let out = masked(&[secret.as_bytes()], &[text.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&out), want);
}

#[test]
fn secrets_are_masked_and_nothing_else() {
    check("hunter2", "the password is hunter2.\n", "the password is ***.\n");
    check("hunter2", "hunter2hunter2 hunter hunter2", "*** hunter ***");
    check("aaaaaa", "aaaaaaaaa b", "*** b");
    check("hunter2", "nothing of it", "nothing of it");
    check("short", "short", "short");
    check("line one\nshort\nline two", "line one\r\nline two\nshort\n", "***\r\n***\nshort\n");
    check("  padded  ", "'padded'", "'***'");
    check("hunter2", "ends in hunte", "ends in hunte");
    check("hunter22", "ends in hunter2", "ends in ***");
}

#[test]
fn encodings_are_seen_through() {
    let secret = "pa$$ w/ö\"rd\\";
    check(secret, "a=pa%24%24%20w%2F%C3%B6%22rd%5C&b", "a=***&b");
    check(secret, "a=pa%24%24+w%2f%c3%b6%22rd%5c&b", "a=***&b");
    check(secret, r#"{"a":"pa$$ w/\u00f6\"rd\\","b":1}"#, r#"{"a":"***","b":1}"#);
    check(secret, r#"{"a":"pa$$ w\/ö\"rd\\"}"#, r#"{"a":"***"}"#);
    check(secret, r"\x70a$$ w/\xc3\xb6\x22rd\\", "***");
    check(secret, "706124242077 2f", "706124242077 2f");
    check("😀😀", r"\ud83d\ude00\uD83D\uDE00", "***");
    check("\\d+ or 100%", "\\d+ or 100% or %41", "*** or %41");
}

/// What `base64` and `xxd -p` print for a text and its neighbours, from the programs themselves.
#[test]
fn what_programs_print_is_masked() {
    // printf hunter2-hunter2 | base64; printf xhunter2-hunter2y | base64; printf xyhunter2-hunter2z | base64
    for text in ["aHVudGVyMi1odW50ZXIy", "eGh1bnRlcjItaHVudGVyMnk=", "eHlodW50ZXIyLWh1bnRlcjJ6"] {
        let out = masked(&[b"hunter2-hunter2"], &[text.as_bytes()]);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(MASK) && out.len() < 10, "{text}: {out}");
    }
    // printf '\xfb\xff\xfe\xfb\xff\xfe\xfb\xff\xfe' | base64, and with the other alphabet
    check_bytes(b"\xfb\xff\xfe\xfb\xff\xfe\xfb\xff\xfe", b"+//++//++//+", b"***");
    check_bytes(b"\xfb\xff\xfe\xfb\xff\xfe\xfb\xff\xfe", b"-__--__--__-", b"***");
    check("hunter2", "68756e74657232 68756E74657232", "*** ***");
}

#[track_caller]
fn check_bytes(secret: &[u8], text: &[u8], want: &[u8]) {
    assert_eq!(masked(&[secret], &[text]), want);
}

#[test]
fn broken_lines_are_joined() {
    let secret = "x".repeat(40) + "secret" + &"y".repeat(40);
    let letters = String::from_utf8(patterns::base64(secret.as_bytes())[0].clone()).unwrap();
    for (at, end) in [(76, "\n"), (64, "\r\n"), (60, "\n")] {
        let broken = format!("before\n{}{end}{}\nafter\n", &letters[..at], &letters[at..]);
        let out = String::from_utf8(masked(&[secret.as_bytes()], &[broken.as_bytes()])).unwrap();
        let want = "before\n***";
        assert!(out.starts_with(want) && out.ends_with("\nafter\n") && out.len() < want.len() + 12, "{out}");
    }
    check("hunter2", "68756e\n74657232", "68756e\n74657232");
}

#[test]
fn only_what_may_be_a_secret_is_held_back() {
    let secrets = Secrets::new(&[b"hunter2".to_vec()]).unwrap();
    let mut masker = Masker::new(&secrets);
    let mut out = Vec::new();
    masker.push(b"password: ", &mut out);
    assert_eq!(out, b"password: ");
    masker.push(b"hunt", &mut out);
    assert_eq!(out, b"password: ");
    masker.push(b"ing\n", &mut out);
    assert_eq!(out, b"password: hunting\n");
}

/// The ways in which a program may print a secret.
fn encoded(secret: &[u8], how: u8, context: &[u8]) -> Vec<u8> {
    let hex = |upper: bool| -> Vec<u8> {
        let digits = patterns::hex(secret);
        if upper { digits.to_ascii_uppercase() } else { digits }
    };
    let percent = |all: bool| -> Vec<u8> {
        let one = |byte: &u8| match byte {
            byte if byte.is_ascii_alphanumeric() && !all => vec![*byte],
            byte => format!("%{byte:02X}").into_bytes(),
        };
        secret.iter().flat_map(one).collect()
    };
    match how {
        0 => secret.to_vec(),
        1 => hex(false),
        2 => hex(true),
        3 => percent(false),
        4 => percent(true),
        5 => serde_json::to_string(&String::from_utf8_lossy(secret)).unwrap().into_bytes(),
        6 => secret.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()).collect(),
        7 => String::from_utf8_lossy(secret).encode_utf16().flat_map(|n| format!("\\u{n:04x}").into_bytes()).collect(),
        shift => {
            let around = [&context[..usize::from(shift - 8)], secret].concat();
            let letters = patterns::base64(&around)[0].clone();
            // What depends on the neighbours is theirs.
            letters[(usize::from(shift - 8) * 8).div_ceil(6)..].to_vec()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the secret, however it is encoded and wherever the stream is cut, it does not get through; and what comes
    /// out is the same for every cut.
    #[test]
    fn no_secret_gets_through(
        secret in prop_oneof![
            "[ -~]{6,40}".prop_map(String::into_bytes),
            "\\PC{6,20}".prop_map(String::into_bytes),
            "[a-c]{3,5}[a-b\n]{3,12}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 6..40),
        ],
        how in 0u8..11,
        before in proptest::collection::vec(any::<u8>(), 2..30),
        after in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        // JSON and \u are for text.
        prop_assume!(!matches!(how, 5 | 7) || std::str::from_utf8(&secret).is_ok());
        let printed = encoded(&secret, how, &before);
        let printed = match how {
            5 => printed[1..printed.len() - 1].to_vec(),
            _ => printed,
        };
        // In the midst of digits and letters another encoding would begin or end elsewhere.
        let stream = [before.as_slice(), b"\n", &printed, b"\n", &after].concat();
        let whole = masked(&[&secret], &[&stream]);
        let through = whole.windows(printed.len()).any(|window| window == printed);
        prop_assert!(!through, "{:?} in {:?}", String::from_utf8_lossy(&printed), String::from_utf8_lossy(&whole));
        for cut in 0..=stream.len() {
            let (one, two) = stream.split_at(cut);
            prop_assert_eq!(&masked(&[&secret], &[one, two]), &whole, "cut at {}", cut);
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&masked(&[&secret], &single), &whole);
    }
}
