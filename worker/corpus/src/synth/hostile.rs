//! Hostile documents: broken, deeply nested, oversized or otherwise malformed.

use std::fmt::Write as _;

use super::random::Random;

/// A hostile document and its kind.
pub(super) fn document(random: &mut Random) -> (&'static str, String) {
    let what = random.pick(&[
        "bomb",
        "broken",
        "deep",
        "duplicate",
        "empty",
        "latin",
        "list",
        "long",
        "number",
        "template",
        "types",
        "zero",
    ]);
    let text = match what {
        "bomb" => bomb(),
        "broken" => "apiVersion: v1\nkind: Pod\nmetadata: {name: x\nspec:\n  containers: [\n".to_owned(),
        "deep" => format!("kind: Pod\nspec: {}{}\n", "[".repeat(500), "]".repeat(500)),
        "duplicate" => "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: twice, name: thrice}\nspec: {containers: [{name: a, image: b:1}]}\n".to_owned(),
        "empty" => "# nothing but a comment\n".to_owned(),
        "latin" => "apiVersion: v1\nkind: Pod\nmetadata: {name: \"\u{9f}\u{2028}\u{feff}ſ\"}\nspec: {containers: [{name: a, image: b}]}\n".to_owned(),
        "list" => "- kind: Pod\n- kind: Service\n".to_owned(),
        "long" => format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {}}}\nspec: {{containers: [{{name: a, image: b}}]}}\n", "x".repeat(70_000)),
        "number" => "42\n".to_owned(),
        "template" => "apiVersion: v1\nkind: Pod\nmetadata: {name: \"{{ .Release.Name }}-web\"}\nspec: {containers: [{name: a, image: \"${REGISTRY}/web\"}]}\n".to_owned(),
        "types" => "apiVersion: v1\nkind: Pod\nmetadata: {name: 5, labels: [1, 2]}\nspec: {containers: {name: a}, volumes: 7}\n".to_owned(),
        _ => "apiVersion: v1\nkind: Pod\nmetadata: {name: \"zero\\0byte\"}\nspec: {containers: [null, {name: a, image: \"\", ports: [null, 5]}]}\n".to_owned(),
    };
    (what, text)
}

/// Aliases of aliases: 9⁸ nodes from half a kilobyte.
fn bomb() -> String {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in "bcdefgh".chars().zip("abcdefg".chars()) {
        let list = vec![format!("*{of}"); 9].join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: &{name} [{list}]");
    }
    text
}
