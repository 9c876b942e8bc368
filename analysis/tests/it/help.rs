//! The command line is a contract.

use crate::support::{analysis, stdout};

#[test]
fn help_is_as_approved() {
    const COMMANDS: &str = "metrics policy-metrics failures patch-stats latency tokens ablation detector-eval \
        significance multi-seed calibration cross-version throughput baselines fairness probe-report risk schedule \
        compare sweep simulate queue report sql diff parity audit fingerprint export completions";
    for command in std::iter::once("").chain(COMMANDS.split_whitespace()) {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let name = if command.is_empty() { "help" } else { command };
        insta::assert_snapshot!(format!("help-{name}"), stdout(&args));
    }
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
