//! What the rules would say to a question, so that a run against the simulated provider looks like one against a model.

use domain::config::RulesConfig;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use serde_json::json;

use super::NOTHING;
use super::asked::Asked;

/// The rules' patch for the policy and the document of the question; an empty patch where the rules have none; `OK` to
/// whatever is no question of ours (a probe, a person who tries it).
pub(crate) fn by_rules(question: &str) -> String {
    let Some(asked) = Asked::read(question) else { return "OK".to_owned() };
    let Ok(document) = Document::from_value(asked.document) else { return NOTHING.to_owned() };
    let view = View::new(&document, &Neighbours::Unknown);
    match rules::propose(&view, &asked.policy, &RulesConfig::default()) {
        Decision::Repair(proposal) => json!({"patch": proposal.patch}).to_string(),
        Decision::NeedsReview { .. } | Decision::NotApplicable { .. } | Decision::NoRule => {
            NOTHING.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::config::Limits;
    use domain::policy::PolicyName;
    use engine::propose::{mask::Masked, parse, prompt};

    use super::*;

    fn answer(policy: &str) -> String {
        let yaml =
            "kind: Pod\nspec: {containers: [{name: a, image: nginx, securityContext: {privileged: true}}]}";
        let document = Document::parse(yaml, &Limits::default()).unwrap();
        let masked = Masked::new(&document.value, 4096);
        let messages = prompt::opening(&masked, &PolicyName::normalise(policy), "", 4096).unwrap().messages;
        by_rules(&messages[1].content)
    }

    #[test]
    fn a_question_gets_the_patch_of_its_policy() {
        let patch = parse::parse(&answer("no_privileged")).unwrap();
        assert!(patch.to_json().contains("/spec/containers/0/securityContext/privileged"), "{patch:?}");
        assert_eq!(answer("dangling_service"), NOTHING);
        assert_eq!(by_rules("Reply with the single word OK."), "OK");
    }
}
