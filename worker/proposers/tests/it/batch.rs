//! Protocol `folder` with many records a process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proposers::{AnswerPlace, Asked, Batches, Failure, Program, ProgramConfig, Question, Stop};

use crate::support::{editor, failed, go_on, open, question, question_about, until_none_with};

/// A program that edits the document in each record's folder. It counts the folders of its process in each document.
const EDITS: &str = "set -- record-*; for d; do sed -i \"s/Pod/Job/; s/}/, of: $#}/\" $d/manifest.yaml; done";

fn many(text: &str) -> ProgramConfig {
    ProgramConfig { records_per_process: 100, ..editor(text) }
}

/// A program that writes the documents of all records into one file.
fn documents(text: &str) -> ProgramConfig {
    let answer_file = "all.yaml".to_owned();
    let mut config = ProgramConfig { answer: AnswerPlace::Documents, answer_file, ..many(text) };
    config.command.extend(["sh", "{record}/manifest.yaml"].map(str::to_owned));
    config
}

/// Writes the documents of its arguments, `$1` last, with another kind of annotation in each.
const WRITES: &str = "for f; do cat $f; echo 'spec: {fixed: true}'; echo ---; done > all.yaml";

/// Asks all at the same time, as the tasks of a slice do.
pub(crate) async fn ask_all(program: &Arc<Program>, questions: Vec<Question>) -> Vec<Asked> {
    ask_until(program, questions, go_on()).await
}

async fn ask_until(program: &Arc<Program>, questions: Vec<Question>, stop: Stop) -> Vec<Asked> {
    let batches = Batches::of(program);
    let members: Vec<_> = questions.into_iter().map(|question| (batches.join(), question)).collect();
    let tasks: Vec<_> = members
        .into_iter()
        .map(|(mut member, question)| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move { member.ask(question, stop).await })
        })
        .collect();
    let mut asked = Vec::new();
    for task in tasks {
        asked.push(task.await.unwrap());
    }
    asked
}

fn numbered(count: usize) -> Vec<Question> {
    (0..count).map(|number| question_about(&format!("q{number}"), &format!("n{number}"))).collect()
}

fn text(asked: &Asked) -> String {
    asked.answer.clone().unwrap().patched_yaml.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_edits_all_documents_each_for_its_record() {
    let asked = ask_all(&open(many(EDITS)), numbered(30)).await;
    for (number, asked) in asked.iter().enumerate() {
        assert_eq!(text(asked), format!("kind: Job\nmetadata: {{name: n{number}, of: 30}}\n"));
        assert_eq!(asked.answer.as_ref().unwrap().id, format!("q{number}"));
    }
    // Each bears its share of the time.
    let all: Duration = asked.iter().map(|asked| asked.took).sum();
    assert!(all > Duration::from_millis(1) && all < Duration::from_secs(20), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_is_given_more_than_it_may_or_two_policies() {
    let config = ProgramConfig { records_per_process: 10, ..many(EDITS) };
    let asked = ask_all(&open(config), numbered(25)).await;
    let sizes: Vec<bool> =
        [10, 5].map(|of| asked.iter().any(|asked| text(asked).contains(&format!("of: {of}}}")))).into();
    assert_eq!(sizes, [true, true]);
    // The command names the policy.
    let mut config = many("for d in record-*; do echo \"kind: $0\" > $d/manifest.yaml; done");
    config.command.push("{policy_id}".to_owned());
    let mut questions = numbered(4);
    for (number, question) in questions.iter_mut().enumerate() {
        question.policy_id = format!("p{}", number % 2);
    }
    let asked = ask_all(&open(config), questions).await;
    let kinds: Vec<String> = asked.iter().map(text).collect();
    assert_eq!(kinds, ["kind: p0\n", "kind: p1\n", "kind: p0\n", "kind: p1\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_one_file_come_to_their_records_whatever_their_order() {
    let asked = ask_all(&open(documents(WRITES)), numbered(12)).await;
    for (number, asked) in asked.iter().enumerate() {
        assert!(text(asked).contains(&format!("name: n{number}}}\nspec:")), "{asked:?}");
    }
    let backwards =
        "all=; for f; do all=\"$f $all\"; done; for f in $all; do cat $f; echo ---; done > all.yaml";
    let asked = ask_all(&open(documents(backwards)), numbered(12)).await;
    assert!(text(&asked[11]).contains("n11}"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_one_name_are_never_in_one_process() {
    // Dies of two of one name, as Kyverno does, and says how many it was given.
    let dies = "cat \"$@\" | grep name | sort | uniq -d | grep -q . && exit 7
        for f; do cat $f; echo \"of: $#\"; echo ---; done > all.yaml";
    let names = ["a", "a", "b", "b", "a"];
    let questions = names.iter().enumerate();
    let questions = questions.map(|(number, name)| question_about(&format!("q{number}"), name)).collect();
    let asked = ask_all(&open(documents(dies)), questions).await;
    for ((asked, name), of) in asked.iter().zip(names).zip([2, 2, 2, 2, 1]) {
        assert!(text(asked).contains(&format!("name: {name}}}\nof: {of}\n")), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_that_a_program_dies_of_is_the_only_one_that_fails() {
    let dies = format!(
        "for d in record-*; do grep -q 'n1[37]}}' $d/manifest.yaml && {{ echo it dies >&2; exit 9; }}; done; {EDITS}"
    );
    let asked = ask_all(&open(many(&dies)), numbered(23)).await;
    for (number, asked) in asked.into_iter().enumerate() {
        if number == 13 || number == 17 {
            let why = failed(asked);
            assert!(why.contains("exit code 9; its last lines: it dies"), "{why}");
        } else {
            assert!(text(&asked).contains("kind: Job"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_that_hangs_is_the_only_one_that_fails() {
    let hangs = format!("grep -q 'n2}}' record-*/manifest.yaml && sleep 4715.5; {EDITS}");
    let asked = ask_all(&open(ProgramConfig { timeout_seconds: 1, ..many(&hangs) }), numbered(4)).await;
    for (number, asked) in asked.into_iter().enumerate() {
        if number == 2 {
            assert!(asked.took >= Duration::from_secs(1), "{asked:?}");
            assert!(failed(asked).contains("did not end within 1 s"));
        } else {
            assert!(text(&asked).contains("kind: Job"), "{asked:?}");
        }
    }
    until_none_with("4715.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_an_outcome_of_its_record() {
    let small = |config: ProgramConfig| open(ProgramConfig { answer_bytes: 4096, ..config });
    let flood = format!(
        "{EDITS}; for d in record-*; do grep -q 'n3,' $d/manifest.yaml && head -c 10000 /dev/zero > $d/manifest.yaml; yes | head -c 1000000; done; true"
    );
    let asked = ask_all(&small(many(&flood)), numbered(5)).await;
    assert!(failed(asked[3].clone()).contains("longer than 4096 bytes"));
    assert_eq!(asked.iter().filter(|asked| asked.answer.is_ok()).count(), 4);
    let flood = format!(
        "{WRITES}; grep -q 'n3}}' all.yaml && head -c 100000 /dev/zero | tr '\\0' '#' >> all.yaml; true"
    );
    let asked = ask_all(&small(documents(&flood)), numbered(5)).await;
    assert!(failed(asked[3].clone()).contains("longer than 4096 bytes"));
    assert_eq!(asked.iter().filter(|asked| asked.answer.is_ok()).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_spoils_the_file_costs_no_other() {
    // Of one record it leaves the document out, of another it writes two, of a third it writes something else.
    let spoils = "for f; do grep -q n1} $f && continue; grep -q n2} $f && cat $f && echo ---; grep -q n3} $f && { echo '{}'; echo ---; continue; }; cat $f; echo ---; done > all.yaml";
    let asked = ask_all(&open(documents(spoils)), numbered(8)).await;
    // Alone, the file is the answer, as it is of a process for one record: the gates judge it.
    assert_eq!((text(&asked[1]).as_str(), text(&asked[3]).as_str()), ("", "{}\n---\n"));
    for number in [0, 2, 4, 5, 6, 7] {
        assert!(text(&asked[number]).contains(&format!("name: n{number}}}")), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("manifest.yaml"), "kind: Secret").unwrap();
    let links = format!(
        "set -- record-*; for d; do case $(cat $d/manifest.yaml) in
        *n0}}*) rm -r $d; ln -s {0} $d;;
        *n1}}*) rm $d/manifest.yaml; ln -s {0}/manifest.yaml $d/manifest.yaml;;
        *n2}}*) rm -r $d;;
        *n3}}*) rm $d/manifest.yaml; mkfifo $d/manifest.yaml;;
        esac; done",
        outside.path().display()
    );
    let asked = ask_all(&open(many(&links)), numbered(5)).await;
    for (number, word) in
        [(0, "cannot be read"), (1, "cannot be read"), (2, "cannot be read"), (3, "not a file")]
    {
        let why = failed(asked[number].clone());
        assert!(why.contains(word), "{number}: {why}");
    }
    assert!(asked[4].answer.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_always_fails_ends_every_record() {
    let start = Instant::now();
    let asked = ask_all(&open(many("exit 3")), numbered(6)).await;
    let said: BTreeSet<String> = asked.into_iter().map(failed).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    let missing = ProgramConfig { policies: vec!["no_host_pid".to_owned()], ..many(EDITS) };
    assert!(failed(ask_all(&open(missing), vec![question("a")]).await.remove(0)).contains("alone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_slice_gets_no_answers() {
    let start = Instant::now();
    let stop: Stop = Arc::new(move || start.elapsed() > Duration::from_millis(300));
    let config = ProgramConfig { timeout_seconds: 3600, ..many("sleep 4716.5") };
    let asked = ask_until(&open(config), numbered(3), stop).await;
    assert!(asked.iter().all(|asked| asked.answer == Err(Failure::Stopped)), "{asked:?}");
    until_none_with("4716.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_questions_of_members_are_put_together_too() {
    let program = open(many(EDITS));
    let batches = Batches::of(&program);
    let (mut one, mut other, done) = (batches.join(), batches.join(), batches.join());
    let first = tokio::spawn(async move {
        one.ask(question_about("a1", "a"), go_on()).await;
        one.ask(question_about("a2", "a"), go_on()).await
    });
    let second = tokio::spawn(async move {
        other.ask(question_about("b1", "b"), go_on()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.ask(question_about("b2", "b"), go_on()).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(done);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(text(&first).contains("of: 2}") && text(&second).contains("of: 2}"), "{first:?} {second:?}");
}
