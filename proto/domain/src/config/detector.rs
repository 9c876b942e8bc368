//! Which policies are looked for.

use serde::{Deserialize, Serialize};

use crate::policy::PolicyId;
use crate::policy::catalogue::{Catalogue, Profile};

/// Which policies are looked for, in manifests and in repaired documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorConfig {
    /// The thirty of the paper, or all.
    pub catalogue: Catalogue,
    /// A named set instead.
    pub profile: Option<Profile>,
}

impl DetectorConfig {
    /// The policies, in the order of the catalogue.
    pub fn policies(&self) -> &'static [PolicyId] {
        self.profile.map_or_else(|| self.catalogue.policies(), Profile::policies)
    }

    /// Whether policies beyond those of the paper are looked for.
    pub fn is_beyond_paper(&self) -> bool {
        crate::policy::catalogue::is_beyond_paper(self.policies())
    }

    /// Whether it is the default: a configuration at rest and on the wire leaves it out then, so that it reads, and hashes,
    /// as those of releases that knew no other.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
