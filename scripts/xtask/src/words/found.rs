//! Names and messages of a source file, by the places where words count.

/// Where a word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A declared struct, enum, union, trait or alias; a message of a `.proto` file.
    Type,
    /// A variant of an enum.
    Variant,
    /// A declared function.
    Function,
    /// A declared module.
    Module,
    /// The stem of a file, or a folder.
    File,
    /// Any identifier.
    Name,
    /// A string literal outside tests.
    Message,
}

/// A name or a message in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) line: usize,
}
