use proptest::prelude::*;
use serde_json::json;

use super::*;

const OP: &str = r#"{"op":"remove","path":"/a"}"#;
const TWO: &str =
    r#"[{"op":"remove","path":"/a"},{"op":"add","path":"/b","value":{"c":[1,null,"x"],"d":false}}]"#;

#[test]
fn a_patch_is_found_in_each_of_its_forms() {
    for text in [
        format!("[{OP}]"),
        format!("\u{feff}[{OP}]\n"),
        format!("{{\"patch\": [{OP}]}}"),
        format!("{{\"why\": \"it is\", \"patch\": [{OP}]}}"),
        OP.to_owned(),
        format!("```json\n[{OP}]\n```"),
        format!("Here it is: {{\"patch\": [{OP}]}} That is all."),
        format!(
            "Sure! [Here] is the patch {{as asked}}:\n\n```\n{{\"patch\":[{OP}]}}\n```\nIt fixes [everything]."
        ),
        format!("Before:\n```yaml\na: 1\n```\nPatch:\n```json\n[{OP}]\n```"),
        format!("```\n[{OP}]\n```\nand again\n```\n[ {OP} ]\n```"),
        format!("[{OP}] clears the violation."),
        format!("<think>Perhaps [{{\"op\":\"remove\",\"path\":\"/b\"}}]? No.</think>\n[{OP}]"),
        format!("Perhaps [{{\"op\":\"remove\",\"path\":\"/b\"}}]? No.\n</think>\n\n```json\n[{OP}]\n```"),
    ] {
        assert_eq!(parse(&text).unwrap().to_json(), format!("[{OP}]"), "{text}");
    }
    assert!(parse("{\"patch\": []}").unwrap().is_empty());
    let tags = r#"[{"op":"add","path":"/a","value":"</think> ``` <think>"}]"#;
    assert_eq!(parse(tags).unwrap().to_json(), tags, "a value may hold anything");
}

#[test]
fn drafts_in_the_reasoning_do_not_count_however_it_is_marked() {
    let draft = r#"Perhaps [{"op":"remove","path":"/b"}]? No."#;
    for (begin, end) in REASONING {
        for text in [
            format!("{begin}{draft}{end}\n[{OP}]"),
            format!("{draft}{end}\n\n```json\n[{OP}]\n```"),
            format!("{begin}{end}[{OP}]"),
            format!("{begin}{draft}{end}{begin}{draft}{end}It is [{OP}]."),
        ] {
            assert_eq!(parse(&text).map(|patch| patch.to_json()), Ok(format!("[{OP}]")), "{text}");
        }
        for text in [format!("{begin}{draft}"), format!("{begin}{draft}{end}{begin}[{OP}]")] {
            assert_eq!(parse(&text), Err(ParseError::Unfinished(begin)), "{text}");
        }
        assert!(parse(&format!("{begin}{draft}{end}")).is_err());
    }
    let thought = format!("<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant");
    for text in [
        format!("{thought}<|channel|>final<|message|>[{OP}]"),
        format!("{thought}<|channel|>final <|constrain|>json<|message|>{{\"patch\": [{OP}]}}<|return|>"),
    ] {
        assert_eq!(parse(&text).map(|patch| patch.to_json()), Ok(format!("[{OP}]")), "{text}");
    }
    for text in [format!("<|channel|>analysis<|message|>[{OP}]"), format!("{thought}<|channel|>final")] {
        assert_eq!(parse(&text), Err(ParseError::Unfinished(CHANNEL)), "{text}");
    }
}

#[test]
fn what_is_no_patch_says_why() {
    let other = r#"[{"op":"remove","path":"/b"}]"#;
    assert_eq!(parse("  "), Err(ParseError::Empty));
    for text in ["I cannot do that.", "{\"answer\": []}", "\"[]\"", "See the note [].", "```\nnothing\n```"] {
        assert_eq!(parse(text), Err(ParseError::NoPatch), "{text}");
    }
    for text in [
        format!("[{OP}] or {other}"),
        format!("{OP}\n{OP}"),
        format!("It is [{OP}] or {other}"),
        format!("```\n[{OP}]\n```\nor\n```\n{other}\n```"),
        format!("Not {OP} but\n```\n{other}\n```"),
        format!("{{\"op\":\"remove\",\"path\":\"/a\",\"patch\":{other}}}"),
    ] {
        assert_eq!(parse(&text), Err(ParseError::Several), "{text}");
    }
    assert_eq!(parse(&json!({ "patch": other }).to_string()), Err(ParseError::Text));
    assert_eq!(parse(&format!("<think>hm [{OP}]")), Err(ParseError::Unfinished("<think>")));
    assert_eq!(parse(&format!("Here:\n```json\n[{OP}]")), Err(ParseError::OpenFence));
    assert_eq!(parse(&"x".repeat(ANSWER_BYTES + 1)), Err(ParseError::TooLong));
    assert_eq!(parse(&format!("[{}]", vec![OP; 201].join(","))), Err(ParseError::TooMany { count: 201 }));
    for bad in [
        r#"[{"op":"merge","path":"/a","value":1}]"#,
        r#"[{"op":"add","path":"/a"}]"#,
        r#"[{"op":"remove","path":"a"}]"#,
        r#"[["remove","/a"]]"#,
        r#"{"patch":[["remove","/a"]]}"#,
        "[1, 2]",
    ] {
        assert!(matches!(parse(bad), Err(ParseError::BadOp { index: 0, .. })), "{bad}: {:?}", parse(bad));
    }
}

#[test]
fn broken_json_is_named() {
    for (text, word) in [
        (format!("[{OP},]"), "trailing comma"),
        (format!("[{OP}"), "cut off"),
        (format!("[{OP},{{\"op\":\"add\",\"path\":\"/b"), "cut off"),
        (format!("[\n // first\n {OP}]"), "no comments"),
        (r#"[{"op":"add","path":"/a","value":NaN}]"#.to_owned(), "NaN"),
        (r#"The patch: [{"op":"add","path":"/a","value":Infinity}]"#.to_owned(), "Infinity"),
        (r#"[{"op":"add","path":"/a","value":-Infinity}]"#.to_owned(), "invalid number"),
        (TWO.replace('"', "'"), "double quotes"),
        (r#"[{"op":"remove","op":"add","path":"/a","value":1}]"#.to_owned(), "\"op\" occurs twice"),
        (format!("```json\n[{OP},]\n```"), "trailing comma"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}

/// The tokens of a JSON text: texts, numbers, words, and signs.
fn tokens(json: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => {
                let mut escaped = false;
                let close = rest.char_indices().skip(1).find(|(_, c)| {
                    let closes = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    closes
                });
                close.map_or(rest.len(), |(at, _)| at + 1)
            }
            c if c.is_alphanumeric() || c == '-' => {
                rest.find(|c: char| !(c.is_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        found.push(token);
        rest = after;
    }
    found
}

fn wrapped(form: usize, patch: &str) -> String {
    match form {
        0 => patch.to_owned(),
        1 => format!("{{\"patch\": {patch}}}"),
        2 => format!("Here is the patch: {patch} It clears the violation."),
        3 => format!("The [patch]:\n```json\n{{\"patch\": {patch}}}\n```\nDone {{well}}."),
        _ => {
            let (begin, end) = REASONING[form % REASONING.len()];
            format!("{begin}first I thought of [{OP}]{end}\n```\n{patch}\n```")
        }
    }
}

fn operation() -> impl Strategy<Value = Value> {
    let path = r"(/[a-z0-9{}\[\]]{1,4}){1,3}";
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(false)),
        any::<i32>().prop_map(|n| json!(n)),
        r#"[a-z"\\{}\[\],:` ]{0,12}"#.prop_map(|text| json!(text)),
        Just(json!([1, {"a": [], "b": {}}, "[{"])),
        Just(json!({"drop": ["ALL"], "add": []})),
    ];
    prop_oneof![
        path.prop_map(|path| json!({"op": "remove", "path": path})),
        (path, value).prop_map(|(path, value)| json!({"op": "add", "path": path, "value": value})),
        (path, path).prop_map(|(from, path)| json!({"op": "move", "from": from, "path": path})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_makes_it_panic(text in r#"[\[\]{}",:a-z0-9 `~/é\n\\<>]{0,80}"#) {
        let _ = parse(&text);
    }

    /// No part of an answer is taken for an answer: not its beginning, not what is left when a token is lost. The only
    /// element of a list is left out: without it the list is whole again.
    #[test]
    fn a_broken_answer_is_never_another_patch(
        operations in prop::collection::vec(operation(), 1..4),
        form in 0_usize..4 + REASONING.len(),
    ) {
        let whole = wrapped(form, &Value::Array(operations).to_string());
        let patch = parse(&whole).unwrap();
        for (at, _) in whole.char_indices() {
            if let Ok(other) = parse(&whole[..at]) {
                prop_assert_eq!(&other, &patch, "the first {} bytes of {}", at, whole);
            }
        }
        let tokens = tokens(&whole);
        let alone = |at: usize| at > 0 && tokens[at - 1] == "[" && tokens.get(at + 1) == Some(&"]");
        for lost in (0..tokens.len()).filter(|at| !alone(*at)) {
            let left: String =
                tokens.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, token)| *token).collect();
            if let Ok(other) = parse(&left) {
                prop_assert_eq!(&other, &patch, "token {} of {} is lost", lost, whole);
            }
        }
    }
}

#[test]
fn an_operation_of_the_strict_schema_has_its_value_as_json_text() {
    let strict = |op: &str, text: Value| {
        let op = json!({"op": op, "path": "/a", "from": null, "value_json": text});
        parse(&json!({"patch": [op]}).to_string()).map(|patch| serde_json::to_value(patch).unwrap())
    };
    for (text, value) in [
        ("true", json!(true)),
        ("\"true\"", json!("true")),
        ("nginx:1.27", json!("nginx:1.27")),
        ("{\"drop\": [\"ALL\"]}", json!({"drop": ["ALL"]})),
        ("null", Value::Null),
        ("", json!("")),
    ] {
        assert_eq!(
            strict("add", json!(text)),
            Ok(json!([{"op": "add", "path": "/a", "value": value}])),
            "{text}"
        );
    }
    assert_eq!(strict("add", json!(7)), Ok(json!([{"op": "add", "path": "/a", "value": 7}])));
    for text in [Value::Null, json!("1")] {
        assert_eq!(strict("remove", text), Ok(json!([{"op": "remove", "path": "/a"}])));
    }
    assert!(matches!(strict("replace", Value::Null), Err(ParseError::BadOp { .. })));
    // In the form of RFC 6902 nothing is read twice.
    let plain = r#"{"patch": [{"op": "add", "path": "/a", "value": "true"}]}"#;
    let patch = serde_json::to_value(parse(plain).unwrap()).unwrap();
    assert_eq!(patch, json!([{"op": "add", "path": "/a", "value": "true"}]));
}
