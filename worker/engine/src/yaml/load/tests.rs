use proptest::prelude::*;
use serde_json::json;

use domain::pointer::Pointer;

use super::*;

fn limits() -> Limits {
    Limits::default()
}

fn value(text: &str) -> Value {
    load(text, &limits()).unwrap().value
}

#[test]
fn styles_tags_anchors_and_merges() {
    let text = "a: &x {k: 1, l: two}\nb: *x\nc:\n  <<: *x\n  l: own\nd: !!str 5\ne: \"5\"\nf: |\n  line\ng: [1, ~]\n5: five\n";
    let expected = json!({
        "a": {"k": 1, "l": "two"}, "b": {"k": 1, "l": "two"}, "c": {"l": "own", "k": 1},
        "d": "5", "e": "5", "f": "line\n", "g": [1, null], "5": "five"
    });
    assert_eq!(value(text), expected);
}

#[test]
fn duplicate_keys_are_reported_and_the_last_counts() {
    let loaded = load("a: {b: 1, b: 2}\nl:\n- x: 1\n- y: 1\n  y: 2\n", &limits()).unwrap();
    assert_eq!(loaded.value, json!({"a": {"b": 2}, "l": [{"x": 1}, {"y": 2}]}));
    assert_eq!(loaded.duplicate_keys, [Pointer::of(["a", "b"]), Pointer::of(["l", "1", "y"])]);
}

#[test]
fn a_bomb_is_refused_before_it_is_built() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip("abcdefgh".chars()) {
        let list = vec![format!("*{of}"); 9].join(",");
        text += &[*name, ": &", *name, " [", list.as_str(), "]\n"].concat();
    }
    assert!(matches!(load(&text, &limits()), Err(LoadError::Limit { what: "number of nodes", .. })));
}

#[test]
fn limits_on_depth_size_and_aliases() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    assert!(matches!(load(&deep, &limits()), Err(LoadError::Limit { what: "nesting depth", .. })));
    let block = (0..100).map(|n| " ".repeat(n) + "a:\n").collect::<String>();
    assert!(matches!(load(&block, &limits()), Err(LoadError::Limit { what: "nesting depth", .. })));
    let large = format!("a: {}", "x".repeat(limits().document_bytes));
    assert!(matches!(load(&large, &limits()), Err(LoadError::Limit { what: "document size in bytes", .. })));
    let many = "a: &a 1\nb: [".to_owned() + &"*a,".repeat(2000) + "]";
    assert!(matches!(load(&many, &limits()), Err(LoadError::Limit { what: "number of aliases", .. })));
    assert!(load("a: &a [*a]", &limits()).is_err(), "an anchor cannot hold itself");
}

#[test]
fn errors_say_where() {
    let error = load("a: 1\nb: [1,\n", &limits()).unwrap_err();
    assert!(matches!(error, LoadError::Syntax { line: 2.., .. }), "{error}");
    assert_eq!(load("# nothing\n", &limits()), Err(LoadError::Empty));
    assert!(load("? [a, b]\n: 1\n", &limits()).is_err());
}

#[test]
fn json_with_tabs_is_read() {
    assert_eq!(value("{\n\t\"a\": [1,\t2]\n}"), json!({"a": [1, 2]}));
}

#[test]
fn positions_cover_keys_and_values() {
    let text = "a: 1\nü:\n  b:   two # c\n  l:\n  - x: 1\n    y: [p, q]\n  - z\nend: {k: v}\n";
    let spans = load_with_spans(text, &limits()).unwrap().spans;
    let cut = |pointer: &str, part: fn(&Position) -> (usize, usize)| {
        let position = &spans[&Pointer::parse(pointer).unwrap()];
        let (from, to) = part(position);
        &text[from..to]
    };
    assert_eq!(cut("/ü/b", |p| p.value), "two");
    assert_eq!(cut("/ü/b", |p| p.key), "b");
    assert_eq!(cut("/ü/l/0/y", |p| p.value), "[p, q]");
    assert_eq!(cut("/ü/l/0", |p| p.value), "x: 1\n    y: [p, q]");
    assert_eq!(cut("/ü/l/1", |p| p.value), "z");
    assert_eq!(cut("/end", |p| p.value), "{k: v}");
    assert_eq!(cut("/ü", |p| p.value), "b:   two # c\n  l:\n  - x: 1\n    y: [p, q]\n  - z");
    let z = &spans[&Pointer::parse("/ü/l/1").unwrap()];
    assert_eq!((z.line, z.column), (7, 5));
}

#[test]
fn a_comment_behind_a_bracket_is_no_part_of_the_node() {
    let spans = load_with_spans("a: {} # c\nb: [{x: 1}]  # d\n", &limits()).unwrap().spans;
    let value = |pointer: &str| spans[&Pointer::parse(pointer).unwrap()].value;
    assert_eq!([value("/a"), value("/b"), value("/b/0")], [(3, 5), (13, 21), (14, 20)]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n]{0,120}") {
        let _ = load_with_spans(&text, &limits());
    }

    #[test]
    fn anything_yaml_like_is_read_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b: ", "- ", "\n", "  ", "\n  ", "{", "}", "[", "]", ",", "&x ", "*x", "!!str ", "|\n", ">-\n", "\"", "'",
                "#", "<<: ", "? ", ": ", "---\n", "...\n", "\t", "ü", "\u{85}", "%YAML 1.1\n", "~",
            ]),
            0..40,
        )
    ) {
        let _ = load_with_spans(&parts.concat(), &limits());
    }
}

#[test]
fn copies_and_places_are_bounded_too() {
    let limit = |text: &str| {
        let limits = Limits { document_bytes: 10_000, document_nodes: 1_000, ..Limits::default() };
        match load(text, &limits) {
            Err(LoadError::Limit { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let nested = (0..50).map(|level| format!("&a{level} [")).collect::<Vec<_>>().concat();
    assert_eq!(limit(&format!("{nested}{}{}", "1,".repeat(100), "]".repeat(50))), "number of nodes");
    let long = "x".repeat(2_000);
    let aliases = format!("a: &a {long}\nb: [{}]", "*a,".repeat(20));
    assert_eq!(limit(&aliases), "document size in bytes with its aliases");
    let duplicates = format!("? {long}\n: {{{}}}", "a: 1,".repeat(20));
    assert_eq!(limit(&duplicates), "places of duplicate keys in bytes");
}

#[test]
fn a_quoted_merge_key_is_a_key() {
    let value = load("'<<': {a: 1}\n<<: {b: 2}\n", &Limits::default()).unwrap().value;
    assert_eq!(value, serde_json::json!({"<<": {"a": 1}, "b": 2}));
}

#[test]
fn a_block_scalar_ends_as_its_text_does() {
    for (text, value) in [
        ("a: |\n  x", "x"),
        ("a: |\n  x\n", "x\n"),
        ("a: |\n  x\n  ", "x\n"),
        ("a: |+\n  x\n\n", "x\n\n"),
        ("a: |+\n  x", "x"),
        ("a: >\n  é\n  x", "é x"),
        ("a: |-\n  x", "x"),
    ] {
        assert_eq!(load(text, &Limits::default()).unwrap().value["a"], value, "{text:?}");
    }
}

#[test]
fn tabs_separate_a_colon_from_its_value() {
    for text in ["a:\tb\n", "a:\t\tb\n", "a:\t\"b\"\n", "é: é\na:\tb\n", "a: b\nc: {d:\te,\tf:\tg}\n"] {
        assert_eq!(load(text, &Limits::default()).unwrap().value["a"], "b", "{text:?}");
    }
    assert_eq!(load("a: |\n  b:\tc\nd:\te\n", &Limits::default()).unwrap().value["a"], "b:\tc\n");
    assert!(load("a:\n\tb: 1\n", &Limits::default()).is_err(), "not in the indentation");
    let spans = load_with_spans("a:\tb\n", &Limits::default()).unwrap().spans;
    assert_eq!(spans[&Pointer::of(["a"])].value, (3, 4), "offsets are those of the text");
    assert!(load(&"a:\tb\n".repeat(TABS + 1), &Limits::default()).is_err(), "bounded");
}
