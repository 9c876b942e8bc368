//! Names of findings that stay the same when lines move.

use std::collections::BTreeMap;

use domain::ids::DocumentHash;
use domain::scanner::Scanner;

use super::Located;

/// Its name in `partialFingerprints` of SARIF.
pub(crate) const KEY: &str = "k8sAutoFix/v1";

/// Gives each finding a fingerprint: equal findings have distinct ones.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    /// Occurrences of each hash.
    seen: BTreeMap<String, u32>,
}

impl Fingerprints {
    /// The fingerprint of the object's identity and the message, with the number of such findings so far.
    pub(crate) fn of(&mut self, found: &Located) -> String {
        let mut parts =
            vec![&*found.path, &found.kind, &found.namespace, &found.name, &found.check, &found.message];
        if found.tool != Scanner::Builtin {
            parts.push(found.tool.as_str());
        }
        let hash = DocumentHash::of(parts.join("\0").as_bytes()).to_string();
        let hash = hash.get(..32).unwrap_or_default().to_owned();
        let count = self.seen.entry(hash.clone()).or_default();
        *count += 1;
        format!("{hash}:{count}")
    }
}
