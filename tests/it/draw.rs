//! Pictures of plans: the one that the README shows is current, and all are sound documents.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::pipelines::shipped;
use crate::support::Project;

/// Parses a document as strictly as a browser does.
#[track_caller]
fn is_sound(svg: &str) {
    let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parseString(sys.stdin.buffer.read())";
    let mut python = Command::new("python3").args(["-c", parse]).stdin(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(svg.as_bytes()).unwrap();
    assert!(python.wait().unwrap().success(), "{svg}");
    let outside = svg.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http") && !outside.contains("<script"), "nothing comes from elsewhere");
}

/// Set `INSTA_UPDATE=always` to draw it anew.
#[test]
fn the_picture_in_the_readme_is_current() {
    let project = shipped();
    let file = ["-f", "pipelines/weather.toml"];
    project.expect(0, &["run", file[0], file[1]]);
    // How long this machine took is nobody's business.
    let store = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    store.execute("DELETE FROM durations", []).unwrap();
    let svg = project.expect(0, &["plan", file[0], file[1], "--var", "wet_mm=5", "--format", "svg"]).out;
    is_sound(&svg);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img/weather-plan.svg");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &svg).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == svg, "docs/img/weather-plan.svg is not what Kiln draws; INSTA_UPDATE=always draws it anew");
}

#[test]
fn hostile_text_stays_text_in_every_picture() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = \"echo \\\"$X\\\" > {{ output }}\"\ndescription = \"</title><script>\\u0007&\"\n\
         env = { X = \"]]>\\\"<b>'\" }\n",
    );
    project.expect(0, &["run"]);
    let text = project.read("pipeline.toml").replace("]]>", "<![CDATA[\\u001b#;`");
    project.write("pipeline.toml", text);
    is_sound(&project.expect(0, &["plan", "--format", "svg"]).out);
    let dot = project.expect(0, &["plan", "--format", "dot"]).out;
    assert_eq!(dot.lines().filter(|line| line.contains("[label=")).count(), 1, "{dot}");
    assert!(project.expect(0, &["plan", "--format", "mermaid"]).out.starts_with("flowchart TB\n"));
    let said = project.expect(2, &["plan", "--collapse", "tag"]);
    assert!(said.err.contains("--collapse is for pictures"), "{}", said.err);
}

#[test]
fn where_a_picture_is_not_as_it_was_asked_for_that_is_said() {
    let node = |i: usize| {
        let reads = if i < 20 { 0 } else { 15 };
        let inputs: Vec<_> = (0..reads).map(|k| format!("\"n{}\"", i / 20 * 20 - 20 + (i + k) % 20)).collect();
        format!("[dataset.n{i}]\npath = \"n{i}\"\ninputs = [{}]\nrun = \"true\"\n", inputs.join(", "))
    };
    let file: String = (0..60).map(node).collect();
    let project = Project::new(&file);
    let plan = |args: &[&str]| project.expect(0, &[&["plan", "--format"], args].concat());
    let tagged = plan(&["svg", "--collapse", "tag"]);
    assert_eq!(tagged.err, "warning: no step in the picture has a tag: it is grouped by stage\n");
    // 600 arrows are too many for people, and more than Mermaid takes.
    let grouped = plan(&["mermaid"]);
    assert_eq!((grouped.out.matches(" --> ").count(), grouped.err.as_str()), (2, ""));
    let all = plan(&["mermaid", "--collapse", "none"]);
    assert_eq!(all.out.matches(" --> ").count(), 600);
    assert!(
        all.err.starts_with("warning: 600 edges: where `maxEdges` is not set, Mermaid draws no more than 500"),
        "{}",
        all.err
    );
}
