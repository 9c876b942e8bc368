//! The command line is a contract.

use std::path::Path;

use cli_support::testing::{commands, kept_helps, name_of_help};

use crate::support::{analysis, stdout};

fn help(words: &[String]) -> String {
    let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
    args.push("--help");
    stdout(&args)
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
    assert_eq!(kept, names, "texts that are kept, and commands that there are");
}

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("policy-metrics"), "{shell}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [&["metrics"][..], &["metrics", "x", "--output", "yaml"], &["no-such-command"]] {
        analysis(args).assert().code(2);
    }
}
