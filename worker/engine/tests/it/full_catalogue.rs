//! The full catalogue over manifests, each judged with the other files of its folder: what the rules repair passes the gates
//! under the full catalogue, clears its policy and leaves nothing to do. Skipped where the corpus is absent.

#![expect(clippy::disallowed_methods, reason = "a variable says how many of the manifests")]

use std::collections::BTreeMap;

use domain::config::{Context, RunConfig};
use domain::outcome::Fault;
use domain::policy::catalogue::Catalogue;
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use engine::detect::detect;
use engine::document::Document;
use engine::k8s::View;
use engine::k8s::neighbours::{Index, offer, reference};
use engine::policies::{Fix, policy};
use engine::propose::{Decision, rules};
use engine::verify::{Candidate, Verification, examine, verify};

use crate::kube_linter::{folder, manifests};

/// How a policy fared: documents, accepted repairs, documents that were not valid before, reviews.
type Row = [usize; 4];

/// One of so many documents is judged; the variable `MANIFESTS_ONE_IN` says otherwise.
const ONE_IN: usize = 7;

struct Judge {
    config: RunConfig,
    rows: BTreeMap<PolicyId, Row>,
    failures: Vec<String>,
}

impl Judge {
    fn document(&mut self, path: &str, document: &Document, neighbours: &Neighbours) {
        let before = examine(document, neighbours, &self.config, &|| 0.0);
        let view = View::new(document, neighbours);
        for id in PolicyId::ALL.iter().filter(|id| before.findings.iter().any(|found| found.policy == **id)) {
            let name = PolicyName::Known(*id);
            let row = self.rows.entry(*id).or_default();
            row[0] += 1;
            let proposal = match rules::propose(&view, &name, &self.config.rules) {
                Decision::Repair(proposal) => proposal,
                Decision::NeedsReview { reason } => {
                    assert!(!reason.is_empty());
                    row[3] += 1;
                    continue;
                }
                Decision::NotApplicable { .. } | Decision::NoRule => continue,
            };
            let candidate =
                Candidate { document, neighbours, before: &before, policy: &name, proposal: &proposal };
            let verdict = verify(candidate, &self.config, &|| 0.0);
            match verdict.fault {
                Fault::None => {
                    row[1] += 1;
                    if !proposal.companions.is_empty() || is_done(*id, &verdict, neighbours, &self.config) {
                        continue;
                    }
                    self.failures.push(format!("{id} {path}: proposes again"));
                }
                Fault::Document => row[2] += 1,
                _ => self.failures.push(format!("{id} {path}: {:?}", verdict.errors())),
            }
        }
    }
}

fn is_done(id: PolicyId, verdict: &Verification, neighbours: &Neighbours, config: &RunConfig) -> bool {
    let patched = verdict.patched.clone().and_then(|value| Document::from_value(value).ok());
    patched.is_some_and(|patched| {
        let view = View::new(&patched, neighbours);
        matches!(policy(id).fix(&view, &config.rules), Fix::NotApplicable { .. })
            && policy(id).cleared(&view, &config.rules).is_empty()
    })
}

#[test]
fn repairs_pass_the_gates_under_the_full_catalogue() {
    let Some(archive) = domain::testing::corpus("manifests.tar.gz") else { return };
    let one_in = std::env::var("MANIFESTS_ONE_IN").ok().and_then(|text| text.parse().ok()).unwrap_or(ONE_IN);
    let documents = manifests(&archive);
    let offers = documents.iter().flat_map(|(path, document)| {
        let offers = offer(document).into_iter().chain(reference(document));
        offers.map(move |offer| (folder(path).to_owned(), offer))
    });
    let index = Index::in_folders(offers, Context::Folder).with_references();
    let mut config = RunConfig::default();
    config.detector.catalogue = Catalogue::Full;
    let mut judge = Judge { config, rows: BTreeMap::new(), failures: Vec::new() };
    for (path, document) in documents.iter().step_by(one_in) {
        let neighbours = index.related_in(document, folder(path));
        assert_eq!(
            detect(&View::new(document, &neighbours), PolicyId::PAPER),
            detect(&View::new(document, &without_references(&neighbours)), PolicyId::PAPER),
            "{path}: the policies of the paper look at no reference"
        );
        judge.document(path, document, &neighbours);
    }
    eprintln!("{:42}{:>10}{:>10}{:>10}{:>10}", "policy", "documents", "accepted", "invalid", "review");
    for (id, [found, accepted, invalid, review]) in &judge.rows {
        eprintln!("{:42}{found:>10}{accepted:>10}{invalid:>10}{review:>10}", id.as_str());
    }
    assert!(judge.failures.is_empty(), "{}", judge.failures.join("\n"));
    assert!(judge.rows.len() >= 30, "{} policies found something", judge.rows.len());
}

fn without_references(neighbours: &Neighbours) -> Neighbours {
    let is_reference =
        |neighbour: &domain::record::Neighbour| matches!(neighbour, domain::record::Neighbour::Reference(_));
    Neighbours::Known(neighbours.objects().iter().filter(|found| !is_reference(found)).cloned().collect())
}
