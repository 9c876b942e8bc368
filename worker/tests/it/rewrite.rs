//! Repairs rewritten into the text of real manifests.

use corpus::read::Files;
use domain::config::{Limits, RulesConfig};
use domain::policy::PolicyName;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::policies;
use engine::propose::{Decision, rules};
use engine::rewrite::{Style, rewrite};
use engine::yaml;

/// One of so many files is tested: enough to find a defect, few enough to be quick.
const ONE_IN: usize = 6;

#[test]
fn nearly_all_repairs_keep_the_users_text() {
    let Some(archive) = domain::testing::corpus("manifests.tar.gz") else { return };
    let limits = Limits::default();
    let (mut kept, mut all) = (0_u32, 0_u32);
    let mut examples = Vec::new();
    for file in Files::open(archive.to_str().unwrap(), &limits).unwrap().step_by(ONE_IN) {
        let Ok(text) = file.content else { continue };
        for piece in yaml::split(&text) {
            let Ok(document) = Document::parse(piece.text, &limits) else { continue };
            if document.identity.kind.ends_with("List") {
                continue;
            }
            let view = View::new(&document, &Neighbours::Unknown);
            for policy in policies::all() {
                let name = PolicyName::Known(policy.id());
                let Decision::Repair(proposal) = rules::propose(&view, &name, &RulesConfig::default()) else {
                    continue;
                };
                all += 1;
                let rewritten = rewrite(piece.text, &proposal.patch, &limits).unwrap();
                if rewritten.style == Style::Kept {
                    kept += 1;
                } else if examples.len() < 20 {
                    examples.push(format!("{} {}", file.path, policy.id()));
                }
            }
        }
    }
    println!("kept {kept} of {all}; not: {examples:#?}");
    assert!(all > 1_000 && kept * 100 >= all * 99, "kept {kept} of {all}; not: {examples:#?}");
}
