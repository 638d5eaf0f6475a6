//! Words for people: durations, points in time, counts, nearest names; knows no terminal.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// Reads a point in time as people write it: a day, or a day and a time, in `zone` unless it says otherwise; or as seen from `now`: an age
/// such as `12h`, `today`, `yesterday`.
#[must_use]
pub fn parse_time(text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(age) = parse_duration(text) {
        return now.checked_sub(age).ok();
    }
    if let "today" | "yesterday" = text {
        let today = now.to_zoned_datetime(zone.clone()).date();
        let day = if text == "today" { today } else { today.yesterday().ok()? };
        return Some(day.to_datetime(Time::midnight()).to_zoned_datetime(zone.clone()).ok()?.timestamp());
    }
    // The day alone comes last: read as one, a text with a time of day would lose it.
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.to_datetime(Time::midnight()),
    };
    Some(local.to_zoned_datetime(zone.clone()).ok()?.timestamp())
}

/// No duration is longer: a thousand years, so that it can be added to any time.
const LONGEST: f64 = 365.0 * 86_400.0 * 1_000.0;

/// Reads a duration such as `30s`, `1h 30m`, `1.5h`, `2d`. Units: ms, s, m, h, d, w.
///
/// # Errors
/// What is wrong with the text, as a fragment.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| format!("`{rest}` does not begin with a number"))?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "" => return Err(format!("`{text}` has a number without a unit")),
            other => return Err(format!("`{other}` is not a unit")),
        };
        total += number * unit;
        rest = rest[letters..].trim_start();
    }
    Duration::try_from_secs_f64(total).ok().filter(|_| total <= LONGEST).ok_or_else(|| "it is too long".to_owned())
}

/// Writes a duration for people: `0s`, `0.4s`, `31s`, `1m11s`, `2h05m`, `3d04h`.
#[must_use]
pub fn duration(value: Duration) -> String {
    let tenths = (value.as_millis() + 50) / 100;
    let secs = (value.as_millis() + 500) / 1000;
    if value.as_millis() == 0 {
        "0s".to_owned()
    } else if value.as_millis() < 100 {
        format!("{}ms", value.as_millis())
    } else if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else if secs < 60 {
        format!("{secs}s")
    } else if secs < 3_600 {
        format!("{}m{:02}s", secs / 60, secs % 60)
    } else if secs < 86_400 {
        format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60)
    } else {
        format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3_600)
    }
}

/// Writes an age for people, in its largest fitting unit: `40s`, `26h`, `12d`.
#[must_use]
pub fn age(value: Duration) -> String {
    match value.as_secs() {
        secs if secs < 120 => format!("{secs}s"),
        secs if secs < 7_200 => format!("{}m", secs / 60),
        secs if secs < 172_800 => format!("{}h", secs / 3_600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// Writes a number of milliseconds as [`duration`] does.
#[must_use]
pub fn millis(value: u64) -> String {
    duration(Duration::from_millis(value))
}

/// Reads a number of bytes such as `500MB`, `1.5GiB`, `4096`. Units: B, kB, MB, GB, TB by 1000; KiB, MiB, GiB, TiB by 1024.
///
/// # Errors
/// What is wrong with the text, as a fragment.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    let unit = text[digits..].trim_start();
    let by = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return Err(format!("`{unit}` is not a unit")),
    };
    Ok((number * by) as u64)
}

/// Writes a number of bytes for people: `0 B`, `3.4 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" || value >= 9.95 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `1 step`, `2 steps`.
#[must_use]
pub fn count(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// The first `most` names, and how many more there are: `a, b and 3 more`.
#[must_use]
pub fn few<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let shown: Vec<_> = names.iter().take(most).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The known word that is most like `word`, if one is near.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (likeness(word, k), k))
        .filter(|(score, _)| *score > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, k)| k)
}

/// How much alike two words are. One slip of the fingers is one, however short the word.
fn likeness(word: &str, known: &str) -> f64 {
    let like = strsim::jaro_winkler(word, known);
    if word.len() > 2 && strsim::osa_distance(word, known) == 1 { like.max(SLIP) } else { like }
}

/// How much alike two words are that one slip tells apart.
const SLIP: f64 = 0.9;

/// `` did you mean `x`? `` if a known word is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|k| format!("did you mean `{k}`?"))
}

/// Whether `name` may name a node, a recipe or a task.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A name that is like `text`, with `_` for what a name cannot have; none where that is none either.
#[must_use]
pub fn as_name(text: &str) -> Option<String> {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    Some(text.chars().map(letter).collect()).filter(|name: &String| is_name(name))
}

/// The text on one line and harmless: line ends and tabs become spaces; other control characters, and those that would turn
/// the direction of writing, are spelled out.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || steers(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The text with its lines as they are, and each of them harmless as a [clean] one.
#[must_use]
pub fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Whether a character without a width changes where or in which direction others are shown.
#[must_use]
pub fn steers(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The [clean] text, cut to `width` characters with `…`.
#[must_use]
pub fn one_line(text: &str, width: usize) -> String {
    let flat = clean(text.trim());
    match flat.chars().nth(width) {
        None => flat,
        Some(_) => window(&flat, 0, width),
    }
}

/// Two values that differ, each on one line of at most `width` characters, so that both show where they differ first.
#[must_use]
pub fn apart(old: &str, new: &str, width: usize) -> (String, String) {
    let flat = |text: &str| clean(text.trim());
    let (mut old_line, mut new_line) = (flat(old), flat(new));
    if old_line == new_line {
        // They differ in white space only.
        (old_line, new_line) = (old.escape_debug().to_string(), new.escape_debug().to_string());
    }
    let same = old_line.chars().zip(new_line.chars()).take_while(|(a, b)| a == b).count();
    // Where little follows, more of what stands before has room.
    let most = old_line.chars().count().max(new_line.chars().count()).saturating_sub(width);
    let begin = if same + width / 4 < width { 0 } else { (same - width / 3).min(most) };
    (window(&old_line, begin, width), window(&new_line, begin, width))
}

/// At most `width` characters from `begin` on, with `…` where something is left out.
fn window(text: &str, begin: usize, width: usize) -> String {
    let mut rest = text.chars().skip(begin);
    let mut shown: Vec<char> = rest.by_ref().take(width).collect();
    if rest.next().is_some() && shown.len() == width {
        shown.truncate(width.saturating_sub(1));
        shown.push('…');
    }
    if let Some(first) = shown.first_mut().filter(|_| begin > 0) {
        *first = '…';
    }
    shown.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("30s", 30_000), ("1h 30m", 5_400_000), ("1.5h", 5_400_000), ("2d", 172_800_000), ("250ms", 250)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "h", "5 parsecs", "-3s", "1e400d", "99999999999999999999999w", "1001w 1000000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written() {
        let shown: Vec<_> = [0, 40, 400, 1_000, 9_960, 31_000, 71_000, 7_500_000, 273_600_000].map(millis).to_vec();
        assert_eq!(shown, ["0s", "40ms", "0.4s", "1s", "10s", "31s", "1m11s", "2h05m", "3d04h"]);
    }

    #[test]
    fn of_many_names_a_few_are_told() {
        assert_eq!(few::<&str>(&[], 2), "");
        assert_eq!(few(&["a", "b"], 2), "a, b");
        assert_eq!(few(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }

    #[test]
    fn values_that_differ_are_shown_where_they_differ() {
        let told = |old: &str, new: &str| apart(old, new, 20);
        let both = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        assert_eq!(told("dev", "prod"), both("dev", "prod"));
        let same = "0123456789".repeat(4);
        assert_eq!(
            told(&format!("a{same}"), &format!("b{same}")),
            both("a012345678901234567…", "b012345678901234567…")
        );
        let (old, new) = told(&format!("{same}old{same}"), &format!("{same}new{same}"));
        assert_eq!((old.as_str(), new.as_str()), ("…56789old0123456789…", "…56789new0123456789…"));
        assert_eq!(told(&same, &format!("{same}; :")), both("…4567890123456789", "…4567890123456789; :"));
        assert_eq!(told("a\nb", "a b"), both("a\\nb", "a b"));
        assert_eq!(told("a", "a\n"), both("a", "a\\n"));
    }

    #[test]
    fn one_line_is_harmless_and_short() {
        assert_eq!(one_line(" a\nb\u{1b}[2J ", 60), r"a b\u{1b}[2J");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(clean("\u{9b}31m\u{202e}"), r"\u{9b}31m\u{202e}");
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("4096", 4096), ("1.5 kB", 1_500), ("2GiB", 2 << 30), ("10m", 10_000_000), ("0", 0)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "5 parsecs", "-1"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let shown = [0, 999, 1_000, 9_960, 3_400_000, 2_000_000_000, 7_000_000_000_000].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "10 kB", "3.4 MB", "2.0 GB", "7.0 TB"]);
    }

    #[test]
    fn points_in_time_are_read_in_a_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = "2026-11-30T23:30:00Z".parse().unwrap(); // there it is the first of December
        for (text, time) in [
            ("12h", "2026-11-30T11:30:00Z"),
            ("1d 12h", "2026-11-29T11:30:00Z"),
            ("today", "2026-11-30T22:00:00Z"),
            ("yesterday", "2026-11-29T22:00:00Z"),
            ("2026-11-29", "2026-11-28T22:00:00Z"),
            ("2026-11-29T10:55", "2026-11-29T08:55:00Z"),
            ("2026-11-29T23:59:59", "2026-11-29T21:59:59Z"),
            ("2026-11-29 23:59:59", "2026-11-29T21:59:59Z"),
            ("2026-11-29T23:59:59Z", "2026-11-29T23:59:59Z"),
            ("2026-11-29T23:59:59-05:00", "2026-11-30T04:59:59Z"),
        ] {
            assert_eq!(parse_time(text, &zone, now).unwrap().to_string(), time, "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2 parsecs",
            "1000w 1000000d",
            "2026-11-31",
            "2026-11-29T25:00",
            "2026-11-29Tnoon",
            "10:55",
        ] {
            assert_eq!(parse_time(text, &zone, now), None, "{text}");
        }
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("inptus", ["inputs", "run", "path"]), Some("inputs"));
        assert_eq!(nearest("zzz", ["inputs", "run", "path"]), None);
        assert_eq!(nearest("scr", ["src_table", "src", "run"]), Some("src"));
    }
}
