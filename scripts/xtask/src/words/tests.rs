use std::path::Path;

use super::found::Place;
use super::table::{Allowed, Group};
use super::{Remaining, search};

const WORDS: &[Group] = &[
    Group {
        paths: &["worker/src"],
        places: &[Place::Type, Place::Variant],
        words: &[("Desk", "Dispatcher"), ("Go", "CallPermit")],
    },
    Group { paths: &["worker/src"], places: &[Place::Function], words: &[("beat", "send_heartbeat")] },
    Group { paths: &["worker/src"], places: &[Place::File, Place::Module], words: &[("desk", "dispatcher")] },
    Group { paths: &["worker/src/limit"], places: &[Place::Name], words: &[("owed", "deficit")] },
    Group { paths: &["proto"], places: &[Place::Type], words: &[("Go", "CallPermit")] },
    Group {
        paths: &["worker"],
        places: &[Place::Message],
        words: &[("nobody", "name it"), ("is no *", "is not a valid …")],
    },
];

/// Writes a tree and lists what remains, as `path:line found`.
fn remaining(files: &[(&str, &str)], allowed: &[Allowed]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = root.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let show = |word: &Remaining| {
        let stays = if word.is_allowed() { " (stays)" } else { "" };
        format!("{}:{} {}{stays}", word.file.display(), word.line, word.found)
    };
    search(Path::new(root.path()), WORDS, allowed).unwrap().iter().map(show).collect()
}

#[test]
fn declared_names_are_found_and_mentions_and_comments_are_not() {
    let tree = [
        (
            "worker/src/a.rs",
            "// struct Desk;\n/// A Desk.\npub struct Desk;\nenum Turn {\n    /// Go.\n    #[default]\n    Go,\n    Other(v1::Go),\n}\nfn beat(_: Desk) {}\n",
        ),
        ("worker/src/b.rs", "use other::Desk;\nfn f(desk: Desk) { desk.beat() }"),
        ("worker/engine/c.rs", "struct Desk;"),
    ];
    assert_eq!(
        remaining(&tree, &[]),
        ["worker/src/a.rs:3 Desk", "worker/src/a.rs:7 Go", "worker/src/a.rs:10 beat"]
    );
}

#[test]
fn file_names_modules_and_any_identifier_count_where_the_table_says() {
    let tree = [
        ("worker/src/lib.rs", "mod desk;"),
        ("worker/src/desk/mod.rs", "fn f(owed: u8) {}"),
        ("worker/src/limit/a.rs", "fn f(owed: u8) {}"),
        ("proto/v1/a.proto", "// message Go\nmessage Go {\n  Go go = 1;\n}\n"),
    ];
    assert_eq!(
        remaining(&tree, &[]),
        [
            "proto/v1/a.proto:2 Go",
            "worker/src/desk/mod.rs:0 desk",
            "worker/src/lib.rs:1 desk",
            "worker/src/limit/a.rs:1 owed",
        ]
    );
}

#[test]
fn messages_count_outside_tests() {
    let tree = [
        (
            "worker/src/a.rs",
            "#[error(\"{0} is no address\")]\nstruct E;\nfn f() { say(\"there is no file\", \"it is no longer there\", \"as nobody \\\n   says\") }\n#[cfg(test)]\nmod tests { fn t() { panic!(\"nobody\") } }\n",
        ),
        ("worker/tests/it.rs", "fn t() { panic!(\"nobody\") }"),
    ];
    assert_eq!(
        remaining(&tree, &[]),
        ["worker/src/a.rs:1 {0} is no address", "worker/src/a.rs:3 as nobody says"]
    );
}

#[test]
fn a_place_with_a_reason_stays() {
    let tree = [("worker/src/a.rs", "enum Turn { Go }"), ("worker/src/b.rs", "enum Turn { Go }")];
    let allowed = [Allowed { path: "worker/src/a.rs", found: "Go", reason: "what a turn does" }];
    assert_eq!(remaining(&tree, &allowed), ["worker/src/a.rs:1 Go (stays)", "worker/src/b.rs:1 Go"]);
}
