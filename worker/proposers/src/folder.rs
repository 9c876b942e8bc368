//! Protocol `folder`: a process and a folder for each record.

use std::time::Instant;

use domain::config::is_program_name;

use crate::config::{AnswerPlace, MANIFEST, POLICY};
use crate::failure::{Failure, Stop};
use crate::launch::End;
use crate::message::{Answer, Question};
use crate::running::{Event, Output, Running};
use crate::scratch::Scratch;
use crate::starter::Starter;

/// The question.
const QUESTION: &str = "record.json";

/// Starts the program for one record, and waits for its end.
pub(crate) fn ask(program: &Starter, question: &Question, stop: &Stop) -> Result<Answer, Failure> {
    let scratch = program.scratch()?;
    lay_out(program, &scratch, "", question)?;
    let most = u64::from(program.config.answer_bytes);
    let output = match program.config.answer {
        AnswerPlace::File | AnswerPlace::Documents => Output::Ignored,
        AnswerPlace::Stdout => Output::Whole(most),
    };
    let arguments = &program.config.command;
    let command = arguments.iter().map(|argument| of_policy(program, argument, &question.policy_id));
    let mut running = program.start(command.collect::<Result<_, _>>()?, output, scratch)?;
    let printed = finish(program, &mut running, stop)?;
    let patched = match program.config.answer {
        AnswerPlace::File | AnswerPlace::Documents => running.scratch.read(&program.config.answer_file, most),
        AnswerPlace::Stdout => {
            String::from_utf8(printed).map_err(|_| "its standard output is not UTF-8".to_owned())
        }
    };
    let patched = patched.map_err(|why| program.failed(&why, &running))?;
    Ok(Answer::document(question, patched))
}

/// Writes the document and the question for the program; `prefix`: the folder of the record with a slash, or empty.
pub(crate) fn lay_out(
    program: &Starter,
    scratch: &Scratch,
    prefix: &str,
    question: &Question,
) -> Result<(), Failure> {
    let record =
        serde_json::to_string_pretty(question).map_err(|error| Failure::Failed(error.to_string()))?;
    for (name, text) in [(MANIFEST, &question.manifest_yaml), (QUESTION, &record)] {
        scratch.write(&format!("{prefix}{name}"), text).map_err(|error| program.not_started(&error))?;
    }
    Ok(())
}

/// Waits for the end of a process, which has to be one that stands for an answer; what it printed, where that is read.
pub(crate) fn finish(program: &Starter, running: &mut Running, stop: &Stop) -> Result<Vec<u8>, Failure> {
    running.close_input();
    let until = Instant::now() + program.time_limit();
    let (mut printed, mut closed, mut ended) = (Vec::new(), false, None::<End>);
    while !closed || ended.is_none() {
        match running.next(until, stop)? {
            Some(Event::Output(bytes)) => printed = bytes,
            Some(Event::OutputEnded) => closed = true,
            Some(Event::Ended(end)) => ended = Some(end),
            Some(Event::TooLong(most)) => {
                return Err(program.failed(&format!("printed more than {most} bytes"), running));
            }
            None => {
                let why = format!("did not end within {} s", program.config.timeout_seconds);
                return Err(program.failed(&why, running));
            }
        }
    }
    let end = ended.unwrap_or(End { how: "it ended".to_owned(), code: None });
    if !end.code.is_some_and(|code| program.config.exit_codes.contains(&code)) {
        return Err(program.failed(&format!("gave no answer: {}", end.how), running));
    }
    Ok(printed)
}

/// An argument for records of a policy. One whose name could be more than a name is not put into it.
pub(crate) fn of_policy(program: &Starter, argument: &str, policy: &str) -> Result<String, Failure> {
    if argument.contains(POLICY) && !is_program_name(policy) {
        let why = format!("program {}: policy {policy:?} cannot stand in its arguments", program.name);
        return Err(Failure::Failed(why));
    }
    Ok(argument.replace(POLICY, policy))
}
