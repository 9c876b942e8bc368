use serde_json::{Value, json};

use super::kinds::{kinds, plain};
use super::*;
use crate::testing::shapes;

fn masked(value: &Value) -> Value {
    Masks::of(value, usize::MAX).1
}

#[test]
fn generated_secrets_are_masked() {
    let shapes = shapes(14);
    assert!(shapes.len() >= 400, "{}", shapes.len());
    let leaks: Vec<_> =
        shapes.iter().filter(|shape| shape.is_shown(&masked(&shape.document).to_string())).collect();
    let labels: Vec<_> = leaks.iter().map(|shape| shape.label.as_str()).collect();
    let structured = leaks.iter().filter(|shape| shape.structured).count();
    assert_eq!(structured, 0, "{labels:#?}");
    assert!(leaks.len() * 50 <= shapes.len(), "{} of {}: {labels:#?}", leaks.len(), shapes.len());
}

#[test]
fn every_kind_of_secret_is_masked() {
    let mut leaks = Vec::new();
    for (kind, documents) in kinds() {
        for (document, secret) in documents {
            if masked(&document).to_string().contains(secret) {
                leaks.push(format!("{kind}: {document}"));
            }
        }
    }
    assert_eq!(leaks, Vec::<String>::new());
}

#[test]
fn what_is_no_secret_stays() {
    let changed: Vec<_> =
        plain().into_iter().filter(|document| masked(document) != *document).map(|d| d.to_string()).collect();
    assert_eq!(changed, Vec::<String>::new());
}

#[test]
fn masks_depend_on_the_document_alone() {
    let document = json!({"kind": "Pod", "env": [{"name": "A_TOKEN", "value": "hunter2"}, {"name": "B_TOKEN", "value": "hunter3"},
        {"name": "C_TOKEN", "value": "hunter2"}]});
    let (masks, masked) = Masks::of(&document, usize::MAX);
    let shown: Vec<_> =
        masked["env"].as_array().unwrap().iter().map(|pair| pair["value"].as_str().unwrap()).collect();
    assert_eq!(shown, ["MASKED_1", "MASKED_2", "MASKED_1"]);
    assert_eq!(masks.scrub("not hunter3 but hunter2"), "not MASKED_2 but MASKED_1");
    assert!(!format!("{masks:?}").contains("hunter"));
    let mut other =
        json!({"env": [{"name": "D_TOKEN", "value": "hunter4"}, {"name": "NOTE", "value": "hunter3"}]});
    let mut more = masks.clone();
    more.mask(&mut other);
    assert_eq!(other.to_string().matches("MASKED_3").count(), 1);
    assert!(other.to_string().contains("MASKED_2"));
}

#[test]
fn masked_documents_are_not_masked_again() {
    let masked_once =
        masked(&json!({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}], "url": "http://a:hunter2@b"}));
    let (masks, again) = Masks::of(&masked_once, usize::MAX);
    assert!(masks.is_empty());
    assert_eq!(again, masked_once);
}

#[test]
fn words_that_are_passwords_stay_where_they_name_things() {
    let document = json!({"kind": "Pod", "metadata": {"name": "postgres"}, "image": "postgres:16",
        "env": [{"name": "DB_PASSWORD", "value": "postgres"}, {"name": "NOTE", "value": "user postgres logs in"}]});
    let masked = masked(&document);
    assert_eq!((&masked["metadata"]["name"], &masked["image"]), (&json!("postgres"), &json!("postgres:16")));
    assert_eq!(masked["env"][1]["value"], "user MASKED_1 logs in");
}

#[test]
fn a_patch_is_masked_by_the_places_it_goes_to() {
    let document = json!({"kind": "Pod", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]});
    let (mut masks, _) = Masks::of(&document, usize::MAX);
    let mut patch = json!([
        {"op": "replace", "path": "/env/0/value", "value": "another1"},
        {"op": "add", "path": "/env/-", "value": {"name": "COPY", "value": "hunter2"}},
        {"op": "add", "path": "/metadata/annotations/apiToken", "value": "third33"},
    ]);
    masks.mask_patch(&mut patch, &document);
    let text = patch.to_string();
    assert!(!text.contains("another1") && !text.contains("hunter2") && !text.contains("third33"), "{text}");
}

#[test]
fn a_manifest_that_does_not_parse_is_masked_by_its_lines() {
    let text = "kind: Pod\n  bad: [\n  - db-password: hunter2\n  \"apiKey\": abc\n  image: nginx\nghp_0123456789abcdefghijklmnopqrstuv\n";
    assert_eq!(
        mask_text(text),
        "kind: Pod\n  bad: [\n  - db-password: MASKED_1\n  \"apiKey\": MASKED_2\n  image: nginx\nMASKED_3\n"
    );
}

/// Documents made to be looked at again and again cost no more than their length.
#[test]
fn time_is_linear() {
    const UNITS: [&str; 13] = [
        "a=",
        "password_file=x ",
        "<a><![CDATA[",
        "a://b",
        "\"k\":",
        "-----BEGIN ",
        "A1b2/",
        "$1$",
        "${P:-",
        "- a\n",
        "x:y@",
        "[",
        "{\"a\":",
    ];
    for unit in UNITS {
        let text = |bytes: usize| json!({"data": {"x": unit.repeat(bytes / unit.len())}});
        assert_linear(unit, &text(20_000), &text(320_000));
    }
    let tokens = |count: usize| {
        let token = |at: usize| json!({"name": format!("TOKEN_{at}"), "value": format!("hunter{at}x")});
        json!({"env": (0..count).map(token).collect::<Vec<_>>()})
    };
    assert_linear("many secrets", &tokens(250), &tokens(4_000));
}

/// Seconds that this thread has computed, or since the Unix epoch where the system does not tell.
fn computed() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64(),
        |nanoseconds| nanoseconds * 1e-9,
    )
}

/// `long` is sixteen times `short`. The best of three counts.
fn assert_linear(what: &str, short: &Value, long: &Value) {
    const LEAST: f64 = 0.05;
    let time = |document: &Value| {
        let start = computed();
        let _ = masked(document);
        computed() - start
    };
    let is_linear = || time(long) < time(short).max(LEAST) * 100.0;
    assert!((0..3).any(|_| is_linear()), "{what}");
}
