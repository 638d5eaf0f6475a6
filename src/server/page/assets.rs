//! The style sheet, the script and the icon. Their addresses change with their content, so that browsers keep them.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, header};

use crate::draw::svg::STYLE;
use crate::server::error::ApiError;
use crate::server::reply::{Reply, of};
use crate::server::route::Call;

const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");
/// The pages' style with that of the pictures in them.
static SHEET: LazyLock<String> = LazyLock::new(|| format!("{}\n{STYLE}", include_str!("page.css")));

/// What the addresses of the assets end with.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = [SHEET.as_str(), SCRIPT, ICON].concat();
    blake3::hash(all.as_bytes()).to_hex()[..12].to_owned()
});

/// `GET /assets/NAME`
pub(super) fn asset(call: &Call) -> Reply {
    let (kind, text) = match call.name("name")? {
        "page.css" => ("text/css;charset=utf-8", SHEET.as_str()),
        "page.js" => ("text/javascript;charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        other => return Err(ApiError::none(format!("there is no asset `{other}`"))),
    };
    let mut response = of(kind, Body::from(text));
    if call.query.get("v").is_some_and(|version| version == *VERSION) {
        let keep = HeaderValue::from_static("private, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, keep);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// How light a colour is, as WCAG has it.
    fn luminance(colour: &str) -> f64 {
        let hex = colour.trim_start_matches('#');
        let part = |i: usize| match hex.len() {
            3 => u8::from_str_radix(&hex[i..=i].repeat(2), 16).unwrap(),
            _ => u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap(),
        };
        let linear = |i| {
            let c = f64::from(part(i)) / 255.0;
            if c <= 0.03928 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The colours that a part of the sheet names.
    fn names(css: &str) -> HashMap<&str, &str> {
        let pairs = css.split(['{', ';', '}']).filter_map(|pair| pair.trim().strip_prefix("--")?.split_once(':'));
        pairs.filter(|(_, value)| value.starts_with('#') && value.len() <= 7).collect()
    }

    /// The colours in the light and in the dark.
    fn rooms() -> [(&'static str, HashMap<&'static str, &'static str>); 2] {
        let (light, dark) = SHEET.split_once("@media (prefers-color-scheme:dark)").unwrap();
        let light = names(light);
        let mut in_the_dark = light.clone();
        in_the_dark.extend(names(dark.split("}}").next().unwrap()));
        [("light", light), ("dark", in_the_dark)]
    }

    #[test]
    fn contrast_is_what_wcag_says() {
        assert!((contrast("#000", "#ffffff") - 21.0).abs() < 0.01);
        assert!((contrast("#777777", "#fff") - 4.48).abs() < 0.01);
    }

    /// AA: 4.5 for text, 3 for what has to be seen to be used or understood.
    #[test]
    fn what_is_to_be_read_stands_out_in_the_light_and_in_the_dark() {
        let tints = ["run", "good", "calm", "bad", "warm", "amber", "grape", "grey"];
        let mut wrong = Vec::new();
        for (room, colours) in rooms() {
            let mut stands_out = |front: &str, back: &str, least: f64| {
                let ratio = contrast(colours[front], colours[back]);
                if ratio < least {
                    wrong.push(format!("{room}: {front} on {back}: {ratio:.2}, and not {least}"));
                }
            };
            for back in ["page", "card", "soft", "code"] {
                for text in ["text", "quiet"].iter().chain(&tints) {
                    stands_out(text, back, 4.5);
                }
            }
            for tint in tints {
                stands_out(tint, &format!("{tint}-soft"), 4.5);
            }
            stands_out("text", "amber-soft", 4.5);
            stands_out("on", "run", 4.5);
            // Edges of fields, and what waits in a bar.
            stands_out("wait", "card", 3.0);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The colour that a rule gives something.
    fn value<'a>(rule: &'a str, name: &str) -> Option<&'a str> {
        let at = rule.find(&format!("{name}:#"))? + name.len() + 1;
        rule[at..].split([';', '}']).next()
    }

    #[test]
    fn what_stands_in_pictures_stands_out() {
        let (light, dark) = STYLE.split_once("@media (prefers-color-scheme:dark)").unwrap();
        for (room, css, back) in [("light", light, "#ffffff"), ("dark", dark, "#0d1117")] {
            let rule = |selector: &str| css.lines().find(|line| line.starts_with(selector)).unwrap();
            let [text, note] = [".kiln text{", ".kiln .note,"].map(|selector| value(rule(selector), "fill").unwrap());
            let shapes = css.lines().filter(|line| line.contains("path.shape{") && line.contains("fill:#"));
            let mut seen = 0;
            for shape in shapes {
                let (fill, stroke) = (value(shape, "fill").unwrap(), value(shape, "stroke").unwrap());
                for (front, behind, least) in [(text, fill, 4.5), (note, fill, 4.5), (stroke, back, 3.0)] {
                    assert!(contrast(front, behind) >= least, "{room}: {front} on {behind}: {shape}");
                }
                seen += 1;
            }
            assert!(seen >= 9, "{room}: {seen} shapes were found");
        }
    }
}
