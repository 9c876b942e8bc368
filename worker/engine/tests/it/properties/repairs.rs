//! Detect, propose, verify: over damaged manifests and over manifests with fields of wrong types.

use domain::policy::PolicyId;
use domain::record::Neighbours;
use domain::testing::{Inputs, property};
use engine::document::Document;

use super::dice::made;
use super::{laws, manifests, mutations, patches};

#[test]
fn undamaged_manifests_are_repaired() {
    for text in mutations::MANIFESTS.iter() {
        laws::hold_for_text(text, &Neighbours::Unknown);
        laws::hold_for_text(text, &Neighbours::Known(Vec::new()));
    }
}

#[test]
fn damaged_manifests_are_repaired_or_left_alone() {
    let inputs = made(60, |dice| (manifests::neighbours(dice), mutations::text(dice)));
    property("repair-damaged-text", Inputs { usual: 60, share: 4 }, &inputs, |(around, text)| {
        laws::hold_for_text(&text, &around);
    });
}

#[test]
fn manifests_with_changed_nodes_are_repaired_or_left_alone() {
    let inputs = made(60, |dice| (manifests::neighbours(dice), mutations::value(dice)));
    property("repair-damaged-value", Inputs { usual: 60, share: 4 }, &inputs, |(around, value)| {
        if let Ok(document) = Document::from_value(value) {
            for (_, object) in document.flatten() {
                laws::hold(&object, &around);
            }
        }
    });
}

#[test]
fn manifests_with_any_fields_are_repaired_or_left_alone() {
    let inputs = made(900, |dice| (manifests::neighbours(dice), manifests::manifest(dice)));
    property("repair-generated", Inputs { usual: 100, share: 6 }, &inputs, |(around, value)| {
        if let Ok(document) = Document::from_value(value) {
            for (_, object) in document.flatten() {
                laws::hold(&object, &around);
            }
        }
    });
}

#[test]
fn any_patch_on_any_manifest_is_judged() {
    let inputs = made(700, |dice| {
        let id = *dice.pick(PolicyId::ALL);
        let around = manifests::neighbours(dice);
        let patch = patches::of_a_stranger(dice);
        (id, around, patch, manifests::manifest(dice))
    });
    property("judge-any-patch", Inputs { usual: 150, share: 6 }, &inputs, |(id, around, patch, value)| {
        if let Ok(document) = Document::from_value(value) {
            laws::hold_for_patch(&document, &around, id, patch);
        }
    });
}
