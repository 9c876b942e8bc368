//! The work for a document grows with its size and not with the square of it, counted in steps.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use domain::config::RunConfig;
use domain::outcome::Proposal;
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use engine::rewrite::{Style, rewrite};
use engine::steps::counted;
use engine::verify::{Candidate, examine, verify};

/// A pod whose containers are so many copies of the text; `#` in it is the number of the copy.
fn containers(size: usize, text: &str) -> String {
    let list: String = (0..size).map(|number| text.replace('#', &number.to_string())).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n{list}")
}

/// A pod with one container that has so many variables.
fn variables(size: usize, text: &str) -> String {
    let list: String = (0..size).map(|number| text.replace('#', &number.to_string())).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: a:1\n    env:\n{list}"
    )
}

/// The repair of a document, and the steps of proposing and judging it.
fn repaired(yaml: &str, policy: PolicyId) -> (Proposal, u64) {
    let config = RunConfig::default();
    let clock = || 0.0;
    let policy = PolicyName::Known(policy);
    counted(|| {
        let document = Document::parse(yaml, &config.limits).unwrap();
        let neighbours = Neighbours::Unknown;
        let before = examine(&document, &neighbours, &config, &clock);
        let decision = rules::propose(&View::new(&document, &neighbours), &policy, &config.rules);
        let Decision::Repair(proposal) = decision else { panic!("{decision:?}") };
        let candidate = Candidate {
            document: &document,
            neighbours: &neighbours,
            before: &before,
            policy: &policy,
            proposal: &proposal,
        };
        assert!(verify(candidate, &config, &clock).accepted());
        proposal
    })
}

#[test]
fn twice_the_document_takes_about_twice_the_steps() {
    let privileged = "  - name: c#\n    image: a:1\n    securityContext:\n      privileged: true\n";
    let secret = "    - name: SECRET_#\n      value: v#\n";
    let same_name = "  - name: c#\n    image: a:1\n    env:\n    - name: SECRET\n      value: v#\n";
    let shapes = [
        (PolicyId::NoPrivileged, containers as fn(usize, &str) -> String, privileged),
        (PolicyId::EnvVarSecret, variables, secret),
        (PolicyId::EnvVarSecret, containers, same_name),
    ];
    for (policy, shape, text) in shapes {
        let [(small, few), (large, many)] = [200, 400].map(|size| repaired(&shape(size, text), policy));
        assert_eq!((small.patch.len(), large.patch.len()), (200, 400), "{policy}");
        assert!(few > 200 && many < few * 5 / 2, "{policy}: {few} steps, then {many}");
    }
}

#[test]
fn many_edits_of_a_long_text_write_it_anew() {
    let yaml = variables(3000, "    - name: SECRET_#\n      value: v# # a comment\n");
    let (proposal, _) = repaired(&yaml, PolicyId::EnvVarSecret);
    let rewritten = rewrite(&yaml, &proposal.patch, &RunConfig::default().limits).unwrap();
    assert_eq!(rewritten.style, Style::Reserialised);
    let few = variables(20, "    - name: SECRET_#\n      value: v# # a comment\n");
    let (proposal, _) = repaired(&few, PolicyId::EnvVarSecret);
    let rewritten = rewrite(&few, &proposal.patch, &RunConfig::default().limits).unwrap();
    assert_eq!(rewritten.style, Style::Kept);
}
