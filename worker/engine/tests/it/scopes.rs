//! `policies.md` says what each policy may change, as the policies' own tables have it.

#![expect(clippy::disallowed_methods, reason = "the page lies in a file")]

use std::fmt::Write as _;
use std::path::Path;

use engine::policies;

const HEAD: &str = "# What a repair may change

Everything else that differs between a document before and after its repair is *collateral*: it is counted for
every proposer, and the strict safety gate rejects it. `*` is any one key or index, `**` any number of them.
`{container}` is a container that violates the policy, `{pod}` the spec of a pod that holds one (any pod for policies
that are not about containers), `{template}` the metadata of such a pod, `{controller}` the spec of what makes the pods.
What the API server would have set by itself, what a container has from its pod already, and what another field implies
is no change.

| policy | place | what it may come to |
| --- | --- | --- |
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    for policy in policies::all() {
        let scope = policy.scope();
        for may in scope.may {
            let to: Vec<String> = may.to.iter().map(ToString::to_string).collect();
            writeln!(text, "| {} | `{}` | {} |", policy.id(), may.at, to.join("; ")).expect("a text");
        }
        if let Some(companion) = scope.companion {
            writeln!(text, "| {} | beside the document | {} |", policy.id(), companion.words)
                .expect("a text");
        }
    }
    text
}

#[test]
fn the_page_is_what_the_policies_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, page()).expect("can write");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        page(),
        "UPDATE_GENERATED=1 cargo test --workspace --test it the_page_is_what writes it"
    );
}
