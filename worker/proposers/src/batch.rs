//! Protocol `folder` with many records a process: each has a folder of its own in that of the process.
//!
//! *Invariant*: a process that fails is repeated by halves, so that a failure is the outcome of the records alone that the
//! program fails on when it is given nothing else.

use std::time::{Duration, Instant};

use crate::asked::Asked;
use crate::config::{AnswerPlace, RECORD};
use crate::documents;
use crate::failure::{Failure, Stop};
use crate::folder::{finish, lay_out, of_policy};
use crate::message::{Answer, Question};
use crate::running::{Output, Running};
use crate::starter::Starter;

/// The answers of one process, or why each is missing.
type Answers = Vec<Result<Answer, Failure>>;

/// Asks the program about records that one process may be given, and waits for all answers, in the order of the questions.
pub(crate) fn ask_all(program: &Starter, questions: &[Question], stop: &Stop) -> Vec<Asked> {
    let mut all = vec![Asked::STOPPED; questions.len()];
    let mut open = vec![(questions, all.as_mut_slice())];
    while let Some((questions, asked)) = open.pop() {
        let start = Instant::now();
        let answers = process(program, questions, stop);
        let share = share(start.elapsed(), questions.len());
        for asked in asked.iter_mut() {
            asked.took += share;
        }
        match answers {
            Ok(answers) => {
                asked.iter_mut().zip(answers).for_each(|(asked, answer)| asked.answer = answer);
            }
            Err(Failure::Stopped) => break,
            Err(failure) if questions.len() <= 1 => {
                for asked in asked {
                    asked.answer = Err(failure.clone());
                }
            }
            Err(Failure::Failed(why)) => {
                tracing::debug!(
                    program = program.name,
                    records = questions.len(),
                    why,
                    "asks again by halves"
                );
                let middle = questions.len() / 2;
                let (first, second) = questions.split_at(middle);
                let (first_asked, second_asked) = asked.split_at_mut(middle);
                open.extend([(second, second_asked), (first, first_asked)]);
            }
        }
    }
    all
}

/// What a record bears of the time of a process.
fn share(time: Duration, records: usize) -> Duration {
    time / u32::try_from(records).unwrap_or(u32::MAX).max(1)
}

/// Starts one process for these records, and waits for its end.
fn process(program: &Starter, questions: &[Question], stop: &Stop) -> Result<Answers, Failure> {
    let scratch = program.scratch()?;
    for (number, question) in questions.iter().enumerate() {
        scratch.make_folder(&folder(number)).map_err(|error| program.not_started(&error))?;
        lay_out(program, &scratch, &format!("{}/", folder(number)), question)?;
    }
    let mut running = program.start(command(program, questions)?, Output::Ignored, scratch)?;
    finish(program, &mut running, stop)?;
    match program.config.answer {
        AnswerPlace::Documents => of_documents(program, questions, &running),
        AnswerPlace::File | AnswerPlace::Stdout => Ok(of_folders(program, questions, &running)),
    }
}

/// The folder of a record. Names in the order of the records, for a program that is given all of them.
fn folder(number: usize) -> String {
    format!("record-{number:04}")
}

/// The command: an argument that names the folder of a record stands once for each.
fn command(program: &Starter, questions: &[Question]) -> Result<Vec<String>, Failure> {
    let policy = questions.first().map_or("", |question| question.policy_id.as_str());
    let mut command = Vec::new();
    for argument in &program.config.command {
        let argument = of_policy(program, argument, policy)?;
        if argument.contains(RECORD) {
            command.extend((0..questions.len()).map(|number| argument.replace(RECORD, &folder(number))));
        } else {
            command.push(argument);
        }
    }
    Ok(command)
}

/// The answers that lie in the folders of the records: one that cannot be read costs no other.
fn of_folders(program: &Starter, questions: &[Question], running: &Running) -> Answers {
    let most = u64::from(program.config.answer_bytes);
    let read = |(number, question): (usize, &Question)| {
        let name = format!("{}/{}", folder(number), program.config.answer_file);
        let text = running.scratch.read(&name, most).map_err(|why| program.failed(&why, running))?;
        Ok(Answer::document(question, text))
    };
    questions.iter().enumerate().map(read).collect()
}

/// The answers that lie in one file. With a document too many or too few it is not known whose the others are.
fn of_documents(program: &Starter, questions: &[Question], running: &Running) -> Result<Answers, Failure> {
    let failed = |why: String| program.failed(&why, running);
    let (name, most) = (&program.config.answer_file, u64::from(program.config.answer_bytes));
    let all = most.saturating_mul(questions.len() as u64);
    let text = running.scratch.read(name, all).map_err(failed)?;
    // Alone, the whole file is its answer, as that of a process for one record.
    let texts = match questions {
        [_] => vec![text],
        _ => documents::of_each(&text, questions)
            .map_err(|why| failed(format!("gave no answer: its {name} {why}")))?,
    };
    if texts.iter().any(|text| text.len() as u64 > most) {
        return Err(failed(format!("gave no answer: a document of its {name} is longer than {most} bytes")));
    }
    Ok(questions.iter().zip(texts).map(|(question, text)| Ok(Answer::document(question, text))).collect())
}
