//! The way to a DSS server over TLS: whom Kiln trusts, and what it says where it does not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::dss::{ONE, project, run};
use crate::dss_server::Server;
use crate::support::Project;

/// An authority that nobody knows.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate is for `host`, and valid until that year.
fn server(authority: &CertifiedIssuer<'static, KeyPair>, host: &str, until: i32) -> Server {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    Server::with_tls(Arc::new(config))
}

/// A project whose engine speaks TLS to the server.
fn over_tls(server: &Server, authority: &CertifiedIssuer<'static, KeyPair>, settings: &str) -> Project {
    let project = project(server, settings, ONE);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("http://", "https://"));
    project.write("ca.pem", authority.pem());
    project
}

const CA: &str = "ca_file = \"ca.pem\"";

#[test]
fn an_authority_of_ones_own_is_trusted() {
    let authority = authority();
    let server = server(&authority, "127.0.0.1", 2100);
    let said = run(&over_tls(&server, &authority, CA), 0, &[]);
    assert!(said.out.contains("1 built"), "{said:?}");
    assert!(!said.err.contains("certificate"), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 1);
}

#[test]
fn who_is_not_trusted_gets_no_key() {
    let authority = authority();
    for (host, until, settings, expected) in [
        ("127.0.0.1", 2100, "", "nobody that is trusted here vouches for its certificate"),
        ("dss.example.com", 2100, CA, "its certificate is for dss.example.com, not for 127.0.0.1"),
        ("127.0.0.1", 2002, CA, "its certificate has expired"),
    ] {
        let server = server(&authority, host, until);
        let said = run(&over_tls(&server, &authority, settings), 3, &[]);
        assert!(said.out.contains(expected), "{expected} is missing in {}", said.out);
        assert_eq!(server.count(|_| true), 0, "nothing is sent, least of all the key");
    }
}

#[test]
fn trust_in_anyone_is_warned_of() {
    let authority = authority();
    let server = server(&authority, "dss.example.com", 2002);
    let project = over_tls(&server, &authority, "insecure_tls = true");
    let said = run(&project, 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 1);
    let warning = "[engine.prod] accepts any certificate: anyone on the way can read the key";
    assert!(said.err.contains(warning), "{said:?}");
    assert!(project.expect(3, &["check", "--engine", "prod"]).err.contains(warning), "the server has no such project");
    let said = project.expect(0, &["jobs", "list", "--engine", "prod"]);
    assert!(said.err.contains(warning), "{said:?}");
}

#[test]
fn what_is_no_tls_is_told() {
    // TLS is spoken to a server that speaks none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let said = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
            drop(said);
        }
    });
    let plain = project(&Server::start(), "", ONE);
    let text = plain.read("pipeline.toml");
    let at = text.find("http://").unwrap();
    let end = at + text[at..].find('"').unwrap();
    plain.write("pipeline.toml", format!("{}{url}{}", &text[..at], &text[end..]));
    let said = run(&plain, 3, &[]);
    assert!(said.out.contains("the server speaks no TLS: is it http://?"), "{}", said.out);
    // None is spoken to a server that wants it.
    let authority = authority();
    let server = server(&authority, "127.0.0.1", 2100);
    let said = run(&project(&server, "", ONE), 3, &[]);
    assert!(said.out.contains("the server speaks no HTTP there: is it https://?"), "{}", said.out);
}

#[test]
fn a_file_of_certificates_that_holds_none_is_told() {
    let authority = authority();
    let server = server(&authority, "127.0.0.1", 2100);
    for (text, expected) in [(None, "ca_file"), (Some("nothing\n"), "holds no certificate (PEM)")] {
        let project = over_tls(&server, &authority, "ca_file = \"other.pem\"");
        if let Some(text) = text {
            project.write("other.pem", text);
        }
        let said = project.kiln(&["run", "--engine", "prod"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(expected) && said.err.contains("other.pem"), "{said:?}");
    }
}
