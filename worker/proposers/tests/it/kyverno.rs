//! `configs/baselines/kyverno-mutate.yaml` with the real Kyverno CLI (`scripts/baselines kyverno`).

use std::path::{Path, PathBuf};

use domain::config::Limits;
use domain::testing::skipped_optional;
use engine::yaml;
use proposers::{Failure, Programs, Question};

use crate::batch::ask_all;
use crate::support::{go_on, open, question};

/// The program, in `PATH` or where `scripts/baselines` puts it.
fn installed() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let cache = cache.map(|cache| cache.join("k8s-auto-fix/baselines"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(cache).map(|folder| folder.join("kyverno"));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        skipped_optional("no Kyverno (scripts/baselines kyverno)");
    }
    found
}

fn questions() -> Vec<Question> {
    let containers = "spec: {containers: [{name: c, image: 'b:1'}]}";
    let pod = |metadata: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n{containers}\n");
    let template = format!("{{metadata: {{labels: {{x: y}}}}, {containers}}}");
    let documents = [
        pod("{name: a}"),
        pod("{name: a, namespace: default, labels: {twice: yes}}"),
        pod("{name: a, namespace: b}"),
        pod("{generateName: a-}"),
        pod("{generateName: b-}"),
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{selector: {{}}, template: {template}}}\n"
        ),
        // Of no policy; what it cannot repair; what it dies of.
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}\nrules: []\n"
            .to_owned(),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: z}\nspec: {containers: text}\n".to_owned(),
        "apiVersion: v1\nkind: List\nmetadata: {name: a}\nitems: []\n".to_owned(),
        "kind: Pod\nmetadata: {name: y}\n".to_owned(),
    ];
    let policies = ["no_privileged", "run_as_non_root"];
    let asked = policies.iter().flat_map(|policy| documents.iter().map(move |document| (policy, document)));
    asked
        .enumerate()
        .map(|(number, (policy, document))| Question {
            policy_id: (*policy).to_owned(),
            manifest_yaml: document.clone(),
            ..question(&format!("q{number:02}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_kyverno_answers_many_records_as_it_answers_each() {
    let Some(kyverno) = installed() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("configs/baselines/kyverno-mutate.yaml")).unwrap();
    let value = yaml::load(&text, &Limits::default()).unwrap().value;
    let mut programs = Programs::from_value(value["programs"].clone()).unwrap();
    programs.check(&[]).unwrap();
    let mut config = programs.0.remove("kyverno-mutate").unwrap();
    assert!(config.records_per_process > 100);
    config.command[0] = kyverno.display().to_string();
    config.files = config.files.iter().map(|file| root.join(file)).collect();
    let program = open(config);
    let together = ask_all(&program, questions()).await;
    let mut answered = 0;
    for (question, together) in questions().into_iter().zip(together) {
        let alone = program.ask(question.clone(), go_on()).await.answer;
        match (&alone, &together.answer) {
            (Ok(alone), Ok(together)) => {
                let read = |text: &Option<String>| {
                    yaml::load(text.as_ref().unwrap(), &Limits::default()).unwrap().value
                };
                assert_eq!(read(&alone.patched_yaml), read(&together.patched_yaml), "{question:?}");
                answered += 1;
            }
            // Where it dies, its last lines hold addresses.
            (Err(Failure::Failed(alone)), Err(Failure::Failed(together))) => {
                let how = |text: &str| text.split("; its last lines").next().map(str::to_owned);
                assert_eq!(how(alone), how(together), "{question:?}");
            }
            (alone, together) => panic!("{question:?}: {alone:?} {together:?}"),
        }
    }
    assert_eq!(answered, 14, "all but those that it dies of");
}
