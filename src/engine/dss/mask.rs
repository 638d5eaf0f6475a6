//! Takes secrets out of what DSS says: our own key, and the tickets that DSS writes into its logs. Knows nothing else.

use std::sync::Arc;

use serde_json::Value;

use crate::base::mask::{MASK, Masker, Secrets};

/// What is hidden.
#[derive(Clone, Default)]
pub(super) struct Mask {
    secrets: Option<Arc<Secrets>>,
}

/// What stands before a secret in a log of DSS.
const TICKET: &str = "jobTicketSecret";

impl Mask {
    /// Hides a secret of ours, in whatever way it is written, besides those of DSS.
    pub(super) fn new(secret: &str) -> Self {
        // As it is, and as it is sent: the user of a basic authorization.
        Self { secrets: Secrets::new(&[secret.as_bytes().to_vec(), format!("{secret}:").into_bytes()]) }
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let text = self.secrets.as_ref().map_or_else(|| text.to_owned(), |secrets| secrets.mask(text));
        Self::tickets(text)
    }

    /// What hides the secret of ours in a text that comes in pieces.
    pub(super) fn masker(&self) -> Option<Masker> {
        self.secrets.as_ref().map(Masker::new)
    }

    /// The text without secrets of DSS, none of which is longer than a line.
    pub(super) fn tickets(text: String) -> String {
        if text.contains(TICKET) { tickets(&text) } else { text }
    }

    /// An answer without secrets.
    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let masked = |(name, value): (String, Value)| {
                    let is_secret = name.contains(TICKET) && !value.is_null();
                    (self.text(&name), if is_secret { Value::from(MASK) } else { self.value(value) })
                };
                fields.into_iter().map(masked).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

/// `"jobTicketSecret":"abc"`, with or without quotes and backslashes, becomes `"jobTicketSecret":"***"`.
fn tickets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(TICKET) {
        let (before, after) = rest.split_at(at + TICKET.len());
        out.push_str(before);
        let quiet = |c: char| matches!(c, '"' | '\'' | '\\' | ':' | '=' | ' ');
        let secret = after.trim_start_matches(quiet);
        out.push_str(&after[..after.len() - secret.len()]);
        let end = secret.find(|c: char| matches!(c, '"' | '\'' | '\\' | ',' | '}' | '&') || c.is_whitespace());
        let end = end.unwrap_or(secret.len());
        if end > 0 {
            out.push_str(MASK);
        }
        rest = &secret[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let mask = Mask::new("k3y-0f-ours");
        for (text, shown) in [
            (r#"start {"jobTicketSecret":"abc","x":1}"#, r#"start {"jobTicketSecret":"***","x":1}"#),
            (r#"{\"jobTicketSecret\": \"a+b/c=\"}"#, r#"{\"jobTicketSecret\": \"***\"}"#),
            ("jobTicketSecret=abc next jobTicketSecret=def", "jobTicketSecret=*** next jobTicketSecret=***"),
            ("sent k3y-0f-ours to", "sent *** to"),
            ("Basic azN5LTBmLW91cnM6", "Basic ***"),
            ("jobTicketSecret", "jobTicketSecret"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(mask.text(text), shown);
        }
    }

    #[test]
    fn an_answer_stays_one() {
        let mask = Mask::new("k3y-0f-ours");
        for (text, shown) in [
            (r#"{"jobTicketSecret":"abc","x":1}"#, r#"{"jobTicketSecret":"***","x":1}"#),
            (
                r#"{"jobTicketSecret":null,"x":[{"jobTicketSecret":["abc"]}]}"#,
                r#"{"jobTicketSecret":null,"x":[{"jobTicketSecret":"***"}]}"#,
            ),
            (r#"{"x":"jobTicketSecret\u003dabc123"}"#, r#"{"x":"jobTicketSecret=***"}"#),
            (r#"["the word is jobTicketSecret","x"]"#, r#"["the word is jobTicketSecret","x"]"#),
            (r#"["sent k3y\u002d0f-ours",true,null,1.5]"#, r#"["sent ***",true,null,1.5]"#),
            (r#"{"k3y-0f-ours":{"x":"k3y-0f-ours"}}"#, r#"{"***":{"x":"***"}}"#),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(mask.value(value).to_string(), shown);
        }
    }
}
