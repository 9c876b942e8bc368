//! What a manifest says reaches a person as text: no control character, none that turns text around, in any form.

use serde_json::{Value, json};

use crate::cli::{run, worker, write};

/// Escape, a C1 control, a bell by its escape in YAML, the end of a line that is not one, text turned around.
const STEERING: &str = r#""a\e[31m\x9b\a\u2028\u202e\u2066z""#;

fn pod() -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {STEERING}}} # \u{202e}\u{85}\nspec:\n  containers:\n  - name: \
         {STEERING}\n    image: registry.example.com/a:1\n    env: [{{name: DB_SECRET, value: {STEERING}}}]\n    \
         securityContext: {{privileged: true}}\n"
    )
}

/// Characters that act on a reader's screen.
fn acting(text: &str) -> Vec<char> {
    let acts = |c: &char| {
        (c.is_control() && *c != '\n' && *c != '\t')
            || matches!(*c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(acts).collect()
}

#[test]
fn no_form_of_findings_steers_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let name = "\u{202e}\u{1b}[31m.yaml";
    write(folder.path(), name, &pod());
    write(folder.path(), "broken.yaml", "a: \"\u{202e}\u{9b}\n");
    for form in ["text", "json", "jsonl", "sarif", "detections"] {
        let (_, stdout, stderr) =
            run(worker().current_dir(folder.path()).args(["detect", "--output", form, "."]));
        assert!(stdout.contains('z'), "{form}: {stdout}{stderr}");
        assert_eq!((acting(&stdout), acting(&stderr)), (vec![], vec![]), "{form}: {stdout}{stderr}");
    }
    let (_, stdout, _) = run(worker().current_dir(folder.path()).args([
        "detect",
        "--output",
        "detections",
        "-p",
        "no_privileged",
        ".",
    ]));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&found[0]["manifest_path"], &found[0]["manifest_yaml"]),
        (&json!(name), &json!(pod())),
        "lossless"
    );
    let (_, stdout, _) = run(worker().current_dir(folder.path()).args(["detect", "--output", "sarif", "."]));
    let log: Value = serde_json::from_str(&stdout).unwrap();
    for result in log["runs"][0]["results"].as_array().unwrap() {
        assert_eq!(acting(result["message"]["text"].as_str().unwrap()), vec![], "{result}");
        let object = &result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
        assert_eq!(acting(object.as_str().unwrap()), vec![], "{result}");
    }
}

#[test]
fn no_diff_steers_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "\u{1b}]0;x.yaml", &pod());
    for arguments in [&["propose", "--diff", "."] as &[&str], &["propose", "."], &["fix", "--unsafe", "."]] {
        let (_, stdout, stderr) = run(worker().current_dir(folder.path()).args(arguments));
        // What `fix` cannot repair, because no server takes the name, it tells on stderr.
        assert!(format!("{stdout}{stderr}").contains("privileged"), "{arguments:?}: {stdout}{stderr}");
        assert_eq!((acting(&stdout), acting(&stderr)), (vec![], vec![]), "{arguments:?}: {stdout}{stderr}");
    }
}

#[test]
fn a_diff_of_a_file_from_windows_can_be_applied() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: a:1\n    \
                securityContext: {privileged: true}\n";
    write(folder.path(), "a.yaml", &text.replace('\n', "\r\n"));
    let (_, stdout, stderr) =
        run(worker().current_dir(folder.path()).args(["fix", "--unsafe", "-p", "no_privileged", "a.yaml"]));
    assert!(stdout.contains("+    securityContext: {privileged: false}\r\n"), "{stdout}{stderr}");
}
