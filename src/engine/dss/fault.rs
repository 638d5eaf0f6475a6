//! What went wrong with a call: told apart by who is to blame and by whether it may have had an effect. Does not try again.

use std::fmt;
use std::time::Duration;

use crate::base::text::{duration, one_line};
use crate::engine::dss::client::{Response, SendError};
use crate::event::FailureCode;
use crate::pipeline::dss_wire::Trouble;

/// How long a message of the server is shown at most.
const SHOWN: usize = 400;

/// How long a server is left alone at most, whatever it wants.
const LONGEST: Duration = Duration::from_secs(300);

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was no connection; nothing was sent.
    Unreachable,
    /// The server is not trusted, or speaks no TLS; nothing was sent.
    Tls,
    /// The answer was cut off or did not come: what was asked may have happened.
    Cut,
    /// Something in front of the server answered for it, or gave up on it (502, 503, 504 and the like).
    Gateway,
    /// A page for people came in place of JSON: a login, a proxy.
    Page,
    /// The answer leads elsewhere; it was not followed.
    Redirect,
    /// 401
    Unknown,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 429
    TooMany,
    /// Another code, with DSS's own words.
    Refused,
    /// A code that means an error, without DSS's own words.
    Mute,
    /// The answer is not what the API promises.
    Odd,
    /// The answer is longer than what is read, and would be so again.
    Long,
}

/// What a request for a job that went wrong has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// No job.
    Nothing,
    /// Perhaps a job: whoever answered did not see to the end of it. Where none turns up it may be asked for once more.
    Perhaps,
    /// Perhaps a job. The answer is an error that would come again: where no job turns up, that is what is told.
    Hardly,
}

/// A call that went wrong.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The kind.
    pub(super) kind: Kind,
    /// The status, where there was an answer.
    pub(super) status: u16,
    /// What the server or the system says.
    pub(super) message: String,
    /// How long the server is left alone, and how long it wants to be.
    pub(super) retry_after: Option<Duration>,
    pub(super) wanted: Option<Duration>,
    /// Whether it is a page for people: what speaks may not be DSS.
    pub(super) page: bool,
}

impl Fault {
    /// Of an answer that is not what the API promises.
    pub(super) fn odd(message: impl Into<String>) -> Self {
        Self { kind: Kind::Odd, status: 200, message: message.into(), retry_after: None, wanted: None, page: false }
    }

    /// Of a call that was not made, since the server wants to be left alone.
    pub(super) fn quiet(rest: Duration) -> Self {
        Self {
            kind: Kind::TooMany,
            status: 429,
            message: String::new(),
            retry_after: Some(rest),
            wanted: Some(rest),
            page: false,
        }
    }

    /// Whether the same request may go well a little later, if it has no effect.
    pub(super) fn passing(&self) -> bool {
        match self.kind {
            // A page is what a gateway shows while the server starts again, as well as a login.
            Kind::Unreachable | Kind::Cut | Kind::Gateway | Kind::TooMany | Kind::Page => true,
            Kind::Mute => self.status >= 500,
            // DSS says in JSON what it does not know.
            Kind::NotFound => self.page,
            Kind::Tls | Kind::Redirect | Kind::Unknown | Kind::Forbidden | Kind::Refused => false,
            Kind::Odd | Kind::Long => false,
        }
    }

    /// Whether it is the server that cannot be asked, rather than this that it does not answer.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Cut | Kind::Gateway | Kind::TooMany)
    }

    /// Whether something went wrong inside DSS, as it says itself.
    pub(super) fn is_inside(&self) -> bool {
        self.kind == Kind::Refused && self.status >= 500
    }

    /// Whether it will be the same for every request: nobody needs to wait.
    pub(super) fn hopeless(&self) -> bool {
        matches!(self.kind, Kind::Tls | Kind::Unknown | Kind::Forbidden | Kind::Redirect)
    }

    /// What a request for a job has left that was answered so.
    pub(super) fn made(&self) -> Made {
        match self.kind {
            // What spoke is DSS, or nobody heard the request.
            Kind::Unreachable | Kind::Tls | Kind::TooMany => Made::Nothing,
            // Nobody said how it ended. A gateway gives up waiting (408, 499, 502, 503, 504, 52x) while DSS goes on.
            Kind::Cut | Kind::Gateway => Made::Perhaps,
            // "See other" is how a gateway sends a browser away from a request that was done; other redirects come before.
            Kind::Redirect if self.status == 303 => Made::Hardly,
            Kind::Redirect => Made::Nothing,
            // A page, such as a login (401, 403) or an error of a proxy, is not from DSS: it may stand behind the request.
            _ if self.page => Made::Hardly,
            // An error without a word: it may have come up while the job was being started.
            Kind::Mute if self.status >= 500 => Made::Hardly,
            // DSS waited for something itself, and does not know either.
            Kind::Refused if self.status >= 500 && is_timeout(&self.message) => Made::Hardly,
            // A conflict, of what: a proxy may have sent the request twice, and the first one had come through.
            Kind::Refused | Kind::Mute if self.status == 409 => Made::Hardly,
            Kind::Page | Kind::Odd | Kind::Long => Made::Hardly,
            Kind::Unknown | Kind::Forbidden | Kind::NotFound | Kind::Refused | Kind::Mute => Made::Nothing,
        }
    }

    /// How an attempt has failed that this ends; `met` says whether the server has ever answered as DSS does.
    pub(super) fn code(&self, met: bool) -> FailureCode {
        match self.kind {
            Kind::Unreachable | Kind::Tls | Kind::Cut | Kind::Gateway if !met => FailureCode::Unreachable,
            Kind::Unreachable | Kind::Cut | Kind::Gateway | Kind::TooMany => FailureCode::Lost,
            Kind::Page | Kind::Redirect | Kind::Unknown | Kind::Forbidden | Kind::NotFound if !met => {
                FailureCode::Denied
            }
            Kind::Tls | Kind::Page | Kind::Redirect | Kind::Unknown | Kind::Forbidden | Kind::NotFound => {
                FailureCode::Refused
            }
            Kind::Refused | Kind::Mute | Kind::Odd | Kind::Long => FailureCode::Refused,
        }
    }

    /// Whether another job is building the same.
    pub(super) fn busy(&self) -> bool {
        is_busy(&self.message)
    }
}

/// Whether DSS says that something is being built by another job.
pub(super) fn is_busy(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("already being built") || message.contains("already building")
}

/// Whether DSS says that it waited for something that did not come.
fn is_timeout(message: &str) -> bool {
    let message = message.to_lowercase();
    let words =
        ["timeout", "timed out", "time out", "connection reset", "broken pipe", "interrupted", "not responding"];
    words.iter().any(|word| message.contains(word))
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        let (kind, message) = match error {
            SendError::NotSent(message) => (Kind::Unreachable, message),
            SendError::Tls(message) => (Kind::Tls, message),
            SendError::Cut(message) => (Kind::Cut, message),
            SendError::Long(message) => (Kind::Long, message),
        };
        Self { kind, status: 0, message, retry_after: None, wanted: None, page: false }
    }
}

/// The body of an answer that means success, or what is wrong with it.
pub(super) fn judge(response: Response) -> Result<Vec<u8>, Fault> {
    let Response { status, retry_after, date, location, same_server, body, cut } = response;
    let page = !cut && looks_like_page(&body);
    if (200..300).contains(&status) && !page {
        return Ok(body);
    }
    let trouble: Option<Trouble> = serde_json::from_slice(&body).ok();
    let words = trouble.as_ref().and_then(Trouble::text).map(str::to_owned);
    let spoke = words.is_some();
    let kind = match status {
        200..=299 => Kind::Page,
        300..=399 => Kind::Redirect,
        401 => Kind::Unknown,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        429 => Kind::TooMany,
        // Proxies say 408 and 499 for a request that they did not see the end of, some of them 520 to 530.
        408 | 499 | 502..=504 | 520..=530 => Kind::Gateway,
        _ if spoke => Kind::Refused,
        _ => Kind::Mute,
    };
    // The key stays with the server; a request that has an effect is not sent again, nor anything in circles.
    let where_to = |to: String| match same_server {
        true => format!("{to} on the same server, which is not followed, perhaps a login"),
        false => format!("{to}: the key is not sent there"),
    };
    let message = if kind == Kind::Redirect {
        where_to(location.unwrap_or_else(|| "nowhere".to_owned()))
    } else {
        words.unwrap_or_else(|| said(&body, page))
    };
    let wanted = retry_after.as_deref().and_then(|text| wait(text, date.as_deref()));
    let retry_after = wanted.map(|wanted| wanted.min(LONGEST));
    Err(Fault { kind, status, message: one_line(&message, SHOWN), retry_after, wanted, page })
}

fn said(body: &[u8], page: bool) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    if page {
        let lower = text.to_lowercase();
        let title = lower.find("<title>").zip(lower.find("</title>")).filter(|(from, to)| from < to);
        return title.and_then(|(from, to)| text.get(from + 7..to)).unwrap_or_default().trim().to_owned();
    }
    text.trim().to_owned()
}

fn looks_like_page(body: &[u8]) -> bool {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf));
    start.is_some_and(|start| body[start] == b'<')
}

/// `Retry-After`, in seconds or as a date, which is held against the server's own `Date`, since clocks differ.
fn wait(text: &str, date: Option<&str>) -> Option<Duration> {
    let seconds = text.trim().parse().ok().or_else(|| {
        let until = moment(text)?;
        let now = date.and_then(moment).unwrap_or_else(crate::clock::now);
        u64::try_from(until.duration_since(now).as_secs().max(0)).ok()
    });
    Some(Duration::from_secs(seconds?))
}

/// A date of HTTP: `Tue, 24 Nov 2026 02:00:00 GMT`
fn moment(text: &str) -> Option<jiff::Timestamp> {
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim());
    zoned.ok()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, status, message, wanted, retry_after: _, page: _ } = self;
        match kind {
            Kind::Unreachable => write!(f, "DSS cannot be reached: {message}"),
            Kind::Tls => write!(f, "the connection to DSS is not safe: {message}"),
            Kind::Cut => write!(f, "the answer of DSS was lost: {message}"),
            Kind::Gateway => write!(f, "a gateway answered for DSS: {status}"),
            Kind::Page => write!(f, "a web page came in place of an answer of DSS, perhaps a login: check `url`"),
            Kind::Redirect => {
                write!(f, "the server answers {status} and leads to {message}; check `url`")
            }
            Kind::Unknown => write!(f, "DSS does not accept the API key (401)"),
            Kind::Forbidden => write!(f, "DSS does not allow it, or does not know the project (403)"),
            Kind::NotFound if self.page => {
                write!(f, "a web page came in place of an answer of DSS (404): check `url` and `path_prefix`")
            }
            Kind::NotFound => write!(f, "DSS does not know it (404)"),
            Kind::TooMany => write!(f, "DSS is asked too often (429)"),
            Kind::Refused => write!(f, "DSS says ({status})"),
            Kind::Mute => write!(f, "DSS answered {status} without a word"),
            Kind::Odd => write!(f, "DSS gave an answer that is not understood: {message}"),
            Kind::Long => write!(f, "the answer of DSS is too long: {message}"),
        }?;
        let told = matches!(kind, Kind::Unreachable | Kind::Tls | Kind::Cut | Kind::Redirect | Kind::Odd | Kind::Long);
        if !told && !message.is_empty() {
            write!(f, ": {message}")?;
        }
        match wanted {
            Some(wait) => write!(f, "; it wants to be asked again in {}", duration(*wait)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, body: &str) -> Fault {
        judge(Response { status, body: body.as_bytes().to_vec(), ..Response::default() }).unwrap_err()
    }

    #[test]
    fn faults_are_told_apart() {
        let words =
            r#"{"errorType":"java.lang.IllegalArgumentException","message":"Dataset \u0027x\u0027 was not found"}"#;
        for (status, body, kind, text) in [
            (401, "", Kind::Unknown, "DSS does not accept the API key (401)"),
            (
                403,
                words,
                Kind::Forbidden,
                "DSS does not allow it, or does not know the project (403): Dataset 'x' was not found",
            ),
            (404, r#"{"message":"no"}"#, Kind::NotFound, "DSS does not know it (404): no"),
            (
                404,
                "<html><title>Not here</title></html>",
                Kind::NotFound,
                "a web page came in place of an answer of DSS (404): check `url` and `path_prefix`: Not here",
            ),
            (429, "", Kind::TooMany, "DSS is asked too often (429)"),
            (500, words, Kind::Refused, "DSS says (500): Dataset 'x' was not found"),
            (500, "", Kind::Mute, "DSS answered 500 without a word"),
            (409, words, Kind::Refused, "DSS says (409): Dataset 'x' was not found"),
            (502, "<html>Bad Gateway</html>", Kind::Gateway, "a gateway answered for DSS: 502"),
            (504, "", Kind::Gateway, "a gateway answered for DSS: 504"),
            (
                200,
                " <!DOCTYPE html><title>Log in</title>",
                Kind::Page,
                "a web page came in place of an answer of DSS, perhaps a login: check `url`: Log in",
            ),
        ] {
            let fault = fault(status, body);
            assert_eq!((fault.kind, fault.to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn a_server_says_when_it_wants_to_be_asked_again() {
        let date = Some("Tue, 24 Nov 2026 02:00:00 GMT");
        for (text, seconds) in [
            ("7", Some(7)),
            (" 100000 ", Some(100_000)),
            ("Tue, 24 Nov 2026 02:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 01:59:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(wait(text, date), seconds.map(Duration::from_secs), "{text}");
        }
        let in_the_past = wait("Tue, 24 Nov 2020 02:00:00 GMT", None);
        assert_eq!(in_the_past, Some(Duration::ZERO), "without a date of the server our clock has to do");
        let response = Response {
            status: 503,
            retry_after: Some("Tue, 24 Nov 2026 02:00:09 GMT".to_owned()),
            date: date.map(str::to_owned),
            ..Response::default()
        };
        let fault = judge(response).unwrap_err();
        assert_eq!(fault.to_string(), "a gateway answered for DSS: 503; it wants to be asked again in 9s");
    }

    #[test]
    fn a_redirect_says_where_it_leads() {
        let location = Some("https://login.example.com/".to_owned());
        let fault = judge(Response { status: 302, location, ..Response::default() }).unwrap_err();
        let text =
            "the server answers 302 and leads to https://login.example.com/: the key is not sent there; check `url`";
        assert_eq!(fault.to_string(), text);
        let location = Some("/login?from=%2F".to_owned());
        let fault = judge(Response { status: 302, location, same_server: true, ..Response::default() }).unwrap_err();
        let text = "the server answers 302 and leads to /login?from=%2F on the same server, which is not followed, perhaps a login; check `url`";
        assert_eq!(fault.to_string(), text);
    }

    #[test]
    fn a_job_may_be_there_although_the_request_went_wrong() {
        let (page, words) = ("<html><title>Log in</title></html>", r#"{"message":"Dataset was not found"}"#);
        let timeout = r#"{"errorType":"java.net.SocketTimeoutException","message":"Read timed out"}"#;
        for (status, body, made) in [
            (408, "", Made::Perhaps),
            (499, page, Made::Perhaps),
            (502, page, Made::Perhaps),
            (504, words, Made::Perhaps),
            (524, page, Made::Perhaps),
            (303, "", Made::Hardly),
            (302, page, Made::Nothing),
            (307, "", Made::Nothing),
            (401, page, Made::Hardly),
            (401, words, Made::Nothing),
            (403, page, Made::Hardly),
            (404, page, Made::Hardly),
            (404, words, Made::Nothing),
            (400, words, Made::Nothing),
            (409, words, Made::Hardly),
            (429, page, Made::Nothing),
            (500, "", Made::Hardly),
            (500, page, Made::Hardly),
            (500, timeout, Made::Hardly),
            (500, words, Made::Nothing),
            (200, page, Made::Hardly),
        ] {
            assert_eq!(fault(status, body).made(), made, "{status} {body}");
        }
        assert_eq!(Fault::from(SendError::Cut(String::new())).made(), Made::Perhaps);
        assert_eq!(Fault::from(SendError::NotSent(String::new())).made(), Made::Nothing);
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        assert!(fault(200, "<html>Starting</html>").passing() && fault(404, "<html>Not here</html>").passing());
        assert!(fault(503, "").passing() && fault(429, "").passing() && fault(500, "").passing());
        assert!(
            !fault(500, r#"{"message":"no"}"#).passing()
                && !fault(404, r#"{"message":"no"}"#).passing()
                && !fault(401, "").passing()
        );
        let long = Fault::from(SendError::Long("more than 256 MiB".to_owned()));
        assert!(!long.passing() && long.made() == Made::Hardly, "it would be as long again");
        assert!(is_busy("Dataset P.orders is already being built by job x"));
    }
}
