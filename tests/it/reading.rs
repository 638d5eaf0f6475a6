//! Whatever a file holds, reading and checking it ends, and every place that is told lies in the text. What the reader
//! takes for safe inside a script is safe for a real shell.

use std::path::Path;
use std::process::Command;

use kiln::base::span::{Located, Problem, Source};
use kiln::graph::Graph;
use kiln::pipeline::template::{Piece, Place, parse};
use kiln::pipeline::{check, read};
use proptest::prelude::*;
use proptest::sample::Index;

/// The pipelines that ship, and one that has a little of all.
fn texts() -> Vec<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["pipelines/weather.toml", "pipelines/penguins.toml", "src/cli/init.toml"];
    let mut texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(repository.join(file)).unwrap()).collect();
    texts.push(
        "[pipeline]\nformat = 1\nname = \"é\"\n[dataset.a]\npath = 'ü/{a'\ninputs = [\"b\", 'c']\nenv = { X = { env = \"Y\" }, Z.env = \"é\" }\n\
         run = \"\"\"\necho \\\n  {{ inputs.é }} \\u00e9 {{ }} \"{{ vars.x }}\"\"\"\"\nsecrets.P = { file = \"x\" }\n[dataset.b]\ninputs = [\"a\"]\nrun = ['x', '{{ y']\n\
         [dataset.a]\npath = \"é\"\npath = \"b\"\n[task.\"é ü\"]\n[[folder.x]]\n[vars]\nx = \"a b\"\nd = 2026-01-01\n"
            .to_owned(),
    );
    texts
}

/// Reads and checks a text as the program does, and looks at every place that is told.
fn look(bytes: Vec<u8>) {
    let (source, problems) = match read::source("x.toml", bytes) {
        Err(wrong) => (wrong.0, vec![wrong.1]),
        Ok(source) => {
            let problems = problems(&source);
            (source, problems)
        }
    };
    for problem in &problems {
        for label in &problem.labels {
            let place = source.text.get(label.span.clone());
            assert!(place.is_some(), "{problem:?} lies outside of\n{}", source.text);
        }
        let mut shown = String::new();
        miette::GraphicalReportHandler::new().render_report(&mut shown, &Located::new(problem, &source)).unwrap();
    }
}

fn problems(source: &Source) -> Vec<Problem> {
    let (raw, mut problems) = read::read(&source.text);
    let Some(raw) = raw else { return problems };
    let options = check::Options { own: &[], vars: &[], project: None };
    let (pipeline, found) = check::check(raw, &source.text, &options);
    problems.extend(found);
    problems.extend(Graph::build(&pipeline).err().unwrap_or_default());
    problems
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, String),
    Swap(Index, Index),
    Repeat(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let bits = "(\\[|\\]|\\{\\{|\\}\\}|=|\"|'|\"\"\"|\\\\|\n|\r\n|#|\\.|,|é|\u{1b}|x|1){1,4}";
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), 1..40_usize).prop_map(|(at, n)| Change::Remove(at, n)),
        (any::<Index>(), bits).prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Swap(a, b)),
        any::<Index>().prop_map(Change::Repeat),
    ]
}

fn apply(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    match change {
        _ if bytes.is_empty() => {}
        Change::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Remove(at, n) => {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        Change::Insert(at, text) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, text.bytes());
        }
        Change::Swap(a, b) => {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
            bytes = lines.concat();
        }
        Change::Repeat(at) => {
            let line = lines[at.index(lines.len())].clone();
            lines.push(line);
            bytes = lines.concat();
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_file_is_read_to_its_end(which in any::<Index>(), changes in prop::collection::vec(change(), 1..6)) {
        let texts = texts();
        let text = which.get(&texts).clone().into_bytes();
        look(changes.iter().fold(text, apply));
    }
}

#[test]
fn each_beginning_of_a_file_is_read_to_its_end() {
    let text = texts().pop().unwrap().into_bytes();
    for end in 0..=text.len() {
        look(text[..end].to_vec());
    }
}

#[test]
fn a_long_chain_is_no_trouble_and_a_long_cycle_is_told_in_short() {
    const LENGTH: usize = 20_000;
    let told = |of: &dyn Fn(usize) -> usize| {
        let node = |i| format!("[dataset.d{i}]\nrun = \"x\"\ninputs = [\"d{}\"]\n", of(i));
        let nodes: String = (0..LENGTH).map(node).collect();
        let head = "[pipeline]\nformat = 1\nname = \"p\"\n";
        problems(&Source::new("x", format!("{head}{nodes}[dataset.d{LENGTH}]\n")))
    };
    assert_eq!(told(&|i| i + 1), []);
    assert_eq!(told(&|i| if i == 0 { LENGTH } else { i - 1 }), []);
    let ring = told(&|i| (i + 1) % LENGTH);
    let short = "cycle: d0 → d19999 → d19998 → … → d2 → d1 → d0";
    assert_eq!(ring.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [short]);
    assert_eq!(ring[0].labels.len(), 6);
}

/// Scripts that print the value at `{{ v }}` where the reader takes the place for bare.
const SCRIPTS: &[&str] = &[
    "printf '%s' {{ v }}",
    "printf \"%s\" {{ v }} # it's",
    "x={{ v }}; printf %s \"$x\"",
    "printf %s \"$(printf %s {{ v }})\"",
    ": `echo it\\'s`; printf %s {{ v }}",
    "printf %s \"$(case a in a) printf %s {{ v }} ;; esac)\"",
    "case {{ v }} in ('a b'|\"x\") ;; *) printf %s {{ v }} ;; esac",
    "f() { printf %s \"$1\"; }; (f {{ v }})",
    "cat <<'E-1' >/dev/null; printf %s {{ v }}\nit's\nE-1\n",
    "cat >/dev/null <<E\n$(echo \"a'b\")\nE\nprintf %s {{ v }}",
    ": $((1<<2)) ${#HOME} $#; printf %s {{ v }}",
    ": \"${HOME:-\"x'y\"}\"; printf %s {{ v }}",
    ": ${HOME#\"'\"}; printf %s {{ v }}",
    "if true; then case x in x) printf %s {{ v }};; esac; fi",
    "# don't\nprintf %s {{ v }}",
    "echo a#'b' >/dev/null; printf %s {{ v }}",
    "printf %s \\\n  {{ v }}",
    "printf '%s' ''{{ v }}\"\"",
    "eval \"$(cat <<'E'\n:\nE\n)\"; printf %s {{ v }}",
];

/// Scripts that print the value at `{{ v }}` where it stands inside quotes.
const QUOTED: &[&str] = &[
    "printf '%s' \"{{ v }}\"",
    "printf '%s' '{{ v }}'",
    "printf '%s' \"$(printf '%s' '{{ v }}')\"",
    "printf '%s' \"$(cat <<E\n{{ v }}\nE\n)\"",
    "printf '%s' \"$(cat <<'E'\n{{ v }}\nE\n)\"",
    "printf '%s' \"$(cat <<E\n$(true) \\$({{ v }}\nE\n)\" | tail -c +4",
];

#[test]
fn a_root_that_needs_quotes_is_written_as_the_quotes_ask_for() {
    for script in QUOTED {
        let (template, errors) = parse(*script);
        assert_eq!(errors, [], "{script}");
        for value in ["/plain", "/two words/x", "/it's \"quoted\"/x", "/$HOME `x` \\ \\\\ *?;&|<>()#~/x", "/é/{a,b}!x"]
        {
            let text = template.for_shell(&|_| vec![value.to_owned()]);
            for shell in ["sh", "bash"] {
                let Ok(said) = Command::new(shell).arg("-euc").arg(&text).output() else { continue };
                assert_eq!(String::from_utf8_lossy(&said.stdout), value, "{shell} -euc\n{text}");
            }
        }
    }
}

#[test]
fn a_real_shell_sees_the_value_as_it_is() {
    let values = [
        "plain",
        "two words",
        "it's",
        "\"quoted\" $HOME `x` \\ *",
        "a\nb",
        "-n",
        "é;&|<>()",
        "",
        "#x",
        "~",
        "{a,b}",
        "!x",
    ];
    for script in SCRIPTS {
        let (template, errors) = parse(*script);
        assert_eq!(errors, [], "{script}");
        let bare = template
            .pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Text(_) | Piece::Name { place: Place::Bare, .. }));
        assert!(bare, "not bare: {script}");
        for value in values {
            let text = template.for_shell(&|_| vec![value.to_owned()]);
            for shell in ["sh", "bash"] {
                let Ok(said) = Command::new(shell).arg("-euc").arg(&text).output() else { continue };
                assert_eq!(
                    String::from_utf8_lossy(&said.stdout),
                    value,
                    "{shell} -euc\n{text}\n{}",
                    String::from_utf8_lossy(&said.stderr)
                );
            }
        }
    }
}
