//! Whether the server answers, and when people have to be told that it does not: once for each time that it is silent, however
//! many steps wait for it. Has no clock and asks nobody.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::text::duration;
use crate::engine::dss::fault::Fault;

/// How long something is waited for until people are told that it is.
pub(super) const NOTICE: Duration = Duration::from_secs(5);
/// The same where a command waits and something came in place of an answer: it has nothing else to show.
const SOON: Duration = Duration::from_secs(1);
/// How long nothing is told behind that: a server that is slow each time is told now and then.
const AGAIN: Duration = Duration::from_secs(60);

/// What calls have heard.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Since when there has been no answer that is worth something, though one is waited for.
    since: Option<Instant>,
    /// What came in its place last.
    fault: Option<Fault>,
    /// When it was told.
    told: Option<Instant>,
    /// Since when it had been silent, where that was told and nothing has been since.
    open: Option<Instant>,
}

impl Silence {
    /// A call begins.
    pub(super) fn asked(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// A call came to nothing.
    pub(super) fn failed(&mut self, fault: &Fault) {
        self.fault = Some(fault.clone());
    }

    /// What came in place of an answer last.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// A call was answered.
    pub(super) fn answered(&mut self) {
        (self.since, self.fault) = (None, None);
    }

    /// What people have to be told now. `patience` is how long the server is waited for, where that is the same for all calls.
    pub(super) fn news(&mut self, now: Instant, patience: Option<Duration>) -> Option<String> {
        let notice = if patience.is_none() && self.fault.is_some() { SOON } else { NOTICE };
        match (self.since, self.open) {
            (None, Some(open)) => {
                self.open = None;
                Some(format!("DSS answers again, after {}", seconds(now - open)))
            }
            (Some(since), None) if now - since >= notice && self.told.is_none_or(|told| now - told >= AGAIN) => {
                (self.told, self.open) = (Some(now), Some(since));
                let at_most = patience.map(|patience| format!(", for {} at most", duration(patience)));
                let for_long = format!("waiting for it{}", at_most.unwrap_or_default());
                Some(match &self.fault {
                    Some(fault) => format!("{fault}; {for_long}"),
                    None => format!("DSS has not answered for {}; {for_long}", seconds(now - since)),
                })
            }
            _ => None,
        }
    }
}

/// A time in whole seconds.
fn seconds(time: Duration) -> String {
    duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_once_and_its_end_too() {
        let (begin, patience) = (Instant::now(), Some(Duration::from_secs(900)));
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        let mut news = Vec::new();
        let away = Fault::from(crate::engine::dss::client::SendError::NotSent("connection refused".to_owned()));
        for second in 0..200 {
            match second {
                // An answer that takes its time, then one that does not.
                0 => silence.asked(at(0)),
                3 => silence.answered(),
                10 | 100 => silence.asked(at(second)),
                12 | 102 => silence.failed(&away),
                13..=39 => silence.asked(at(second)),
                40 | 150 => silence.answered(),
                // Soon again: that is not told.
                45 => silence.asked(at(45)),
                55 => silence.answered(),
                _ => {}
            }
            news.extend(silence.news(at(second), patience).map(|text| format!("{second}: {text}")));
        }
        let waits = "DSS cannot be reached: connection refused; waiting for it, for 15m00s at most";
        let expected = [
            &format!("15: {waits}"),
            "40: DSS answers again, after 30s",
            &format!("105: {waits}"),
            "150: DSS answers again, after 50s",
        ];
        assert_eq!(news, expected);
        let mut silence = Silence::default();
        silence.asked(begin);
        let text = silence.news(at(6), None).unwrap();
        assert_eq!(text, "DSS has not answered for 6s; waiting for it");
        // A command says what went wrong when it has tried for a moment.
        let mut silence = Silence::default();
        silence.asked(begin);
        assert_eq!(silence.news(at(2), None), None);
        silence.failed(&away);
        assert_eq!(silence.news(at(2), patience), None);
        let text = silence.news(at(2), None).unwrap();
        assert_eq!(text, "DSS cannot be reached: connection refused; waiting for it");
    }
}
