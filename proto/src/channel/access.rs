//! Command-line options of a client or worker that say how it proves who it is, and what it accepts from the coordinator.

use std::path::{Path, PathBuf};

use domain::secret::Secret;

/// Environment variable with the path of the token file, never the token itself.
pub const TOKEN_FILE_VARIABLE: &str = "COORDINATOR_TOKEN_FILE";

/// Shortest token that is accepted, in characters: 16 of base64 are 96 bits.
pub const MIN_TOKEN_CHARS: usize = 16;

/// How a client or worker reaches a coordinator that is not of the same user on the same machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Access to the coordinator")]
pub struct Access {
    /// Certificates (PEM) that a coordinator's certificate must be signed by; needed for https://
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate (PEM) that proves the role of this program
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File with the token that proves the role of this program
    #[arg(long, value_name = "FILE", env = TOKEN_FILE_VARIABLE)]
    pub token_file: Option<PathBuf>,
    /// Talk plain text over TCP to a coordinator that has not proved who it is
    #[arg(long)]
    pub insecure: bool,
}

/// A token file that cannot be used. Never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum BadTokenFile {
    /// It cannot be read.
    #[error("cannot read the token file {}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// A line is not a role and a token.
    #[error("{}:{line}: {problem}: a line is a role (worker, operator, viewer) and a token", path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It has no token.
    #[error("the token file {} has no token", .0.display())]
    Empty(PathBuf),
}

/// A line of a token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLine {
    /// Number of the line, from 1.
    pub line: usize,
    /// Name of the role.
    pub role: String,
    /// The token: visible ASCII.
    pub token: Secret<String>,
}

/// Reads a token file: a line is a role and a token; empty lines and those that begin with `#` are skipped.
pub fn read_tokens(path: &Path) -> Result<Vec<TokenLine>, BadTokenFile> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| BadTokenFile::Unreadable { path: path.to_owned(), source })?;
    let mut lines = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let bad = |problem| BadTokenFile::Line { path: path.to_owned(), line, problem };
        let mut words = text.split_whitespace();
        let Some(role) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let token = words.next().ok_or_else(|| bad("it has no token"))?;
        if words.next().is_some() {
            return Err(bad("it has more than two words"));
        }
        if token.len() < MIN_TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("the token is shorter than 16 characters or not ASCII"));
        }
        lines.push(TokenLine { line, role: role.to_owned(), token: Secret::new(token.to_owned()) });
    }
    if lines.is_empty() {
        return Err(BadTokenFile::Empty(path.to_owned()));
    }
    Ok(lines)
}

/// The token that a client sends: the first one of the file.
pub(super) fn client_token(path: &Path) -> Result<Secret<String>, BadTokenFile> {
    let first = read_tokens(path)?.into_iter().next();
    first.map(|line| line.token).ok_or_else(|| BadTokenFile::Empty(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_read_and_errors_name_the_line_and_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_tokens(&path)
        };
        let lines = read("# tokens\n\nworker 0123456789abcdef\n  viewer\tfedcba9876543210  \n").unwrap();
        assert_eq!(lines.iter().map(|line| line.role.as_str()).collect::<Vec<_>>(), ["worker", "viewer"]);
        assert_eq!(lines[1].token.expose(), "fedcba9876543210");
        assert_eq!(client_token(&path).unwrap().expose(), "0123456789abcdef");
        for (text, needed) in [
            ("worker\n", "tokens:1: it has no token"),
            ("# c\nworker short-secret\n", "tokens:2: the token is shorter"),
            ("worker 0123456789abcdef more\n", "more than two words"),
            ("# nothing\n", "has no token"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(needed) && !error.contains("secret"), "{error}");
        }
        let missing = read_tokens(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("cannot read the token file"), "{missing}");
    }
}
