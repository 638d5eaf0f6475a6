//! Why a connection is not safe, in words and with a way out. Opens no connection.

use std::error::Error;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error as TlsError};

/// A server that speaks TLS was spoken to without.
pub(super) const NO_HTTP: &str = "the server speaks no HTTP there: is it https://?";

/// What TLS has to say about a connection that could not be made; none where it is not to blame.
pub(super) fn words(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<TlsError>() {
            return Some(say(error));
        }
        // An error of the system holds another one without naming it as its source.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of another library")]
fn say(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => certificate(error),
        TlsError::InvalidMessage(_) => "the server speaks no TLS: is it http://?".to_owned(),
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of another library")]
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "nobody that is trusted here vouches for its certificate; name the authority with `ca_file`".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            format!("its certificate is for {}, not for {}; check `url`", names.join(", "), host(expected))
        }
        CertificateError::NotValidForName => "its certificate is for another host; check `url`".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; the server needs a new one".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is the clock of this machine right?".to_owned()
        }
        other => format!("its certificate is not good: {other}"),
    }
}

fn host(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// `DnsName("a.example.com")` as people write it.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, name)| name.trim_end_matches(')').trim_matches('"'))
}
