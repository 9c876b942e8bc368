//! All policies over one document.

use domain::config::{RulesConfig, SecurityLevel};
use domain::policy::{PolicyId, PolicyName};

use crate::k8s::View;
use crate::policies::{self, Finding};
use crate::steps::spend;

/// Every violation of the policies in the document, policy by policy.
pub fn detect(view: &View<'_>, wanted: &[PolicyId]) -> Vec<Finding> {
    let detect = |id: &PolicyId| {
        spend(1 + view.containers.len());
        policies::policy(*id).detect(view)
    };
    wanted.iter().flat_map(detect).collect()
}

/// [`detect`], and the violations of the policy that a repair is for, where it is none of them.
pub fn detect_with(view: &View<'_>, wanted: &[PolicyId], target: &PolicyName) -> Vec<Finding> {
    let mut findings = detect(view, wanted);
    if let PolicyName::Known(id) = target
        && !wanted.contains(id)
    {
        findings.extend(detect(view, &[*id]));
    }
    findings
}

/// The policies whose repairs reach the profile *Restricted* of the Pod Security Standards.
const RESTRICTED: [PolicyId; 2] = [PolicyId::DropCapabilities, PolicyId::RunAsNonRoot];

/// What is found for one policy as the rules are set: what its scanner finds, and at the level *restricted* what the profile
/// asks for beyond that.
pub fn found(id: PolicyId, view: &View<'_>, rules: &RulesConfig) -> Vec<Finding> {
    let policy = policies::policy(id);
    let mut findings = policy.detect(view);
    if !findings.is_empty() || rules.level != SecurityLevel::Restricted || !RESTRICTED.contains(&id) {
        return findings;
    }
    let (Some(check), Some(pod)) = (policy.checks().last(), view.pods.first()) else { return findings };
    findings.extend(policy.cleared(view, rules).into_iter().map(|message| Finding {
        policy: id,
        check: check.id,
        message,
        pointer: view.nearest(pod.pointer.clone()),
    }));
    findings
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    #[test]
    fn the_level_restricted_finds_what_no_scanner_does() {
        let restricted = RulesConfig { level: SecurityLevel::Restricted, ..RulesConfig::default() };
        for (context, id, expected) in [
            ("{runAsUser: 5}", PolicyId::RunAsNonRoot, 1),
            ("{runAsUser: 5, runAsNonRoot: true}", PolicyId::RunAsNonRoot, 0),
            ("{allowPrivilegeEscalation: false}", PolicyId::DropCapabilities, 1),
            ("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}", PolicyId::DropCapabilities, 0),
            ("{runAsUser: 5}", PolicyId::EnforceSeccomp, 1),
        ] {
            let text = format!("kind: Pod\nspec: {{containers: [{{name: a, securityContext: {context}}}]}}");
            let document = document(&text);
            let view = View::new(&document, &Neighbours::Unknown);
            let findings = found(id, &view, &restricted);
            assert_eq!(findings.len(), expected, "{id} {context}: {findings:?}");
            assert!(findings.iter().all(|finding| finding.pointer.resolve(view.value).is_some()));
            let scanner = policies::policy(id).detect(&view);
            assert_eq!(found(id, &view, &RulesConfig::default()), scanner, "{id} {context}");
        }
    }
}
