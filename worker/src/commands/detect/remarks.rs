//! What is said of a file besides its findings: what is left alone, what is excepted, what cannot be read.

use corpus::{FileScan, Scanned, Suppressed, TroubleSort, is_kustomization};
use engine::exceptions::Exception;

/// What is said of a file besides its findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Remark {
    pub(in crate::commands) about: About,
    pub(in crate::commands) path: String,
    /// From 1; `None`: the whole file.
    pub(in crate::commands) line: Option<usize>,
    /// Without secrets.
    pub(in crate::commands) message: String,
}

/// What a remark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum About {
    /// A document in which nothing is looked for.
    LeftAlone,
    /// A finding that an annotation excepts.
    Excepted,
    /// A finding that the settings of the repository suppress.
    Suppressed,
    /// A document or a file that cannot be read, and what that says.
    Unreadable(TroubleSort),
}

impl About {
    /// One word for machines.
    pub(in crate::commands) const fn word(self) -> &'static str {
        match self {
            Self::LeftAlone => "left_alone",
            Self::Excepted => "excepted",
            Self::Suppressed => "suppressed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl Remark {
    /// A line for people.
    pub(in crate::commands) fn text(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let about = match self.about {
            About::LeftAlone => "left alone: ",
            About::Excepted => "not counted: ",
            About::Suppressed => "suppressed: ",
            About::Unreadable(_) => "",
        };
        format!("{}{line}: {about}{}", self.path, self.message)
    }
}

/// Whether a document is an object, or something is wrong with it as one. Others are values of a chart, settings of a program.
pub(super) fn is_object(object: &Scanned) -> bool {
    !object.document.identity.kind.is_empty() || !object.findings.is_empty() || object.fragment.is_some()
}

/// Everything that is said of a file besides its findings.
pub(in crate::commands) fn remarks(file: &FileScan) -> Vec<Remark> {
    let remark = |about, line, message| Remark { about, path: file.path.clone(), line, message };
    let at = |object: &Scanned| Some(object.place.lines + 1);
    let mut all = Vec::new();
    let others = file.objects.iter().filter(|object| !is_object(object) && !is_kustomization(&file.path));
    all.extend(others.map(|other| remark(About::LeftAlone, at(other), "it has no kind".to_owned())));
    for object in &file.objects {
        let fragment = object.fragment.iter();
        all.extend(fragment.map(|reason| remark(About::LeftAlone, at(object), reason.clone())));
        all.extend(object.excepted.iter().map(|(finding, exception)| {
            let Exception { annotation, reason } = exception;
            let message = format!("{} (annotation {annotation}: {reason:?})", finding.check);
            remark(About::Excepted, at(object), message)
        }));
        all.extend(object.suppressed.iter().map(|(finding, Suppressed { place, reason })| {
            remark(About::Suppressed, at(object), format!("{} ({place}: {reason:?})", finding.check))
        }));
    }
    let skipped = file.skipped.iter();
    all.extend(skipped.map(|(place, why)| remark(About::LeftAlone, Some(place.lines + 1), why.clone())));
    all.extend(file.troubles.iter().map(|trouble| {
        // A parser may quote the text.
        let message = sensitive::mask_text(&trouble.problem.message);
        remark(About::Unreadable(trouble.sort), trouble.line, message)
    }));
    all
}
