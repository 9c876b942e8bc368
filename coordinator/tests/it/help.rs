//! Snapshots of all help texts.

use std::path::Path;

use cli_support::testing::{commands, kept_helps, name_of_help};

use crate::support::coordinator;

fn help(words: &[String]) -> String {
    let output = coordinator(&[words, &["--help".to_owned()][..]].concat());
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
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
    let stored = kept_helps(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots"));
    assert_eq!(stored, names, "stored snapshots, and existing commands");
}
