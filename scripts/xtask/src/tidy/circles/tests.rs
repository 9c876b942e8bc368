use std::path::Path;

use super::modules::Crate;
use super::{cycles, is_upward};

/// Writes a source tree and lists its imports, as `from:line → path (to)`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    read(files).edges().iter().map(ToString::to_string).collect()
}

/// The files of each circle.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let names = |circle: cycles::Circle| circle.files.iter().map(|file| file.display().to_string()).collect();
    cycles::find(&read(files).edges()).into_iter().map(names).collect()
}

fn read(files: &[(&str, &str)]) -> Crate {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = root.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    Crate::read(root.path(), &root.path().join("lib.rs")).unwrap()
}

#[test]
fn a_circle_is_found_and_its_imports_are_named() {
    let tree = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() { let c = vec![super::c::C { ..Default::default() }]; }"),
        ("c.rs", "use crate::{\n    a::{self},\n};\npub struct C(Option<a::A>);"),
    ];
    assert_eq!(
        edges(&tree),
        ["a.rs:1 → crate::b::B (b.rs)", "b.rs:2 → super::c::C (c.rs)", "c.rs:4 → a::A (a.rs)"]
    );
    assert_eq!(circles(&tree), [["a.rs", "b.rs", "c.rs"]]);
}

#[test]
fn what_only_imports_in_one_direction_is_no_circle() {
    let tree = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; use crate::c::C;"),
        ("b.rs", "pub struct B(crate::c::C);"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(circles(&tree), Vec::<Vec<String>>::new());
}

#[test]
fn code_for_tests_does_not_count() {
    let tree = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod checks;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        (
            "b.rs",
            "#[cfg(test)] use crate::a::A;
             pub struct B { #[cfg(test)] a: Option<crate::a::A>, b: u8 }
             #[cfg(all(test, unix))] #[inline] fn f<T, U>(a: T) -> U { crate::a::A }
             #[cfg(test)] mod tests { use crate::a::A; }",
        ),
    ];
    assert_eq!(edges(&tree), ["a.rs:1 → crate::b::B (b.rs)"]);
}

#[test]
fn what_is_not_compiled_for_tests_counts() {
    let tree = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "#[cfg(not(test))] use crate::a::A;\n#[cfg(any(test, unix))] fn f(_: crate::a::A) {}"),
    ];
    assert_eq!(edges(&tree), ["b.rs:1 → crate::a::A (a.rs)", "b.rs:2 → crate::a::A (a.rs)"]);
}

#[test]
fn reexports_are_followed_to_the_file_that_declares() {
    let tree = [
        ("lib.rs", "mod room; mod user; pub use room::inner::Renamed;"),
        ("room/mod.rs", "pub mod inner;\nmod other;\npub use inner::Inner as Renamed;\npub use other::*;"),
        ("room/inner.rs", "use super::Other;\npub struct Inner(Other);"),
        ("room/other.rs", "pub enum Other { One }"),
        ("user.rs", "use crate::room::{Other, Renamed};\nfn f() { crate::room::Other::One; serde::x(); }"),
    ];
    assert_eq!(
        edges(&tree),
        [
            "room/inner.rs:1 → super::Other (room/other.rs)",
            "user.rs:1 → crate::room::Other (room/other.rs)",
            "user.rs:1 → crate::room::Renamed (room/inner.rs)",
            "user.rs:2 → crate::room::Other::One (room/other.rs)",
        ]
    );
}

#[test]
fn a_folders_file_that_uses_what_it_exports_depends_on_it() {
    let reexport = [("lib.rs", "mod a;\npub use a::A;\npub struct B;"), ("a.rs", "pub struct A(crate::B);")];
    assert_eq!(circles(&reexport), Vec::<Vec<String>>::new());
    let used = [("lib.rs", "mod a;\npub use a::A;\npub struct B(A);"), reexport[1]];
    assert_eq!(circles(&used), [["a.rs", "lib.rs"]]);
}

#[test]
fn what_a_glob_brings_counts_where_it_is_used() {
    let tree = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; pub struct Unused;"),
        ("b.rs", "use crate::a::*;\nstruct B(A, String);"),
    ];
    assert_eq!(edges(&tree), ["b.rs:1 → crate::a (a.rs)"]);
}

#[test]
fn inline_modules_and_items_of_macros_belong_to_their_file() {
    let tree = [
        ("lib.rs", "pub mod wire { include!(\"x\"); } mod a;"),
        ("a.rs", "use crate::wire::Message;\nmod inner { use super::super::wire; fn f(_: wire::Other) {} }"),
    ];
    assert_eq!(edges(&tree), ["a.rs:1 → crate::wire::Message (lib.rs)", "a.rs:2 → wire::Other (lib.rs)"]);
}

#[test]
fn an_import_from_a_room_above_is_against_the_layers() {
    let tree = [
        ("lib.rs", "mod server; mod run; mod ledger;"),
        ("server.rs", "pub struct Server(crate::run::plan::Plan, crate::ledger::Ledger);"),
        ("run/mod.rs", "pub mod plan;"),
        ("run/plan.rs", "use crate::server::Server;\npub struct Plan;"),
        ("ledger.rs", "pub struct Ledger;"),
    ];
    let layers: &[&[&str]] = &[&["server"], &["run"], &["scheduler"], &["ledger"]];
    let upward = |edge: &super::Edge| is_upward(layers, Path::new(""), edge);
    let found: Vec<String> =
        read(&tree).edges().iter().filter(|edge| upward(edge)).map(ToString::to_string).collect();
    assert_eq!(found, ["run/plan.rs:1 → crate::server::Server (server.rs)"]);
}
