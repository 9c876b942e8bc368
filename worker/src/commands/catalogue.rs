//! The arguments that say which policies are looked for.

use clap::ValueEnum;
use domain::config::RunConfig;
use domain::policy::PolicyId;
use domain::policy::catalogue::{Catalogue, Profile};

/// Which policies are looked for.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct CatalogueArgs {
    /// Look for these policies [default: as configured, paper]
    #[arg(long, value_enum, value_name = "CATALOGUE", conflicts_with = "profile")]
    catalogue: Option<Which>,
    /// Look for a named set of policies
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Option<Profile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The thirty policies of the paper
    Paper,
    /// Every policy
    Full,
}

/// Parses a policy id.
pub(crate) fn policy(text: &str) -> Result<PolicyId, String> {
    PolicyId::find(text).ok_or_else(|| {
        let known: Vec<&str> = PolicyId::ALL.iter().map(|id| id.as_str()).collect();
        format!("unknown policy; known are {}", known.join(", "))
    })
}

/// The policies named by the user, or the configured ones.
pub(crate) fn selected(named: &[PolicyId], config: &RunConfig) -> Vec<PolicyId> {
    if named.is_empty() {
        return config.detector.policies().to_vec();
    }
    PolicyId::ALL.iter().copied().filter(|id| named.contains(id)).collect()
}

/// The catalogue of a name.
pub(super) fn catalogue(text: &str) -> Result<Catalogue, String> {
    let which = Which::from_str(text, false).map_err(|_| "known are paper, full".to_owned())?;
    Ok(which.catalogue())
}

/// The profile of a name.
pub(super) fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| {
        let known = Profile::ALL.map(Profile::as_str);
        format!("unknown profile; known are {}", known.join(", "))
    })
}

impl Which {
    const fn catalogue(self) -> Catalogue {
        match self {
            Self::Paper => Catalogue::Paper,
            Self::Full => Catalogue::Full,
        }
    }
}

impl CatalogueArgs {
    /// The policies that were named; `None`: none were.
    pub(crate) fn policies(self) -> Option<&'static [PolicyId]> {
        let named = self.catalogue.is_some() || self.profile.is_some();
        named.then(|| self.applied(RunConfig::default()).detector.policies())
    }

    /// The configuration with what was named in place of what was configured.
    pub(crate) fn applied(self, mut config: RunConfig) -> RunConfig {
        if let Some(which) = self.catalogue {
            config.detector.profile = None;
            config.detector.catalogue = which.catalogue();
        }
        if self.profile.is_some() {
            config.detector.profile = self.profile;
        }
        config
    }
}
