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

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| {
        let known = Profile::ALL.map(Profile::as_str);
        format!("unknown profile; known are {}", known.join(", "))
    })
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
            config.detector.catalogue = match which {
                Which::Paper => Catalogue::Paper,
                Which::Full => Catalogue::Full,
            };
        }
        if self.profile.is_some() {
            config.detector.profile = self.profile;
        }
        config
    }
}
