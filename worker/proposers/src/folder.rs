//! Protocol `folder`: a process and a folder for each record.

use std::time::Instant;

use domain::config::is_program_name;

use crate::config::{AnswerPlace, MANIFEST};
use crate::failure::{Failure, Stop};
use crate::launch::End;
use crate::message::{Answer, Question};
use crate::running::{Event, Output};
use crate::starter::Starter;

/// The question.
const RECORD: &str = "record.json";
/// What stands for the record's policy in an argument.
const POLICY: &str = "{policy_id}";

/// Starts the program for one record, and waits for its end.
pub(crate) fn ask(program: &Starter, question: &Question, stop: &Stop) -> Result<Answer, Failure> {
    let scratch = program.scratch()?;
    let record =
        serde_json::to_string_pretty(question).map_err(|error| Failure::Failed(error.to_string()))?;
    for (name, text) in [(MANIFEST, &question.manifest_yaml), (RECORD, &record)] {
        scratch.write(name, text).map_err(|error| program.not_started(&error))?;
    }
    let most = u64::from(program.config.answer_bytes);
    let output = match program.config.answer {
        AnswerPlace::File => Output::Ignored,
        AnswerPlace::Stdout => Output::Whole(most),
    };
    let mut running = program.start(command(program, question)?, output, scratch)?;
    running.close_input();
    let until = Instant::now() + program.time_limit();
    let (mut printed, mut closed, mut ended) = (Vec::new(), false, None::<End>);
    while !closed || ended.is_none() {
        match running.next(until, stop)? {
            Some(Event::Output(bytes)) => printed = bytes,
            Some(Event::OutputEnded) => closed = true,
            Some(Event::Ended(end)) => ended = Some(end),
            Some(Event::TooLong(most)) => {
                return Err(program.failed(&format!("printed more than {most} bytes"), &running));
            }
            None => {
                let why = format!("did not end within {} s", program.config.timeout_seconds);
                return Err(program.failed(&why, &running));
            }
        }
    }
    let end = ended.unwrap_or(End { how: "it ended".to_owned(), code: None });
    if !end.code.is_some_and(|code| program.config.exit_codes.contains(&code)) {
        return Err(program.failed(&format!("gave no answer: {}", end.how), &running));
    }
    let patched = match program.config.answer {
        AnswerPlace::File => running.scratch.read(&program.config.answer_file, most),
        AnswerPlace::Stdout => {
            String::from_utf8(printed).map_err(|_| "its standard output is not UTF-8".to_owned())
        }
    };
    let patched = patched.map_err(|why| program.failed(&why, &running))?;
    Ok(Answer { patched_yaml: Some(patched), ..Answer::none(&question.id) })
}

/// The command for a record. A policy whose name could be more than a name is not put into it.
fn command(program: &Starter, question: &Question) -> Result<Vec<String>, Failure> {
    let policy = &question.policy_id;
    let argument = |argument: &String| {
        if argument.contains(POLICY) && !is_program_name(policy) {
            let why = format!("program {}: policy {policy:?} cannot stand in its arguments", program.name);
            return Err(Failure::Failed(why));
        }
        Ok(argument.replace(POLICY, policy))
    };
    program.config.command.iter().map(argument).collect()
}
