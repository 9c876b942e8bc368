//! Why an archive cannot be used.

/// An archive is not one that can be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// It cannot be read or written.
    #[error("cannot {action} {name}: {source}")]
    File { action: &'static str, name: String, source: std::io::Error },
    /// It is not an archive of ours.
    #[error("{name} is not a bundle: {reason}")]
    Foreign { name: String, reason: String },
    /// A later release wrote it.
    #[error("the bundle has format {found}, this program reads up to {known}: use a newer program")]
    Newer { found: u64, known: u32 },
    /// A member is not one that bundles have.
    #[error("the bundle is refused: {name}: {reason}")]
    Refused { name: String, reason: String },
    /// A member that the manifest lists is not there.
    #[error("the bundle lacks {name}, which its manifest lists: it is not whole")]
    Lacking { name: String },
    /// A member is not what the manifest says.
    #[error("{name} of the bundle was changed: {reason}")]
    Changed { name: String, reason: String },
}

impl BundleError {
    pub(crate) fn refused(name: &str, reason: impl Into<String>) -> Self {
        // A name may be anything: only what can be read of it is shown.
        Self::Refused { name: cli_support::escape::one_line(name), reason: reason.into() }
    }
}
