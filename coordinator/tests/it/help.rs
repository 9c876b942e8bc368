//! The help texts: a changed one is a decision.

use crate::support::coordinator;

#[test]
fn help_is_what_it_was() {
    for command in [
        "",
        "run",
        "serve",
        "submit",
        "status",
        "cancel",
        "drain",
        "runs list",
        "runs prune",
        "answers stats",
        "answers export",
        "answers import",
        "answers prune",
        "import",
        "probe",
        "config show",
        "completions",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = coordinator(&arguments);
        assert!(output.status.success());
        let name = format!("help {command}").trim().replace(' ', "-");
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    }
}
