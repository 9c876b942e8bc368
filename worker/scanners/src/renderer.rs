//! The programs that render charts and overlays: Helm and kustomize, started as scanners are: a clean environment, bounded time
//! and output.
//!
//! *Never* lets a program reach the network, as far as it asks for a proxy or starts git: dependencies and remote bases that
//! are not there are an error of the program.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Failure;
use crate::find::{cache, is_program};
use crate::process::{Bounds, run_with};

/// Bytes of a rendering at most.
const MOST_BYTES: u64 = 64 << 20;

/// A proxy that is not there, and no transport for git; no cluster either.
const NO_NETWORK: [(&str, &str); 7] = [
    ("http_proxy", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("KUBECONFIG", "/dev/null"),
];

/// Which program renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RendererKind {
    /// Helm, which renders charts.
    Helm,
    /// kustomize, which builds overlays; kubectl has it, too.
    Kustomize,
}

impl RendererKind {
    /// Its name as the user knows it, which is that of its program.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Kustomize => "kustomize",
        }
    }
}

impl fmt::Display for RendererKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A chart or an overlay cannot be rendered. As with scanners, the causes are part of the text.
#[derive(Debug, thiserror::Error)]
pub enum RendererError {
    /// The program is not on this machine.
    #[error(
        "{kind} not found: looked in {places}; `scripts/baselines {kind}` provides it, or put it on PATH"
    )]
    Missing {
        /// Which.
        kind: RendererKind,
        /// Where it was looked for.
        places: String,
    },
    /// The program did not end in time.
    #[error("{kind} ({}) cannot render {what}: it did not end within {seconds} s and was killed; raise detector.timeout_seconds", .program.display())]
    TimedOut {
        /// Which.
        kind: RendererKind,
        /// Its program.
        program: PathBuf,
        /// What was to be rendered.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// The program wrote more than a rendering may have.
    #[error("{kind} ({}) cannot render {what}: it wrote more than {bytes} bytes and was killed; render less at once", .program.display())]
    Flood {
        /// Which.
        kind: RendererKind,
        /// Its program.
        program: PathBuf,
        /// What was to be rendered.
        what: String,
        /// The limit.
        bytes: u64,
    },
    /// The program cannot be started, or ended badly.
    #[error("{kind} ({}) cannot render {what}: {failure}", .program.display())]
    Failed {
        /// Which.
        kind: RendererKind,
        /// Its program.
        program: PathBuf,
        /// What was to be rendered.
        what: String,
        /// What happened.
        failure: Failure,
    },
    /// The folder in which it is to work cannot be made.
    #[error("cannot make a folder for {kind}: {error}")]
    Scratch {
        /// Which.
        kind: RendererKind,
        /// Why.
        error: io::Error,
    },
}

/// A program that renders.
#[derive(Debug, Clone)]
pub struct Renderer {
    kind: RendererKind,
    program: PathBuf,
    /// What stands before its arguments: kubectl has kustomize as a command.
    command: &'static str,
    time: Duration,
}

impl Renderer {
    /// Finds the program: on PATH, then where `scripts/baselines` puts it. `time`: how long one rendering may take.
    ///
    /// # Errors
    /// [`RendererError::Missing`].
    pub fn open(kind: RendererKind, time: Duration) -> Result<Self, RendererError> {
        let cache = cache().map(|cache| cache.join("baselines"));
        Self::find(kind, time, env::var_os("PATH").as_deref(), cache.as_deref())
    }

    fn find(
        kind: RendererKind,
        time: Duration,
        path: Option<&OsStr>,
        cache: Option<&Path>,
    ) -> Result<Self, RendererError> {
        let folders: Vec<PathBuf> = path.map(|path| env::split_paths(path).collect()).unwrap_or_default();
        let named = |name: &str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))?;
            // A relative folder on PATH is another one in the folder of the process.
            std::path::absolute(found).ok()
        };
        let cached = || cache.map(|cache| cache.join(kind.as_str())).filter(|path| is_program(path));
        let own = named(kind.as_str()).or_else(cached);
        let found = match kind {
            RendererKind::Helm => own.map(|program| (program, "template")),
            RendererKind::Kustomize => {
                let kubectl = || named("kubectl").map(|program| (program, "kustomize"));
                own.map(|program| (program, "build")).or_else(kubectl)
            }
        };
        let Some((program, command)) = found else {
            let also = if kind == RendererKind::Kustomize { " (kubectl would do, too)" } else { "" };
            let cache = cache.map(|cache| format!(" and {}", cache.display())).unwrap_or_default();
            return Err(RendererError::Missing { kind, places: format!("PATH{cache}{also}") });
        };
        Ok(Self { kind, program, command, time })
    }

    /// Which program it is.
    pub const fn kind(&self) -> RendererKind {
        self.kind
    }

    /// Runs the program with these arguments, in an empty folder of its own. `what`: what is rendered, for people. Returns what
    /// it wrote.
    ///
    /// # Errors
    /// When it cannot be started, ends badly, takes too long or writes too much.
    pub fn render(&self, what: &str, arguments: &[OsString]) -> Result<String, RendererError> {
        self.render_in(what, |_| Ok(arguments.to_vec()))
    }

    /// As [`Self::render`], with what `prepare` puts into that folder, and the arguments that it returns. The path of the folder
    /// is absolute and has no links.
    ///
    /// # Errors
    /// As [`Self::render`], and when the folder cannot be prepared.
    pub fn render_in(
        &self,
        what: &str,
        prepare: impl FnOnce(&Path) -> io::Result<Vec<OsString>>,
    ) -> Result<String, RendererError> {
        let scratch = |error| RendererError::Scratch { kind: self.kind, error };
        let folder = tempfile::Builder::new().prefix("k8s-auto-fix-render-").tempdir().map_err(scratch)?;
        let place = folder.path().canonicalize().map_err(scratch)?;
        let arguments = prepare(&place).map_err(scratch)?;
        let mut all = vec![OsString::from(self.command)];
        all.extend(arguments);
        let bounds = Bounds { time: self.time, stdout_bytes: MOST_BYTES, variables: &NO_NETWORK };
        let ran = run_with(&self.program, &all, &place, &bounds);
        let output = ran.map_err(|failure| self.failed(what, failure))?;
        if output.code() != Some(0) {
            return Err(self.failed(what, output.died()));
        }
        let unreadable = |error| Failure::Garbage { reason: format!("not UTF-8: {error}") };
        String::from_utf8(output.stdout).map_err(|error| self.failed(what, unreadable(error)))
    }

    fn failed(&self, what: &str, failure: Failure) -> RendererError {
        let (kind, program, what) = (self.kind, self.program.clone(), what.to_owned());
        match failure {
            Failure::TimedOut { seconds } => RendererError::TimedOut { kind, program, what, seconds },
            Failure::Flood { bytes } => RendererError::Flood { kind, program, what, bytes },
            failure => RendererError::Failed { kind, program, what, failure },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_of_its_own_beats_kubectl() {
        let root = tempfile::tempdir().unwrap();
        let (bin, cache) = (root.path().join("bin"), root.path().join("cache"));
        let second = Duration::from_secs(1);
        let find = |kind| Renderer::find(kind, second, Some(bin.as_os_str()), Some(&cache));
        for kind in [RendererKind::Helm, RendererKind::Kustomize] {
            let error = find(kind).unwrap_err().to_string();
            assert!(error.contains(&format!("`scripts/baselines {kind}` provides it")), "{error}");
        }
        place(&bin.join("kubectl"), "");
        assert!(find(RendererKind::Helm).is_err());
        let found = find(RendererKind::Kustomize).unwrap();
        assert_eq!((found.program, found.command), (bin.join("kubectl"), "kustomize"));
        place(&cache.join("kustomize"), "");
        let found = find(RendererKind::Kustomize).unwrap();
        assert_eq!((found.program, found.command), (cache.join("kustomize"), "build"));
        place(&bin.join("kustomize"), "");
        assert_eq!(find(RendererKind::Kustomize).unwrap().program, bin.join("kustomize"));
    }

    #[test]
    fn it_works_without_network_in_an_empty_home() {
        let root = tempfile::tempdir().unwrap();
        place(&root.path().join("helm"), "ls -A \"$HOME\"; env; echo \"$@\"");
        let found =
            Renderer::find(RendererKind::Helm, Duration::from_secs(10), Some(root.path().as_os_str()), None);
        let text = found.unwrap().render("x", &["a b".into()]).unwrap();
        assert!(text.ends_with("template a b\n") && text.contains("GIT_ALLOW_PROTOCOL=none\n"), "{text}");
        assert!(text.contains("https_proxy=http://127.0.0.1:9\n") && !text.contains("CARGO"), "{text}");
    }
}
