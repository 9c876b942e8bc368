//! What `--version` prints: the release, the commit, and the versions of formats and protocols.

use std::fmt::{Display, Write as _};

use clap::{Command, Parser};

/// Shown in place of a commit that the build was not told. `scripts/release` and `scripts/image` tell it.
const UNKNOWN: &str = "unknown";

/// What a program was built from, and what it reads, writes and speaks.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    /// The commit, as `main.rs` has it from the environment of the build.
    pub commit: Option<&'a str>,
    /// Name and version of each format and protocol.
    pub formats: &'a [(&'a str, &'a dyn Display)],
}

impl Version<'_> {
    /// Parses the arguments of this process, or ends it with an error, a help text or the version.
    pub fn parse<C: Parser>(self) -> C {
        let mut matches = self.on(C::command()).get_matches();
        C::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
    }

    /// Adds the details to the release that `command` has already: to `--version` all, to `-V` none.
    fn on(self, command: Command) -> Command {
        let release = command.get_version().unwrap_or_default().to_owned();
        // clap keeps texts of the life of the process; there is one.
        command.long_version(&*self.text(&release).leak())
    }

    fn text(self, release: &str) -> String {
        let commit = self.commit.filter(|commit| !commit.is_empty()).unwrap_or(UNKNOWN);
        let mut text = format!("{release}\ncommit {commit}");
        for (name, version) in self.formats {
            let _ = write!(text, "\n{name} {version}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_follow_the_release_in_the_long_form_alone() {
        let version =
            Version { commit: Some("0a1b2c3d4e5f"), formats: &[("protocol", &5), ("results format", &2)] };
        let command = version.on(Command::new("tool").version("1.2.3"));
        assert_eq!(command.render_version(), "tool 1.2.3\n");
        assert_eq!(
            command.render_long_version(),
            "tool 1.2.3\ncommit 0a1b2c3d4e5f\nprotocol 5\nresults format 2\n"
        );
    }

    #[test]
    fn a_build_that_was_not_told_its_commit_says_so() {
        for commit in [None, Some("")] {
            assert_eq!(Version { commit, formats: &[] }.text("1.2.3"), "1.2.3\ncommit unknown");
        }
    }
}
