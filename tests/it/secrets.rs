//! Secrets get into a step and out of nothing that Kiln writes.

use std::fs;
use std::path::Path;

use crate::support::Project;

const TOKEN: &str = "tok/en+0123 \"456\" äöü-abcdefghijklmnopqrstuvwxyz-the-end-of-a-long-one";
const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";

/// Prints both secrets in all the ways that a recipe might.
const PRINT: &str = r#"
import base64, json, os, sys, urllib.parse
for name in ["TOKEN", "KEY"]:
    value = os.environ[name]
    raw = value.encode()
    out = [value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value), ascii(raw)]
    out += [urllib.parse.quote(value), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)]
    out += ["".join("%%%02x" % b for b in raw), raw.hex(), raw.hex().upper()]
    for n in range(3):
        for encode in [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes]:
            out.append(encode(b"u:p"[:n] + raw + b":x"[:n]).decode())
    for line in value.splitlines():
        out.append("line: " + line)
    for text in out:
        for c in text.encode() + b"\n":
            sys.stdout.buffer.write(bytes([c]))
            sys.stdout.flush()
    sys.stderr.write("to standard error: " + value + "\n")
sys.exit(3)
"#;

/// All files below a folder.
fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// What a secret looks like in a file that leaks it.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = secret.lines().map(|line| line.as_bytes().to_vec()).collect();
    let hex: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for lines in hex.chunks_exact(8) {
        forms.push(lines.concat().into_bytes());
        forms.push(lines.concat().to_uppercase().into_bytes());
    }
    forms
}

#[test]
fn no_secret_is_written_in_any_form() {
    let mut project = Project::empty();
    project.variable("GIVEN", TOKEN);
    project.write("key", format!("{KEY}\n"));
    project.write("print.py", PRINT);
    let key = project.path("key");
    project.pipeline(&format!(
        "[dataset.a]\npath = \"a\"\nrun = 'python3 print.py'\nsecrets = {{ TOKEN = {{ env = \"GIVEN\" }}, KEY = {{ file = {key:?} }} }}\n"
    ));
    let said = project.expect(1, &["run", "--events", "events", "--output", "stream"]);
    let mut all =
        vec![("stdout".to_owned(), said.out.clone().into_bytes()), ("stderr".to_owned(), said.err.into_bytes())];
    files(&project.path(".kiln"), &mut all);
    all.push(("events".to_owned(), fs::read(project.path("events")).unwrap()));
    assert!(all.len() >= 5, "there is something to look at");
    for secret in [TOKEN, KEY] {
        for form in forms(secret) {
            for (name, content) in &all {
                let found = content.windows(form.len()).any(|window| window == form);
                assert!(!found, "{name} holds {:?}", String::from_utf8_lossy(&form));
            }
        }
    }
    let log = String::from_utf8(project.log("a")).unwrap();
    assert!(log.contains("to standard error: ***\n"), "{log}");
    // Nothing readable is left where a secret was encoded.
    for word in ["tok", "0123", "abcdef", "MIIE", "hkiG", "BEGIN", "dG9rL2", "TUlJR", "LS0tLS1CR"] {
        assert!(!log.contains(word), "{word} in\n{log}");
    }
    assert!(said.out.contains("***"), "{}", said.out);
}

#[test]
fn a_secret_that_is_shown_by_mistake_is_masked_and_warned_of() {
    let mut project = Project::empty();
    project.variable("GIVEN", "hunter2-hunter2");
    project.pipeline(
        "[dataset.a]\npath = \"a\"\nrun = 'test ${#SHOWN} = 15; echo 1 >{{ output }}'\nenv = { SHOWN = { env = \"GIVEN\" } }\n\
         tools = { x = \"echo $SHOWN\" }\n[task.b]\nrun = 'true'\nsecrets = { PASSWORD = { env = \"GIVEN\" } }\n",
    );
    let checked = project.expect(0, &["check"]).out;
    assert!(checked.contains("`env.SHOWN` of `a` takes GIVEN, which is a secret"), "{checked}");
    let run = project.kiln(&["run", "a", "--events", "events"]);
    assert_eq!(run.code, 0, "{run:?}");
    project.variable("GIVEN", "hunter2-hunter3");
    let plan = project.expect(0, &["plan"]);
    let mut all = vec![("said".to_owned(), format!("{run:?}{plan:?}{}", project.read("events")).into_bytes())];
    files(&project.path(".kiln"), &mut all);
    for (name, content) in &all {
        assert!(!content.windows(7).any(|window| window == b"hunter2"), "{name}");
    }
}

#[test]
fn what_a_failing_digest_says_is_masked() {
    let mut project = Project::empty();
    project.variable("GIVEN", "hunter2-hunter2");
    project.pipeline(
        "[dataset.a]\nrun = 'true'\ndigest = 'echo \"no entry for $PASSWORD\" >&2; exit 1'\nsecrets = { PASSWORD = { env = \"GIVEN\" } }\n",
    );
    let said = project.expect(1, &["run", "--events", "events"]);
    assert!(said.out.contains("no entry for ***"), "{}", said.out);
    assert!(!format!("{said:?}{}", project.read("events")).contains("hunter2"));
}

#[test]
fn a_command_that_holds_a_secret_by_mistake_is_shown_without_it() {
    let mut project = Project::empty();
    project.variable("GIVEN", "hunter2-hunter2");
    project.pipeline("[task.a]\nrun = 'false hunter2-hunter2'\nsecrets = { PASSWORD = { env = \"GIVEN\" } }\n");
    let said = project.expect(1, &["run", "--events", "events"]);
    assert!(said.out.contains("$ false ***"), "{}", said.out);
    assert!(!format!("{said:?}{}", project.read("events")).contains("hunter2"));
}

#[test]
fn short_secrets_are_warned_of() {
    let mut project = Project::empty();
    project.variable("GIVEN", "abc");
    project.pipeline("[task.a]\nrun = 'echo $PIN'\nsecrets = { PIN = { env = \"GIVEN\" } }\n");
    let checked = project.expect(0, &["check"]);
    assert!(checked.out.contains("secret `PIN` of `a` is not masked: it is too short"), "{}", checked.out);
    assert!(!format!("{checked:?}").contains("abc"));
    let said = project.expect(0, &["run"]);
    assert!(said.err.contains("secret `PIN` of `a` is not masked: it is too short"), "{}", said.err);
    assert_eq!(project.log("a"), b"abc\n");
}

#[test]
fn a_plan_says_which_secrets_a_run_lacks() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = \"echo >{{ output }}\"\nsecrets = { T = { env = \"NOT_HERE\" } }\n",
    );
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command]).err;
        assert!(said.contains("× secret `T` takes the variable NOT_HERE, which is not set"), "{said}");
    }
    let why = project.expect(0, &["why", "a"]).out;
    let way_out = "in the way: secret `T` takes the variable NOT_HERE, which is not set; set it: NOT_HERE=… kiln run\n";
    assert!(why.contains(way_out), "{why}");
    // What is there can be taken all the same.
    project.write("a", "");
    assert!(project.expect(0, &["adopt"]).out.contains("  took  a  a\n"));
}

#[test]
fn a_secret_that_is_empty_is_none() {
    let mut project = Project::empty();
    project.variable("GIVEN", "");
    project.write("empty", "");
    project.write("line", "\n");
    for (from, why) in [
        ("env = \"GIVEN\"", "secret `T` takes the variable GIVEN, which is empty"),
        ("file = \"empty\"", "secret `T`: empty is empty"),
        ("file = \"line\"", "secret `T`: line is empty"),
    ] {
        project.pipeline(&format!("[task.a]\nrun = \"true\"\nsecrets = {{ T = {{ {from} }} }}\n"));
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command]).err;
            assert!(said.contains(&format!("× {why}\n")), "{said}");
        }
    }
}

#[test]
fn a_secret_is_read_from_a_file_and_from_nothing_else() {
    let project = Project::empty();
    assert!(std::process::Command::new("mkfifo").arg(project.path("pipe")).status().unwrap().success());
    project.write("long", vec![b'x'; (1 << 20) + 1]);
    project.write("secret", "hunter2-hunter2");
    std::os::unix::fs::symlink("secret", project.path("link")).unwrap();
    let text = |file: &str| format!("[task.a]\nrun = 'echo $T >shown'\nsecrets = {{ T = {{ file = \"{file}\" }} }}\n");
    for (file, why) in [
        ("none", "there is no file none"),
        ("pipe", "pipe is no regular file"),
        ("/dev/zero", "/dev/zero is no regular file"),
        ("long", "long is longer than 1 MiB"),
    ] {
        project.pipeline(&text(file));
        project.expect(0, &["check"]);
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command]).err;
            assert!(said.contains(&format!("× secret `T`: {why}\n")), "{said}");
        }
        let said = project.expect(0, &["why", "a"]).out;
        assert!(said.contains(&format!("in the way: secret `T`: {why}; ")), "{said}");
    }
    project.pipeline(&text("link"));
    project.expect(0, &["run"]);
    assert_eq!(project.read("shown"), "hunter2-hunter2\n");
    let engine =
        "[engine.x]\nkind = \"dss\"\nurl = \"http://127.0.0.1:1\"\nproject = \"P\"\napi_key = { file = \"pipe\" }\n";
    project.pipeline(&format!("{engine}[dataset.a]\npath = \"a\"\nrun = \"echo >{{{{ output }}}}\"\n"));
    let said = project.expect(2, &["check", "--engine", "x"]).out;
    assert!(said.contains("pipe cannot be read: it is no regular file"), "{said}");
}
