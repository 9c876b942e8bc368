//! Protocol `jsonl`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proposers::{Failure, ProgramConfig, Programs, Proposers};

use crate::support::{ask, failed, go_on, launcher, open, question, script, until_none_with};

/// Answers every question with its id, the number of its process, and how many it answered.
const COUNTS: &str = r#"n=0; while read -r line; do n=$((n+1)); id=${line#*\"id\":\"}; id=${id%%\"*}
    echo "{\"id\":\"$id\",\"patch\":[],\"explanation\":\"$$ $n\",\"usage\":{\"total_tokens\":7,\"cost_usd\":0.5}}"; done"#;

#[tokio::test(flavor = "multi_thread")]
async fn one_process_answers_many_records() {
    let program = open(script(COUNTS));
    let working = program.work();
    let first = ask(&program, "a-1").await.answer.unwrap();
    let second = ask(&program, "b-1").await.answer.unwrap();
    assert_eq!((first.id.as_str(), second.id.as_str()), ("a-1", "b-1"));
    assert_eq!(first.usage.unwrap().total_tokens, Some(7));
    let said = |answer: &proposers::Answer| answer.explanation.clone().unwrap();
    let (first, second) = (said(&first), said(&second));
    assert_eq!(first.split(' ').next(), second.split(' ').next(), "the same process");
    assert!(second.ends_with(" 2"), "{second}");
    drop(working);
    let third = said(&ask(&program, "c-1").await.answer.unwrap());
    assert!(third.ends_with(" 1"), "an idle process ends with the last shard: {third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_processes_than_the_budget_work_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    // Each says how many are there, itself included; nothing can be written outside its own folder.
    let text = format!("{COUNTS_SLOWLY} # {}", folder.path().display());
    let program = open(ProgramConfig { processes: 2, ..script(&text) });
    let _working = program.work();
    let asked = (0..8).map(|number| program.ask(question(&number.to_string()), go_on()));
    let mut seen = std::collections::BTreeSet::new();
    for asked in futures_join(asked).await {
        seen.insert(asked.answer.unwrap().explanation.unwrap());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// Like `COUNTS`, and takes its time.
const COUNTS_SLOWLY: &str = r#"while read -r line; do sleep 0.2; id=${line#*\"id\":\"}; id=${id%%\"*}
    echo "{\"id\":\"$id\",\"explanation\":\"$$\"}"; done"#;

/// All of them at the same time.
async fn futures_join<F: Future<Output = proposers::Asked>>(
    asked: impl Iterator<Item = F>,
) -> Vec<proposers::Asked> {
    let mut asked: Vec<_> = asked.map(Box::pin).map(|asked| (asked, None)).collect();
    std::future::poll_fn(|context| {
        for (asked, done) in &mut asked {
            if done.is_none()
                && let std::task::Poll::Ready(value) = asked.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if asked.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    asked.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_between_two_records_costs_none_of_them() {
    let once = r#"read -r line; id=${line#*\"id\":\"}; id=${id%%\"*}; echo "{\"id\":\"$id\"}"; exit 0"#;
    let program = open(script(once));
    let _working = program.work();
    for id in ["a", "b", "c"] {
        assert_eq!(ask(&program, id).await.answer.unwrap().id, id);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_shard_stops() {
    let program = open(ProgramConfig { timeout_seconds: 3600, ..script("sleep 3600.25") });
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, watched) = (question("a"), Arc::clone(&stop));
    let asking = program.ask(asked, Arc::new(move || watched.load(Ordering::SeqCst)));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (asked, ()) = tokio::join!(asking, stopping);
    assert_eq!(asked.answer, Err(Failure::Stopped));
    until_none_with("3600.25");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_or_of_another_version_is_refused() {
    let error = |config: ProgramConfig| {
        let programs = Programs([("fixer".to_owned(), config)].into());
        Proposers::open(programs, Some(launcher())).unwrap_err().to_string()
    };
    let missing = ProgramConfig { command: vec!["no-such-program".to_owned()], ..ProgramConfig::default() };
    assert!(error(missing).contains("no-such-program was not found"));
    let version = |version: &str| ProgramConfig {
        command: vec!["echo".to_owned()],
        version_args: vec!["fixer v1.2".to_owned()],
        version: version.to_owned(),
        ..ProgramConfig::default()
    };
    let wrong = error(version("v1.3"));
    assert!(wrong.contains("must be v1.3, and the program says \"fixer v1.2\""), "{wrong}");
    open(version("v1.2"));
    let unset = ProgramConfig { environment: vec!["NO_SUCH_VARIABLE_HERE".to_owned()], ..script("true") };
    assert!(error(unset).contains("NO_SUCH_VARIABLE_HERE is not set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_executed_is_a_failure_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fixer");
    std::fs::write(&path, "no program").unwrap();
    let config = ProgramConfig { command: vec![path.to_str().unwrap().to_owned()], ..script("") };
    let why = failed(ask(&open(config), "a").await);
    assert!(why.contains("cannot run") && why.contains("exit code 127"), "{why}");
}
