//! A scanner that is ready: its program found, its version asked.

use std::path::Path;
use std::time::Duration;

use domain::config::ScannersConfig;
use domain::scanner::Scanner;

use crate::documents::Documents;
use crate::error::{Failure, ScannerError};
use crate::find::find;
use crate::kyverno::Policies;
use crate::process::{Output, quoted};
use crate::program::Program;
use crate::report::Report;
use crate::{checkov, kube_linter, kyverno};

/// How long a program may take to say its version: checkov loads for seconds.
const VERSION_WITHIN: Duration = Duration::from_secs(60);

/// Reads what a program wrote about documents.
type Read = fn(&Output, &Documents) -> Result<Report, Failure>;

/// A scanner that is ready.
#[derive(Debug, Clone)]
pub struct Tool {
    kind: Kind,
    program: Program,
    version: String,
}

#[derive(Debug, Clone)]
enum Kind {
    KubeLinter,
    Kyverno(Policies),
    Checkov,
}

impl Kind {
    const fn scanner(&self) -> Scanner {
        match self {
            Self::KubeLinter => Scanner::KubeLinter,
            Self::Kyverno(_) => Scanner::Kyverno,
            Self::Checkov => Scanner::Checkov,
        }
    }
}

impl Tool {
    /// Finds the program of a scanner and asks its version; `None` for the built-in detector, which is not a program.
    pub fn open(scanner: Scanner, config: &ScannersConfig) -> Result<Option<Self>, ScannerError> {
        let kind = match scanner {
            Scanner::Builtin => return Ok(None),
            Scanner::KubeLinter => Kind::KubeLinter,
            Scanner::Kyverno => Kind::Kyverno(Policies::open(&config.policies_dir)?),
            Scanner::Checkov => Kind::Checkov,
        };
        let path = find(scanner, config.tools.of(scanner))?;
        let program = Program { scanner, path, time: Duration::from_secs(config.timeout_seconds.into()) };
        let mut tool = Self { kind, program, version: String::new() };
        let folder =
            tempfile::tempdir().map_err(|error| tool.program.scratch(&std::env::temp_dir(), error))?;
        tool.version = tool.ask_version(folder.path())?;
        if let Kind::Kyverno(policies) = &tool.kind {
            kyverno::check(&tool.program, policies, folder.path())?;
        }
        Ok(Some(tool))
    }

    /// Opens scanners, each once, in the order of [`Scanner::ALL`].
    pub fn open_all(
        scanners: impl IntoIterator<Item = Scanner>,
        config: &ScannersConfig,
    ) -> Result<Vec<Self>, ScannerError> {
        let wanted: std::collections::BTreeSet<Scanner> = scanners.into_iter().collect();
        wanted.into_iter().filter_map(|scanner| Self::open(scanner, config).transpose()).collect()
    }

    /// Which scanner it is.
    pub const fn scanner(&self) -> Scanner {
        self.kind.scanner()
    }

    /// Its version; of Kyverno with the hash of its policies.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Judges documents. All of its processes have ended then.
    pub fn scan(&self, documents: &Documents) -> Result<Report, ScannerError> {
        if documents.is_empty() {
            return Ok(Report::default());
        }
        let (arguments, read): (_, Read) = match &self.kind {
            Kind::Kyverno(policies) => return kyverno::scan(&self.program, policies, documents),
            Kind::KubeLinter => (kube_linter::arguments(documents), kube_linter::read),
            Kind::Checkov => (checkov::arguments(documents), checkov::read),
        };
        let folder = documents.workplace(self.scanner().as_str());
        let folder = folder.map_err(|error| self.program.scratch(documents.root(), error))?;
        let output = self.program.run(&arguments, &folder).map_err(|failure| self.program.failed(failure))?;
        read(&output, documents).map_err(|failure| self.program.failed(failure))
    }

    fn ask_version(&self, folder: &Path) -> Result<String, ScannerError> {
        let (argument, read): (_, fn(&str) -> Option<String>) = match &self.kind {
            Kind::KubeLinter => ("version", kube_linter::version),
            Kind::Kyverno(_) => ("version", kyverno::version),
            Kind::Checkov => ("--version", checkov::version),
        };
        let asked = Program { time: VERSION_WITHIN, ..self.program.clone() };
        let output = asked.run(&[argument.into()], folder).map_err(|failure| self.program.failed(failure))?;
        if output.code() != Some(0) {
            return Err(self.program.failed(output.died()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let version = read(&text).ok_or_else(|| {
            let reason = format!("{:?} is not a version of {}", quoted(&text), self.scanner());
            self.program.failed(Failure::Garbage { reason })
        })?;
        Ok(match &self.kind {
            Kind::Kyverno(policies) => format!("{version}, policies {}", policies.hash()),
            _ => version,
        })
    }
}
