//! Finds a part of a text in the file, through the quotes and escapes that its string is written with. Does not
//! know what it means.

use crate::base::span::Span;

/// Where the part at `inner` in the value of a TOML string stand; `outer` is where the string stands, quotes included.
/// The whole string where that cannot be told. The value has `\n` for each `\r\n` of the file.
pub(crate) fn locate(text: &str, outer: &Span, inner: &Span) -> Span {
    let found = text.get(outer.clone()).and_then(|raw| find(raw, inner));
    found.map_or_else(|| outer.clone(), |found| outer.start + found.start..outer.start + found.end)
}

fn find(raw: &str, inner: &Span) -> Option<Span> {
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple = raw.len() >= 6 && raw.bytes().take(3).all(|b| char::from(b) == quote);
    let mut at = if triple { 3 } else { 1 };
    if triple {
        at += [raw[at..].starts_with("\r\n").then_some(2), raw[at..].starts_with('\n').then_some(1)]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or(0);
    }
    let mut value = 0;
    let mut start = None;
    while value < inner.end {
        let (taken, made) = piece(&raw[at..], quote == '"')?;
        if value == inner.start && made > 0 {
            start = Some(at);
        }
        at += taken;
        value += made;
    }
    let found = start?..at;
    (value == inner.end).then_some(found)
}

/// How long the next piece is as it is written, and in the value.
fn piece(rest: &str, escapes: bool) -> Option<(usize, usize)> {
    let first = rest.chars().next()?;
    if rest.starts_with("\r\n") {
        return Some((2, 1));
    }
    if first != '\\' || !escapes {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    let code = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?.len_utf8()))
    };
    match rest[1..].chars().next()? {
        'x' => code(2),
        'u' => code(4),
        'U' => code(8),
        c if c.is_whitespace() => Some((rest.len() - rest[1..].trim_start_matches([' ', '\t', '\r', '\n']).len(), 0)),
        _ => Some((2, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_as_they_are_written() {
        for raw in [
            r#""echo \"{{ a }}\" \u00e9{{ bc }}""#,
            "\"\"\"\nfor x; do\\\n   {{ a }}; \\x41 é {{ bc }}\"\"\"",
            "'''\nx {{ a }}\n{{ bc }}'''",
            "'''\r\nx {{ a }}\r\n{{ bc }}'''",
            "'{{ a }}{{ bc }}'",
        ] {
            let text = format!("run = {raw}\n");
            let table: toml::Table = text.parse().unwrap();
            let value = table["run"].as_str().unwrap().replace("\r\n", "\n");
            for part in ["{{ a }}", "{{ bc }}"] {
                let at = value.find(part).unwrap();
                let span = locate(&text, &(6..6 + raw.len()), &(at..at + part.len()));
                assert_eq!(&text[span], part, "{raw}");
            }
        }
    }
}
