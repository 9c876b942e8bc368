//! Bearer tokens: those of the state folder, one for each role, and those of `--token-file`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use proto::channel::{TokenLine, local_socket, read_tokens};

use super::roles::{Role, Roles};
use super::secrets::{FOLDER, hex, random, write_private};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Tokens by their hashes; the tokens themselves are not kept.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    known: Vec<(blake3::Hash, Role)>,
}

impl Tokens {
    /// The roles of a token. All known tokens are compared, each in constant time.
    pub fn roles(&self, token: &str) -> Roles {
        let hash = blake3::hash(token.as_bytes());
        self.known.iter().filter(|(known, _)| *known == hash).map(|(_, role)| *role).collect()
    }

    /// Reads token files.
    pub fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut known = Vec::new();
        for path in files {
            for TokenLine { line, role, token } in read_tokens(path)? {
                let role = Role::of(&role).with_context(|| {
                    format!(
                        "{}:{line}: {role:.20?} is not a role: worker, operator or viewer",
                        path.display()
                    )
                })?;
                known.push((blake3::hash(token.expose().as_bytes()), role));
            }
        }
        Ok(Self { known })
    }
}

/// Path of the token of a role in a state folder.
pub fn path(state: &Path, role: Role) -> PathBuf {
    state.join(FOLDER).join(format!("{role}.token"))
}

/// Creates the tokens of a state folder that are missing, one for each role, in a folder that only this user can enter;
/// returns their files.
pub fn create(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = state.join(FOLDER);
    local_socket::create_folder(&folder)
        .with_context(|| format!("cannot keep tokens in {}", folder.display()))?;
    Role::ALL
        .into_iter()
        .map(|role| {
            let path = path(state, role);
            let line = format!("{role} {}\n", hex(&random::<TOKEN_BYTES>()?));
            write_private(&path, line.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_tokens_of_a_state_folder_are_kept_private_and_stay() {
        let state = tempfile::tempdir().unwrap();
        let files = create(state.path()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&state.path().join(FOLDER)), 0o700);
        assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
        let before: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        create(state.path()).unwrap();
        let after: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(before, after);

        let tokens = Tokens::read(&files).unwrap();
        for (text, role) in before.iter().zip(Role::ALL) {
            let token = text.split_whitespace().nth(1).unwrap();
            assert_eq!(token.len(), 2 * TOKEN_BYTES);
            assert_eq!(tokens.roles(token), Roles::from_iter([role]));
            assert!(!format!("{tokens:?}").contains(token));
        }
        assert!(tokens.roles("").is_empty() && tokens.roles("0123456789abcdef").is_empty());
    }

    #[test]
    fn an_unknown_role_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "worker 0123456789abcdef\nroot 0123456789abcdef\n").unwrap();
        let error = format!("{:#}", Tokens::read(&[path]).unwrap_err());
        assert!(
            error.contains("tokens:2") && error.contains("\"root\"") && !error.contains("0123"),
            "{error}"
        );
    }
}
