//! The programs that runs may name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::{ProgramError, Programs};
use crate::launch::{Confinement, confinement};
use crate::program::Program;

/// The programs of this machine.
#[derive(Debug, Default)]
pub struct Proposers {
    settings: Programs,
    opened: BTreeMap<String, Arc<Program>>,
}

impl Proposers {
    /// Opens every program: each must be there, and of its version. `launcher` starts them; `None`: this executable, which
    /// has to call [`crate::supervise`] first. Blocks while programs say their versions.
    pub fn open(settings: Programs, launcher: Option<&Path>) -> Result<Arc<Self>, ProgramError> {
        let mut opened = BTreeMap::new();
        for (name, config) in &settings.0 {
            let program = Program::open(name, config, launcher.map(Path::to_owned))?;
            program.check_version()?;
            opened.insert(name.clone(), Arc::new(program));
        }
        if !opened.is_empty() {
            warn(confinement());
        }
        Ok(Arc::new(Self { settings, opened }))
    }

    /// The program of this name.
    pub fn get(&self, name: &str) -> Result<Arc<Program>, ProgramError> {
        self.settings.get(name)?;
        self.opened
            .get(name)
            .cloned()
            .ok_or_else(|| ProgramError::Missing { name: name.to_owned(), others: String::new() })
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.opened.keys().cloned().collect()
    }
}

/// Says what this kernel does not keep programs from.
fn warn(confinement: Confinement) {
    // Whom the kernel lets watch every process, it lets read every environment.
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "this worker runs as root: programs do so too, and may read the environment of every process, with its keys"
        );
    }
    match confinement {
        Confinement::Nothing => tracing::warn!(
            "this kernel has no Landlock: programs may write, send signals and read the environment of processes wherever \
             this user may"
        ),
        Confinement::Writes => {
            tracing::warn!(
                "the Landlock of this kernel is old: programs may send signals wherever this user may"
            );
        }
        Confinement::WritesAndSignals => {}
    }
}
