//! A real Chromium, driven through the WebDriver protocol: HTTP with JSON on loopback. Waits for what the page shows, never
//! for a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

/// How long a script may wait for the page to show something, in milliseconds. Only what never comes takes so long.
const PATIENCE: u64 = 60_000;

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

/// A key, as WebDriver writes it.
const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

impl Browser {
    /// Starts Chromium without a window on a screen.
    pub(crate) fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("chromium").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (driver, port) = Self::driver();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        browser.open();
        browser
    }

    /// Starts the driver of the browser, and finds out where it listens. It takes a port that is free for one of its two
    /// addresses, and gives up where it is not free for the other one too: then it is started again.
    fn driver() -> (Child, u16) {
        let mut said = String::new();
        for _ in 0..5 {
            match Self::one_driver() {
                Ok(started) => return started,
                Err(why) => said = why,
            }
        }
        panic!("chromedriver does not start: {said}")
    }

    /// One try at it, or what the driver said.
    fn one_driver() -> Result<(Child, u16), String> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = driver.unwrap_or_else(|error| {
            panic!("chromedriver cannot be started ({error}): `tests/run --install`, or apt-get install chromium chromium-driver")
        });
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let port = line.strip_prefix("ChromeDriver was started successfully on port ");
            let port = port.and_then(|port| port.trim_end_matches('.').parse().ok());
            said.push(line);
            port
        });
        let Some(port) = port else {
            driver.wait().unwrap();
            return Err(said.join("\n"));
        };
        // What it says later is of no interest, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((driver, port))
    }

    fn open(&mut self) {
        let root = rustix::process::geteuid().is_root();
        let data = format!("--user-data-dir={}", self._profile.path().display());
        let mut arguments = vec![
            "--headless=new".to_owned(),
            data,
            "--window-size=1280,900".to_owned(),
            "--force-device-scale-factor=1".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-first-run".to_owned(),
            "--lang=en-GB".to_owned(),
            "--host-resolver-rules=MAP kiln.test 127.0.0.1".to_owned(),
        ];
        if root {
            arguments.push("--no-sandbox".to_owned());
        }
        let wanted = json!({
            "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL" },
                "timeouts": { "script": PATIENCE, "pageLoad": PATIENCE },
            } }
        });
        let opened = self.ask("POST", "/session", &wanted).unwrap_or_else(|error| panic!("no browser: {error}"));
        self.session = format!("/session/{}", opened["sessionId"].as_str().unwrap());
    }

    /// One request. An error of WebDriver is a text.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| error.to_string())?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).map_err(|error| error.to_string())?;
        let body = answer(stream).map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"].as_str().unwrap_or_default())),
            None => Ok(answer["value"].take()),
        }
    }

    #[track_caller]
    fn command(&self, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        self.ask("POST", &path, body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    /// Goes to an address.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// What a script returns.
    #[track_caller]
    pub(crate) fn script(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What an expression is, as text.
    #[track_caller]
    pub(crate) fn text(&self, expression: &str) -> String {
        self.script(&format!("return String({expression})")).as_str().unwrap().to_owned()
    }

    /// The visible text of an element.
    #[track_caller]
    pub(crate) fn shown(&self, selector: &str) -> String {
        self.text(&format!("document.querySelector({})?.innerText", json!(selector)))
    }

    /// Waits until an expression is true. It is looked at whenever the page changes or the focus moves, also when it is another page.
    #[track_caller]
    pub(crate) fn until(&self, condition: &str) {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const holds = () => {{ try {{ return ({condition}) }} catch {{ return false }} }};
             const seen = new MutationObserver(() => holds() && (seen.disconnect(), done(true)));
             seen.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
             for (const news of ['load', 'focusin']) addEventListener(news, () => holds() && (seen.disconnect(), done(true)));
             if (holds()) done(true);"
        );
        let path = format!("{}/execute/async", self.session);
        // A page that goes away takes the script with it: then it is asked in the next one.
        let mut late = 0;
        for _ in 0..30 {
            match self.ask("POST", &path, &json!({ "script": script, "args": [] })) {
                Ok(_) => return,
                Err(error) if error.contains("unloaded") || error.contains("navigat") || error.contains("detached") => {
                }
                // It is told so too when the page goes away just then.
                Err(error) if error.starts_with("script timeout") && late < 1 => late += 1,
                Err(error) => panic!("{condition}: {error}\n{}", self.shown("body")),
            }
        }
        panic!("{condition}: one page after the other\n{}", self.shown("body"));
    }

    /// Waits until an element's visible text has this in it.
    #[track_caller]
    pub(crate) fn until_shown(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({}).innerText.includes({})", json!(selector), json!(text)));
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let found = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().unwrap().values().next().unwrap();
        format!("/element/{}", id.as_str().unwrap())
    }

    /// Clicks on an element, as with a mouse: it has to be there to be clicked.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command(&format!("{element}/click"), &json!({}));
    }

    /// Types into an element.
    #[track_caller]
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(&format!("{element}/value"), &json!({ "text": text }));
    }

    /// Presses and releases a key wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keys = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.command("/actions", &keys);
    }

    /// Goes on to the next thing with the tab key. A page that has just come may not hear keys yet: until it does, nothing
    /// in it has the focus.
    #[track_caller]
    pub(crate) fn tab(&self) {
        loop {
            self.press(TAB);
            if self.text("document.activeElement === document.body") == "false" {
                return;
            }
        }
    }

    #[track_caller]
    fn devtools(&self, name: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// Makes the window so large, in a light or a dark room.
    #[track_caller]
    pub(crate) fn look(&self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Says whether someone wants nothing to move.
    #[track_caller]
    pub(crate) fn motion(&self, still: bool) {
        let wanted = if still { "reduce" } else { "no-preference" };
        let features = json!([{ "name": "prefers-reduced-motion", "value": wanted }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Keeps a picture of the page in `target/screenshots/`: of all that is below one another, to a length.
    #[track_caller]
    pub(crate) fn picture(&self, name: &str) {
        let size = self.script(
            "return [innerWidth, Math.min(Math.max(innerHeight, document.documentElement.scrollHeight), 3000)]",
        );
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let taken = self.devtools("Page.captureScreenshot", &how);
        let bytes = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// What the browser complained about: scripts that failed, things that the policy forbids.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let all = self.command("/se/log", &json!({ "type": "browser" }));
        let bad =
            all.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// The body of an answer. The driver leaves the connection open.
fn answer(stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut lines = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    Ok(body)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, its driver at our word.
        drop(self.ask("DELETE", &self.session, &json!({})));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
