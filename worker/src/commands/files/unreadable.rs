//! The argument that allows files that cannot be read.

use corpus::FileScan;

use crate::commands::detect::{About, Remark, remarks};
use crate::findings::unread::Unread;

/// Whether the command may go on without what it cannot read.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct UnreadableArg {
    /// Do not end with 2 because a file or a document cannot be read or parsed, if another one can: it is said and counted
    #[arg(long)]
    pub(crate) ignore_unreadable: bool,
}

impl UnreadableArg {
    /// What of a file cannot be read. `rendered`: a program rendered it, and its lines are not those of the file that it names.
    pub(crate) fn unread(self, file: &FileScan, rendered: bool) -> Vec<Unread> {
        let all = remarks(file).into_iter().filter_map(|remark| self.of(remark));
        all.map(|unread| Unread { line: unread.line.filter(|_| !rendered), ..unread }).collect()
    }

    /// What a remark says about what cannot be read.
    pub(in crate::commands) fn of(self, remark: Remark) -> Option<Unread> {
        let Remark { about: About::Unreadable(sort), path, line, message } = remark else { return None };
        Some(Unread { path, line, message, sort, is_ignored: self.ignore_unreadable })
    }
}
