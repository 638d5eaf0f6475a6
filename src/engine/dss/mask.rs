//! Takes secrets out of what DSS says: our own key, and the tickets that DSS writes into its logs. Knows nothing else.

/// What is hidden.
#[derive(Clone, Default)]
pub(super) struct Mask {
    secret: String,
}

const HIDDEN: &str = "***";
/// What stands before a secret in a log of DSS.
const TICKET: &str = "jobTicketSecret";

impl Mask {
    /// Hides a secret of ours besides those of DSS.
    pub(super) fn new(secret: &str) -> Self {
        Self { secret: secret.to_owned() }
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let text = if self.secret.len() >= 4 { text.replace(&self.secret, HIDDEN) } else { text.to_owned() };
        if text.contains(TICKET) { tickets(&text) } else { text }
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
            out.push_str(HIDDEN);
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
            ("jobTicketSecret", "jobTicketSecret"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(mask.text(text), shown);
        }
    }
}
