//! Keeps a program's writes in its folder, and its signals among its own processes, where the kernel can (Landlock).
//!
//! A confined process cannot read the environment or the memory of a process outside either. Files that its user may read,
//! and the network, stay open to it.

use std::path::Path;

#[cfg(target_os = "linux")]
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope,
};

/// What a kernel keeps a program to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confinement {
    /// It may do what its user may.
    Nothing,
    /// It writes in its folder alone, and reads neither memory nor environment of other processes.
    Writes,
    /// It sends signals to its own processes alone, besides.
    WritesAndSignals,
}

/// The rights of this version are asked for; an older kernel gives those that it has.
#[cfg(target_os = "linux")]
const ABI_VERSION: ABI = ABI::V6;

/// Confines this process to writes below `folder`; without effect where the kernel cannot.
#[cfg(target_os = "linux")]
pub(super) fn confine(folder: &Path) -> Result<(), String> {
    let confined = || -> Result<(), RulesetError> {
        let writes = AccessFs::from_write(ABI_VERSION);
        let mut rules =
            Ruleset::default().handle_access(writes)?.scope(Scope::from_all(ABI_VERSION))?.create()?;
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, writes))?;
        }
        if let Ok(null) = PathFd::new("/dev/null") {
            rules = rules.add_rule(PathBeneath::new(null, writes & AccessFs::from_file(ABI_VERSION)))?;
        }
        rules.restrict_self()?;
        Ok(())
    };
    confined().map_err(|error| error.to_string())
}

/// What this kernel keeps a program to. Confines nothing.
#[cfg(target_os = "linux")]
pub fn confinement() -> Confinement {
    let asked = |signals: bool| {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_write(ABI::V3));
        let rules =
            if signals { rules.and_then(|rules| rules.scope(Scope::from_all(ABI::V6))) } else { rules };
        rules.and_then(Ruleset::create).is_ok()
    };
    match (asked(false), asked(true)) {
        (false, _) => Confinement::Nothing,
        (true, false) => Confinement::Writes,
        (true, true) => Confinement::WritesAndSignals,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn confine(_: &Path) -> Result<(), String> {
    Ok(())
}

/// What this kernel keeps a program to.
#[cfg(not(target_os = "linux"))]
pub const fn confinement() -> Confinement {
    Confinement::Nothing
}
