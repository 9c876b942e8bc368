//! `explanations.md` holds the heads of the policies' source files.

#![expect(clippy::disallowed_methods, reason = "the page and the sources lie in files")]

use std::path::Path;

use domain::policy::PolicyId;

const HEAD: &str = "# The policies explained

`worker explain POLICY` prints one of these; `policies.md` says what each repair may change.
";

/// The documentation at the head of a policy's source, one level of headings deeper.
fn head(id: PolicyId) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/policies/{id}.rs"));
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut in_code = false;
    let mut text: Vec<String> = Vec::new();
    for line in lines.map(|line| line.strip_prefix(' ').unwrap_or(line)) {
        in_code ^= line.starts_with("```");
        text.push(if line.starts_with("# ") && !in_code { format!("##{line}\n") } else { line.to_owned() });
    }
    let text = text.join("\n");
    let title = text.strip_prefix(&format!("`{id}`: ")).expect("the first line names the policy");
    format!("\n## {id}\n\n{}\n", title.trim_end())
}

#[test]
fn the_explanations_are_those_of_the_sources() {
    let page = PolicyId::ALL.iter().fold(HEAD.to_owned(), |page, id| page + &head(*id));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("explanations.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).expect("can write");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, page,
        "UPDATE_GENERATED=1 cargo test --workspace --test it the_explanations_are writes it"
    );
}
