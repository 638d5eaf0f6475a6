//! Connections that break: the page says so, and goes on when it can.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::driver::Browser;
use super::{sign_in, sign_in_at};
use crate::serve::ask::{go, kill, up};
use crate::serve::{Server, orders};

/// A way to a server that can be cut.
struct Way {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Way {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let mut state = shared.lock().unwrap();
                if state.cut {
                    continue;
                }
                let far = TcpStream::connect(("127.0.0.1", server)).unwrap();
                state.open.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    std::thread::spawn(move || {
                        drop(io::copy(&mut from, &mut to));
                        drop(to.shutdown(std::net::Shutdown::Write));
                    });
                }
            }
        });
        Self { port, state }
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for stream in state.open.drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

#[test]
fn a_broken_connection_is_told_and_heals() {
    let project = orders();
    let key = "a key for the browser of this test";
    project.write(
        "keys.toml",
        format!("hosts = [\"kiln.test\"]\n[keys.ana]\nhash = \"{}\"\nadmin = true\n", hash(&project, key)),
    );
    let mut server = Server::start(&project, &["--api-key-file", "keys.toml"]);
    server.key = key.to_owned();
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let way = Way::to(server.port());
    let browser = Browser::start();
    let url = format!("http://kiln.test:{}", way.port);
    sign_in_at(&browser, &url, key, &format!("/projects/ORDERS/jobs/{job}"));
    browser.until_shown("#row-gated", "running");
    assert_eq!(browser.text("document.querySelector('#link').hidden"), "true");
    way.cut();
    browser.until_shown("#link", "The connection is lost");
    // What happens meanwhile is not lost.
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "DONE");
    assert!(browser.shown("#row-gated").contains("running"), "{}", browser.shown("#row-gated"));
    way.mend();
    browser.until_shown("#row-gated", "built");
    browser.until_shown("#summary .pill", "done");
    browser.until("document.querySelector('#link').hidden");
}

#[test]
fn a_page_of_a_server_that_began_anew_is_brought_up_to_date() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let port = server.port();
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    browser.until_shown("#row-gated", "running");
    kill(server.pid());
    drop(server);
    browser.until_shown("#link", "The connection is lost");
    project.settled();
    let server = Server::listening(&project, &format!("127.0.0.1:{port}"), &[]);
    browser.until_shown("#summary .pill", "aborted");
    browser.until("document.querySelector('#link').hidden && document.querySelector('#again')");
    assert!(!browser.shown("#row-gated .state").contains("running"), "{}", browser.shown("#row-gated"));
    assert_eq!(server.state(&job), "ABORTED");
}

#[test]
fn a_server_that_began_anew_asks_to_sign_in_and_leads_back() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let port = server.port();
    let browser = Browser::start();
    sign_in(&browser, &server, "/?state=RUNNING");
    drop(server);
    browser.until_shown("#link", "The connection is lost");
    // With another key.
    std::fs::remove_file(project.path(".kiln/api-key")).unwrap();
    let server = Server::listening(&project, &format!("127.0.0.1:{port}"), &[]);
    browser.until_shown("#link", "Sign in again");
    browser.click("#link a");
    browser.until("document.activeElement.id === 'key'");
    browser.write("#key", &format!("{}{}", server.key, super::driver::ENTER));
    browser.until("document.querySelector('form[action=\"/sign-out\"]')");
    assert_eq!(browser.text("location.search"), "?state=RUNNING");
}

fn hash(project: &crate::support::Project, key: &str) -> String {
    use std::io::Write;
    let mut child = project.command(&["serve", "--hash-key"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
