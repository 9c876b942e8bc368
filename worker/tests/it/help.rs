//! Snapshots of the help texts.

use std::path::Path;

use cli_support::testing::{commands, kept_helps, name_of_help};

use crate::cli::{run, worker};

fn help(words: &[String]) -> String {
    let (code, stdout, stderr) = run(worker().args(words).arg("--help"));
    assert_eq!((code, stderr.as_str()), (0, ""), "{words:?}");
    stdout
}

#[test]
fn every_help_text_is_as_approved() {
    let mut names = Vec::new();
    for words in commands(help) {
        let name = name_of_help(&words);
        insta::assert_snapshot!(name.clone(), help(&words));
        names.push(name);
    }
    names.sort();
    let kept = kept_helps(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots"));
    assert_eq!(kept, names, "snapshots and commands");
}
