//! `worker fix --interactive`: asks about each repair, as `git add --patch` does about each hunk.
//!
//! Shows the diff on standard output, asks on standard error, and reads answers from standard input, a line each: those of a
//! person at a terminal, or those of a pipe. At its end the rest is left.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::sync::{Mutex, PoisonError};

use cli_support::escape::one_line;
use cli_support::output::{self, Paint};
use domain::outcome::Proposal;
use domain::policy::PolicyId;
use engine::yaml::to_yaml;

use crate::repair::print_diff;

/// Why a violation is left whose repair is not wanted.
pub(super) const DECLINED: &str = "the repair was declined";
/// Why a violation is left whose repair is not asked about any more. It is counted and not said.
pub(super) const NOT_ASKED: &str = "the repair was not asked about";

/// Longest answer that is read.
const ANSWER_BYTES: u64 = 1024;

const HELP: &str = "y - make this repair\nn - do not make it\na - make it and all later ones of this file, with their cautions\n\
    d - make neither it nor any later one of this file\nq - make neither it nor any later one; what was chosen before is written\n\
    ? - show this help";

/// Asks about repairs, one after the other.
#[derive(Debug, Default)]
pub(in crate::commands) struct Asker(Mutex<Course>);

/// How the next repair is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Course {
    /// It is asked about.
    #[default]
    Ask,
    /// It is made, if it is of the same file.
    AllOfFile,
    /// It is not made, if it is of the same file.
    NoneOfFile,
    /// It is not made.
    Over,
}

/// A repair that is asked about.
pub(super) struct Offer<'a> {
    pub(super) path: &'a str,
    /// The object with its place.
    pub(super) subject: &'a str,
    pub(super) policy: PolicyId,
    pub(super) proposal: &'a Proposal,
    /// The text of the file without it and with it.
    pub(super) before: &'a str,
    pub(super) after: &'a str,
}

impl Asker {
    fn course(&self) -> Course {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, course: Course) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = course;
    }

    /// Begins with another file.
    pub(super) fn begin_file(&self) {
        if self.course() != Course::Over {
            self.follow(Course::Ask);
        }
    }

    /// Whether no further repair of the file is asked about, nor made.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.course(), Course::NoneOfFile | Course::Over)
    }

    /// Whether the repair is to be made.
    pub(super) fn wants(&self, offer: &Offer<'_>) -> io::Result<bool> {
        match self.course() {
            Course::Ask => {}
            Course::AllOfFile => return Ok(true),
            Course::NoneOfFile | Course::Over => return Ok(false),
        }
        offer.show()?;
        let (wanted, course) = loop {
            match answer()?.as_deref().map(str::trim) {
                Some("y") => break (true, Course::Ask),
                Some("n") => break (false, Course::Ask),
                Some("a") => break (true, Course::AllOfFile),
                Some("d") => break (false, Course::NoneOfFile),
                Some("q") => break (false, Course::Over),
                Some(_) => HELP.lines().for_each(output::say),
                None => {
                    output::say("the answers have ended: the rest is left");
                    break (false, Course::Over);
                }
            }
        };
        self.follow(course);
        Ok(wanted)
    }
}

/// Asks, and reads the answer; `None`: there are no more.
fn answer() -> io::Result<Option<String>> {
    let mut err = io::stderr().lock();
    write!(err, "{}", Paint::stderr().strong("make this repair [y,n,a,d,q,?]? "))?;
    err.flush()?;
    let mut line = String::new();
    let read = io::stdin().lock().take(ANSWER_BYTES).read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

impl Offer<'_> {
    fn show(&self) -> io::Result<()> {
        let paint = Paint::stdout();
        let title = format!("{}: {}: {}", self.subject, self.policy, self.policy.title());
        output::print(&format!("{}\n", paint.strong(&one_line(&title))))?;
        for caution in &self.proposal.cautions {
            let text = format!("caution {caution}: {}", caution.sentence());
            output::print(&format!("{}\n", paint.notable(&text)))?;
        }
        print_diff(self.path, self.before, self.after)?;
        let companions = &self.proposal.companions;
        companions.iter().try_for_each(|companion| {
            print_diff(&format!("{} (companion)", self.path), "", &to_yaml(companion))
        })
    }
}
