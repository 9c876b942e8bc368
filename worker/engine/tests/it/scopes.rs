//! `policies.md` says what each policy may change and what other catalogues call it, as the policies' own tables have it.

#![expect(clippy::disallowed_methods, reason = "the page lies in a file")]

use std::fmt::Write as _;
use std::path::Path;

use domain::policy::PolicyId;
use domain::policy::catalogue::Profile;
use domain::policy::references::References;
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

const CATALOGUE: &str = "
# The catalogue

`paper` are the thirty policies of the paper, which runs and commands look for unless they are told otherwise; `full` are all
of this page (`--catalogue full`, `detector.catalogue`). A policy without a place above has no repair that a program could know:
its records are `needs_review`, with what a person must decide. *PSS*: controls of the Pod Security Standards; *CIS*:
recommendations of the CIS Kubernetes Benchmark 1.9; *NSA*: sections of the Kubernetes Hardening Guide 1.2 of NSA and CISA.

| policy | what holds | catalogue | kube-linter | PSS | CIS | NSA |
| --- | --- | --- | --- | --- | --- | --- |
";

const PROFILES: &str = "
# Profiles

Named sets of policies (`--profile`, `detector.profile`).

| profile | policies |
| --- | --- |
";

fn catalogue(text: &mut String) {
    text.push_str(CATALOGUE);
    for id in PolicyId::ALL {
        let catalogue = if PolicyId::PAPER.contains(id) { "paper, full" } else { "full" };
        let References { kube_linter, pod_security, cis, nsa } = id.references();
        let cells = [kube_linter, pod_security, cis, nsa].map(|ids| ids.join(", ")).join(" | ");
        writeln!(text, "| {id} | {} | {catalogue} | {cells} |", id.title()).expect("a text");
    }
    text.push_str(PROFILES);
    for profile in Profile::ALL {
        let ids: Vec<&str> = profile.policies().iter().map(|id| id.as_str()).collect();
        writeln!(text, "| {} | {} |", profile.as_str(), ids.join(", ")).expect("a text");
    }
}

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
    catalogue(&mut text);
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
