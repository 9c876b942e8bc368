//! Protocol `jsonl`: a process that answers one question after the other, a line for a line.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Stop};
use crate::launch::End;
use crate::message::{Answer, Question};
use crate::running::{Event, Output, Running};
use crate::starter::Starter;

/// How long a program may take to end whose output is closed, and its output to close when it has ended.
const ENDS_WITHIN: Duration = Duration::from_millis(500);

/// A process of a program. After a failure it is out of step with us, and has to be dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    running: Running,
    answered: HashSet<String>,
    end: Option<End>,
    closed: bool,
}

impl Lines {
    pub(crate) fn start(program: &Starter) -> Result<Self, Failure> {
        let scratch = program.scratch()?;
        let output = Output::Lines(program.config.answer_bytes.into());
        let running = program.start(program.config.command.clone(), output, scratch)?;
        Ok(Self { running, answered: HashSet::new(), end: None, closed: false })
    }

    /// Whether it waits for a question, and has said nothing since its last answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_silent()
    }

    /// Whether it answered before, and ended without a word about the last question.
    pub(crate) fn ended_between(&self) -> bool {
        !self.answered.is_empty() && (self.closed || self.end.is_some())
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(
        &mut self,
        program: &Starter,
        question: &Question,
        stop: &Stop,
    ) -> Result<Answer, Failure> {
        let mut line = serde_json::to_vec(question).map_err(|error| Failure::Failed(error.to_string()))?;
        line.push(b'\n');
        self.running.send(line);
        let mut until = Instant::now() + program.time_limit();
        loop {
            match self.running.next(until, stop)? {
                Some(Event::Output(line)) => {
                    if let Some(answer) = self.take(program, &line, question)? {
                        return Ok(answer);
                    }
                    continue;
                }
                Some(Event::TooLong(most)) => {
                    return Err(
                        program.failed(&format!("gave a line of more than {most} bytes"), &self.running)
                    );
                }
                Some(Event::OutputEnded) => self.closed = true,
                Some(Event::Ended(end)) => self.end = Some(end),
                None => return Err(self.silent(program)),
            }
            // The last line and the end come by different ways.
            if self.closed && self.end.is_some() {
                return Err(self.silent(program));
            }
            until = until.min(Instant::now() + ENDS_WITHIN);
        }
    }

    /// Reads a line; `None`: it is a second answer to an earlier question, which says nothing about this one.
    fn take(
        &mut self,
        program: &Starter,
        line: &[u8],
        question: &Question,
    ) -> Result<Option<Answer>, Failure> {
        let failed = |why: String| program.failed(&why, &self.running);
        let answer = Answer::read(line)
            .map_err(|error| failed(format!("gave a line that is not an answer: {error}")))?;
        if answer.id == question.id {
            self.answered.insert(answer.id.clone());
            return Ok(Some(answer));
        }
        if self.answered.contains(&answer.id) {
            return Ok(None);
        }
        let id: String = answer.id.chars().take(80).collect();
        Err(failed(format!("answered {id:?} instead of {:?}", question.id)))
    }

    fn silent(&self, program: &Starter) -> Failure {
        let why = if let Some(end) = &self.end {
            format!("gave no answer: {}", end.how)
        } else {
            let seconds = program.config.timeout_seconds;
            format!("gave no answer within {seconds} s (it has to flush each line)")
        };
        program.failed(&why, &self.running)
    }
}
