use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use super::*;
use crate::verify::apply;
use crate::yaml::{Indentation, load, to_yaml_indented};
use domain::config::Limits;
use domain::patch::Patch;

fn rewritten(text: &str, ops: Value) -> Rewritten {
    let patch: Patch = serde_json::from_value(ops).unwrap();
    let limits = Limits::default();
    let rewritten = rewrite(text, &patch, &limits).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let expected = apply(&load(text, &limits).unwrap().value, &patch).unwrap();
    assert_eq!(load(&rewritten.text, &limits).unwrap().value, expected, "{}", rewritten.text);
    rewritten
}

fn kept(text: &str, ops: Value) -> String {
    let rewritten = rewritten(text, ops);
    assert_eq!(rewritten.style, Style::Kept, "{}", rewritten.text);
    rewritten.text
}

const POD: &str = r#"# The web front end
apiVersion: v1 # stable
kind: Pod
metadata:
    name: "web"     # as in the chart
    labels: {app: web}
spec:
    containers:
      # the only one
      - name: web
        image: 'nginx:latest'  # FIXME
        securityContext:
            # needed once
            privileged: true
        args: [--port, "80"]
      - name: side

    # the end
    hostNetwork: true
"#;

#[test]
fn what_the_patch_does_not_name_stays() {
    let ops = json!([
        {"op": "replace", "path": "/spec/containers/0/image", "value": "nginx:stable"},
        {"op": "replace", "path": "/spec/containers/0/securityContext/privileged", "value": false},
        {"op": "add", "path": "/spec/containers/0/securityContext/capabilities", "value": {"drop": ["ALL"]}},
        {"op": "add", "path": "/spec/containers/1/resources", "value": {"limits": {"cpu": "1"}}},
        {"op": "add", "path": "/metadata/labels/tier", "value": "front"},
        {"op": "add", "path": "/spec/containers/0/args/0", "value": "--log"},
        {"op": "remove", "path": "/spec/hostNetwork"},
        {"op": "replace", "path": "/metadata/name", "value": "front"}
    ]);
    insta::assert_snapshot!(kept(POD, ops));
}

#[test]
fn comments_inside_an_entry_stay_in_it_when_another_follows() {
    for (text, ops, expected) in [
        (
            "spec:\n  a:\n    b: 1\n    # of b\n  # of c\n",
            json!([{"op": "add", "path": "/spec/c", "value": 2}]),
            "spec:\n  a:\n    b: 1\n    # of b\n  c: 2\n  # of c\n",
        ),
        (
            "l:\n- a: 1\n  # off\n  # b: 2\nend: 1\n",
            json!([{"op": "add", "path": "/l/-", "value": {"a": 3}}]),
            "l:\n- a: 1\n  # off\n  # b: 2\n- a: 3\nend: 1\n",
        ),
        (
            "s:\n  a:\n    - 1\n\n    # - 2\n\nend: 1\n",
            json!([{"op": "add", "path": "/s/c", "value": 2}]),
            "s:\n  a:\n    - 1\n\n    # - 2\n  c: 2\n\nend: 1\n",
        ),
        (
            "s:\n  a: |\n    # text\n   # of a\nend: 1\n",
            json!([{"op": "add", "path": "/s/c", "value": 2}]),
            "s:\n  a: |\n    # text\n   # of a\n  c: 2\nend: 1\n",
        ),
        (
            "s:\n  a: 1\n    # of a",
            json!([{"op": "add", "path": "/s/c", "value": 2}]),
            "s:\n  a: 1\n    # of a\n  c: 2",
        ),
    ] {
        assert_eq!(kept(text, ops), expected, "{text}");
    }
}

#[test]
fn lists_in_block_style() {
    let text = "l:\n- a: 1 # one\n# about two\n- a: 2\n  b: 3\n- a: 4\nend: 1\n";
    let edit = |ops| kept(text, ops);
    assert_eq!(edit(json!([{"op": "remove", "path": "/l/1"}])), "l:\n- a: 1 # one\n- a: 4\nend: 1\n");
    assert_eq!(
        edit(json!([{"op": "add", "path": "/l/1", "value": {"x": [1]}}])),
        "l:\n- a: 1 # one\n- x:\n  - 1\n# about two\n- a: 2\n  b: 3\n- a: 4\nend: 1\n"
    );
    assert_eq!(
        edit(json!([{"op": "add", "path": "/l/-", "value": "x"}, {"op": "remove", "path": "/l/1/a"}])),
        "l:\n- a: 1 # one\n# about two\n- b: 3\n- a: 4\n- x\nend: 1\n"
    );
    assert_eq!(edit(json!([{"op": "replace", "path": "/l", "value": []}])), "l: []\nend: 1\n");
    assert_eq!(
        edit(json!([{"op": "remove", "path": "/l/0/a"}])),
        "l:\n- {} # one\n# about two\n- a: 2\n  b: 3\n- a: 4\nend: 1\n"
    );
}

#[test]
fn empty_and_null_parents() {
    let text = "a: {} # c\nb:\nc: ~\nd: []\ne: &x {}\n";
    assert_eq!(
        kept(
            text,
            json!([
                {"op": "add", "path": "/a/k", "value": 1},
                {"op": "replace", "path": "/b", "value": {"k": {"l": 1}}},
                {"op": "replace", "path": "/c", "value": "on"},
                {"op": "add", "path": "/d/-", "value": {"k": 1, "l": 2}}
            ])
        ),
        "a: # c\n  k: 1\nb:\n  k:\n    l: 1\nc: \"on\"\nd:\n- k: 1\n  l: 2\ne: &x {}\n"
    );
}

#[test]
fn scalars_of_every_style() {
    let text = "a: |\n  one\n  two\n\nb: >-\n  folded\nc: 'it''s'\nd: \"x\"\ne: plain\n  more\nf: !!str 5\n";
    assert_eq!(
        kept(
            text,
            json!([
                {"op": "replace", "path": "/a", "value": "short"},
                {"op": "replace", "path": "/b", "value": "l\nm\n"},
                {"op": "replace", "path": "/c", "value": "that's"},
                {"op": "replace", "path": "/d", "value": "a\tb"},
                {"op": "replace", "path": "/e", "value": ["x"]},
                {"op": "replace", "path": "/f", "value": "6"}
            ])
        ),
        "a: short\n\nb: |\n  l\n  m\nc: 'that''s'\nd: \"a\\tb\"\ne:\n- x\nf: \"6\"\n"
    );
}

#[test]
fn line_ends_of_every_kind() {
    assert_eq!(
        kept("a: 1\r\nb:\r\n- x\r\n", json!([{"op": "add", "path": "/b/-", "value": {"k": 1, "l": 2}}])),
        "a: 1\r\nb:\r\n- x\r\n- k: 1\r\n  l: 2\r\n"
    );
    assert_eq!(kept("a: 1", json!([{"op": "add", "path": "/b", "value": 2}])), "a: 1\nb: 2");
    assert_eq!(kept("a: 1\nb: 2", json!([{"op": "remove", "path": "/b"}])), "a: 1");
    assert_eq!(
        kept("---\na: 1 # x\n...\n", json!([{"op": "add", "path": "/b", "value": 2}])),
        "---\na: 1 # x\nb: 2\n...\n"
    );
}

#[test]
fn json_stays_json() {
    let text = "{\n  \"kind\": \"Pod\",\n  \"spec\": {\n    \"a\": [1, 2]\n  }\n}\n";
    assert_eq!(
        kept(
            text,
            json!([
                {"op": "add", "path": "/spec/b", "value": {"c": [true]}},
                {"op": "add", "path": "/spec/a/-", "value": 3},
                {"op": "replace", "path": "/kind", "value": "Job"}
            ])
        ),
        "{\n  \"kind\": \"Job\",\n  \"spec\": {\n    \"a\": [1, 2, 3],\n    \"b\": {\n      \"c\": [\n        true\n      ]\n    }\n  }\n}\n"
    );
    let line = "\n{\"a\": 1}\n";
    assert_eq!(
        kept(line, json!([{"op": "add", "path": "/b", "value": {"c": 2}}])),
        "\n{\"a\": 1, \"b\": {\"c\": 2}}\n",
        "line breaks around it do not spread it over lines"
    );
    let tabs = "{\n\t\"a\": 1\n}\n";
    let rewritten = rewritten(tabs, json!([{"op": "replace", "path": "/a", "value": 2}]));
    assert!(serde_json::from_str::<Value>(&rewritten.text).is_ok());
}

#[test]
fn a_move_within_a_mapping_is_a_new_name() {
    assert_eq!(
        kept(
            "s:\n  serviceAccount: x # who\n  b: 1\n",
            json!([{"op": "move", "from": "/s/serviceAccount", "path": "/s/serviceAccountName"}])
        ),
        "s:\n  serviceAccountName: x # who\n  b: 1\n"
    );
    assert_eq!(
        kept("a: {k: 1, l: 2}\nb: 1\n", json!([{"op": "move", "from": "/a/k", "path": "/c"}])),
        "a: {l: 2}\nb: 1\nc: 1\n"
    );
    assert_eq!(
        kept("a:\n- 1\n- 2\n", json!([{"op": "copy", "from": "/a/0", "path": "/a/-"}])),
        "a:\n- 1\n- 2\n- 1\n"
    );
}

#[test]
fn what_cannot_be_edited_is_written_anew() {
    let text = "a: &x\n  k: 1\nb: *x\n";
    let anew = rewritten(text, json!([{"op": "replace", "path": "/b/k", "value": 2}]));
    assert_eq!(anew.style, Style::Reserialised);
    assert_eq!(
        rewritten(text, json!([{"op": "replace", "path": "/a/k", "value": 2}])).style,
        Style::Reserialised
    );
    let beside = kept("a: &x\n  k: 1\nb: *x\nc: 1\n", json!([{"op": "add", "path": "/b", "value": 2}]));
    assert_eq!(beside, "a: &x\n  k: 1\nb: 2\nc: 1\n");
    assert!(rewrite("a: 1", &Patch(vec![]), &Limits::default()).is_ok());
    let missing: Patch = serde_json::from_value(json!([{"op": "remove", "path": "/x"}])).unwrap();
    assert!(matches!(rewrite("a: 1", &missing, &Limits::default()), Err(RewriteError::Apply(_))));
    assert!(matches!(rewrite("a: [", &missing, &Limits::default()), Err(RewriteError::Load(_))));
}

/// A patch whose every operation fits: made by walking the document with the drawn numbers.
fn patch_for(document: &Value, draws: &[(u8, usize, Value)]) -> Patch {
    let mut ops = Vec::new();
    let mut value = document.clone();
    for (kind, place, new) in draws {
        let mut places = Vec::new();
        collect(&value, String::new(), &mut places);
        let Some(path) = places.get(place % places.len().max(1)).filter(|path| !path.is_empty()) else {
            continue;
        };
        let (parent, _) = path.rsplit_once('/').unwrap();
        let op = match kind {
            0 => json!({"op": "replace", "path": path, "value": new}),
            1 => json!({"op": "remove", "path": path}),
            2 if value.pointer(parent).is_some_and(Value::is_array) => {
                json!({"op": "add", "path": path, "value": new})
            }
            3 if value.pointer(parent).is_some_and(Value::is_array) => {
                json!({"op": "add", "path": format!("{parent}/-"), "value": new})
            }
            4 if value.pointer(path).is_some_and(Value::is_array) => {
                json!({"op": "add", "path": format!("{path}/-"), "value": new})
            }
            _ if value.pointer(path).is_some_and(Value::is_object) => {
                json!({"op": "add", "path": format!("{path}/new"), "value": new})
            }
            _ => json!({"op": "copy", "from": path, "path": "/copied"}),
        };
        let single: Patch = serde_json::from_value(json!([op])).unwrap();
        if let Ok(next) = apply(&value, &single) {
            value = next;
            ops.extend(single.0);
        }
    }
    Patch(ops)
}

fn collect(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{at}/{index}"), places));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            collect(item, format!("{at}/{key}"), places);
        }),
        _ => {}
    }
    places.push(at);
}

/// Puts comments where people put them.
fn commented(text: &str) -> String {
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            let plain = !line.contains(['|', '"']) && !line.trim_start().starts_with('#');
            match number % 3 {
                0 if plain => format!("{line} # trailing {number}\n"),
                1 if plain => format!("# own line {number}\n{line}\n"),
                _ => format!("{line}\n"),
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_new_text_is_the_new_value(
        document in domain::testing::json(),
        draws in prop::collection::vec((0..6_u8, any::<usize>(), domain::testing::json()), 1..5),
        mapping in 1..5_usize,
        list in 0..3_usize,
        style in 0..4_u8,
    ) {
        let document = json!({"root": document, "kind": "Pod"});
        let patch = patch_for(&document, &draws);
        let block = to_yaml_indented(&document, Indentation { mapping, list });
        let text = match style {
            0 => block,
            1 => commented(&block),
            2 => block.replace('\n', "\r\n"),
            _ => format!("{document:#}\n"),
        };
        prop_assume!(load(&text, &Limits::default()).is_ok_and(|loaded| loaded.value == document));
        let rewritten = rewrite(&text, &patch, &Limits::default()).unwrap();
        let expected = apply(&document, &patch).unwrap();
        prop_assert_eq!(load(&rewritten.text, &Limits::default()).unwrap().value, expected);
    }

    #[test]
    fn any_text_is_rewritten_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b: ", "- ", "\n", "  ", "\n  ", "{", "}", "[", "]", ",", "&x ", "*x", "!!str ", "|\n", ">-\n", "\"", "'",
                "#", "<<: ", "? ", ": ", "---\n", "...\n", "ü", "\r\n", "~",
            ]),
            0..30,
        ),
        draws in prop::collection::vec((0..6_u8, any::<usize>(), domain::testing::json()), 1..4),
    ) {
        let text = parts.concat();
        if let Ok(loaded) = load(&text, &Limits::default()) {
            let patch = patch_for(&loaded.value, &draws);
            let expected = apply(&loaded.value, &patch).unwrap();
            match rewrite(&text, &patch, &Limits::default()) {
                Ok(rewritten) => prop_assert_eq!(load(&rewritten.text, &Limits::default()).unwrap().value, expected),
                Err(error) => {
                    prop_assert_eq!(error, RewriteError::Unwritable);
                    prop_assert!(expected.to_string().contains("\"<<\""));
                }
            }
        }
    }
}

/// Edits of ordinary texts should hardly ever fall back.
#[test]
fn most_texts_are_kept() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (
        domain::testing::json(),
        prop::collection::vec((0..6_u8, any::<usize>(), domain::testing::json()), 1..5),
    );
    let (mut kept, mut all) = (0, 0);
    for _ in 0..400 {
        let (document, draws) = strategy.new_tree(&mut runner).unwrap().current();
        let document = json!({"root": document, "kind": "Pod"});
        let patch = patch_for(&document, &draws);
        let text = commented(&to_yaml_indented(&document, Indentation::USUAL));
        let Ok(loaded) = load(&text, &Limits::default()) else { continue };
        if loaded.value != document {
            continue;
        }
        all += 1;
        let rewritten = rewrite(&text, &patch, &Limits::default()).unwrap();
        if rewritten.style == Style::Kept {
            kept += 1;
        } else if all - kept < 6 {
            println!("{text}\n{}\n", patch.to_json());
        }
    }
    println!("kept {kept} of {all}");
    assert!(all > 300 && kept * 100 >= all * 97, "kept {kept} of {all}");
}

#[test]
fn what_stands_behind_a_block_scalar_is_no_part_of_it() {
    let add = json!([{"op": "add", "path": "/c/0/k", "value": {"r": true}}]);
    for (text, expected) in [
        // `|+` keeps its blank lines; the others do not.
        (
            "c:\n- a:\n  - |+\n    x\n\n\n# end\nd: 1\n",
            "c:\n- a:\n  - |+\n    x\n\n\n  k:\n    r: true\n# end\nd: 1\n",
        ),
        ("c:\n- a: |+\n    x\n\n", "c:\n- a: |+\n    x\n\n  k:\n    r: true\n"),
        (
            "c:\n  - a: |+\n      x\n\n  - d: 1\n",
            "c:\n  - a: |+\n      x\n\n    k:\n      r: true\n  - d: 1\n",
        ),
        ("c:\n- a: |\n    x\n\nd: 1\n", "c:\n- a: |\n    x\n  k:\n    r: true\n\nd: 1\n"),
        // A text that ends without a line break: nor has the scalar one.
        ("c:\n- a: |\n    x", "c:\n- a: |-\n    x\n  k:\n    r: true"),
        ("c:\n- a: &n |2+ # why\n      x", "c:\n- a: &n |2- # why\n      x\n  k:\n    r: true"),
        ("c:\n- a:\n  - >\n    x\n    y", "c:\n- a:\n  - >-\n    x\n    y\n  k:\n    r: true"),
        ("c:\n- a: |-\n    x", "c:\n- a: |-\n    x\n  k:\n    r: true"),
    ] {
        assert_eq!(kept(text, add.clone()), expected, "{text}");
    }
    let remove = json!([{"op": "remove", "path": "/a"}]);
    assert_eq!(kept("a: |+\n  x\n\n# of b\nb: 1\n", remove), "# of b\nb: 1\n");
}

#[test]
fn anchors_and_aliases_stay() {
    let text = "a: &img x:latest   # pinned\nb: *img\nc: [*img, &n y]\nd: *n\n";
    let everywhere = json!([
        {"op": "replace", "path": "/a", "value": "x:stable"},
        {"op": "replace", "path": "/b", "value": "x:stable"},
        {"op": "replace", "path": "/c/0", "value": "x:stable"},
    ]);
    assert_eq!(kept(text, everywhere), text.replace("latest", "stable"));
    let alias_alone = json!([{"op": "replace", "path": "/b", "value": "z"}]);
    assert_eq!(kept(text, alias_alone), text.replace("b: *img", "b: z"));
    let in_flow = json!([{"op": "replace", "path": "/c/1", "value": "w"}, {"op": "replace", "path": "/d", "value": "w"}]);
    assert_eq!(kept(text, in_flow), text.replace("&n y", "&n w"));
}

#[test]
fn quotes_blanks_and_tabs_stay() {
    let images = json!([
        {"op": "replace", "path": "/a", "value": "x:stable"},
        {"op": "replace", "path": "/b/0", "value": "x:stable"},
        {"op": "replace", "path": "/b/1", "value": "x:stable"},
        {"op": "replace", "path": "/b/2/c", "value": "it's: it"},
    ]);
    let text = "a:   'x:latest'   # two\nb: ['x:latest', x:latest, {c: \"x:latest\"}]\n";
    let expected = "a:   'x:stable'   # two\nb: ['x:stable', x:stable, {c: \"it's: it\"}]\n";
    assert_eq!(kept(text, images), expected);
    let text = "a:\t1\t# tabs\nb:\t\"x\"\nc:  {}   # empty\nd:   # todo\ne: [1,\t2]\n";
    let ops = json!([
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "replace", "path": "/b", "value": "y"},
        {"op": "add", "path": "/c/k", "value": 1},
        {"op": "replace", "path": "/d", "value": {"k": 1}},
    ]);
    let expected = "a:\t2\t# tabs\nb:\t\"y\"\nc:   # empty\n  k: 1\nd:   # todo\n  k: 1\ne: [1,\t2]\n";
    assert_eq!(kept(text, ops), expected);
    let json = "{\n\t\"a\": [\n\t\t{\n\t\t\t\"b\": 1\n\t\t}\n\t]\n}\n";
    assert_eq!(
        kept(json, json!([{"op": "add", "path": "/a/0/c", "value": {"d": [true]}}])),
        json.replace(
            "\"b\": 1",
            "\"b\": 1,\n\t\t\t\"c\": {\n\t\t\t\t\"d\": [\n\t\t\t\t\ttrue\n\t\t\t\t]\n\t\t\t}"
        )
    );
}
