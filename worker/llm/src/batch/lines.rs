//! The lines of a batch: a question each, and what became of it.

use std::io::{self, BufRead, Read as _};

use domain::answer::{Answer, Question};
use domain::budget::{Charge, Tier};
use domain::ids::AnswerKey;
use serde_json::Value;

use crate::client::REPLY_BYTES;
use crate::error::{Failure, Refusal, quoted};
use crate::mask::KeyMask;
use crate::reply::{self, Paid};
use crate::request;

/// The address of chat completions as a line names it.
pub(super) const CHAT: &str = "/v1/chat/completions";

/// Longest line of an output that is read: a reply with what stands around it.
const LINE_BYTES: u64 = REPLY_BYTES as u64 + (64 << 10);

/// A line that does not say which question it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// It has no `custom_id` of ours.
    #[error("without a custom_id of ours")]
    NotOurs,
    /// It is longer than a reply may be.
    #[error("longer than {LINE_BYTES} bytes")]
    TooLong,
}

/// The line of a question, with its end. Its id is the key of the answer.
pub fn line(key: &AnswerKey, question: &Question) -> Vec<u8> {
    let mut line = format!(r#"{{"custom_id":"{key}","method":"POST","url":"{CHAT}","body":"#).into_bytes();
    line.extend(request::body(question));
    line.extend_from_slice(b"}\n");
    line
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum LineOutcome {
    /// It was answered.
    Answered(Answer),
    /// The call failed.
    Failed(Failure),
    /// It was not asked: the batch ended before.
    Unasked,
}

/// A line of an output file, or of one of errors.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultLine {
    /// The question.
    pub key: AnswerKey,
    value: Value,
}

impl ResultLine {
    /// Reads a line.
    ///
    /// # Errors
    /// It does not say which question it is about.
    pub fn read(line: &[u8]) -> Result<Self, BadLine> {
        let value: Value = serde_json::from_slice(line).map_err(|_| BadLine::NotJson)?;
        let id = value.get("custom_id").and_then(Value::as_str).ok_or(BadLine::NotOurs)?;
        let key = AnswerKey::try_from(id.to_owned()).map_err(|_| BadLine::NotOurs)?;
        Ok(Self { key, value })
    }

    /// What became of its question, whose prompt has about `prompt_tokens` tokens, and what that cost. Our key is masked in it.
    pub fn outcome(&self, prompt_tokens: u64, mask: &KeyMask) -> (LineOutcome, Paid) {
        let response = self.value.get("response").filter(|response| !response.is_null());
        let error = self.value.get("error").filter(|error| !error.is_null());
        let Some(response) = response else {
            let code = error.and_then(|error| error.get("code")).and_then(Value::as_str).unwrap_or_default();
            if matches!(code, "batch_expired" | "batch_cancelled" | "batch_canceled" | "batch_failed") {
                return (LineOutcome::Unasked, Paid::default());
            }
            let words =
                error.and_then(|error| error.get("message")).and_then(Value::as_str).unwrap_or_default();
            let words = mask.text(words);
            let code = (!code.is_empty()).then(|| quoted(code));
            let refusal = Refusal { status: None, code, words: quoted(&words) };
            return (LineOutcome::Failed(Failure::Refused(refusal)), Paid::default());
        };
        let status =
            response.get("status_code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let body = response.get("body").unwrap_or(&Value::Null).to_string();
        match status {
            Some(status) if !(200..300).contains(&status) => {
                let failure = reply::refusal(status, body.as_bytes(), mask);
                (LineOutcome::Failed(failure), Paid::default())
            }
            _ => {
                let (answer, paid) = reply::answer(body.as_bytes(), prompt_tokens, mask);
                let charge = Charge { tier: Tier::Batch, ..paid.charge };
                let answered = |answer| LineOutcome::Answered(Answer { charge, ..answer });
                (answer.map_or_else(LineOutcome::Failed, answered), Paid { charge, ..paid })
            }
        }
    }
}

/// Reads an output line by line; a line that is too long is left out and named.
#[derive(Debug)]
pub struct LineReader<R> {
    from: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> LineReader<R> {
    /// Reads from the beginning.
    pub const fn new(from: R) -> Self {
        Self { from, line: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, with its number from 1; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Result<ResultLine, BadLine>)>> {
        loop {
            self.line.clear();
            let read = self.from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 == LINE_BYTES && !self.line.ends_with(b"\n") {
                self.skip_line()?;
                return Ok(Some((self.number, Err(BadLine::TooLong))));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, ResultLine::read(&self.line))));
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            self.line.clear();
            let read = self.from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut self.line)?;
            if read == 0 || self.line.ends_with(b"\n") {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::answer::{Message, Role, Sampling};

    use super::*;

    fn question() -> Question {
        Question {
            endpoint: "http://h/v1/chat/completions".to_owned(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::User, "two\nlines")],
            sampling: Sampling::default(),
            sample: 0,
        }
    }

    #[test]
    fn a_question_is_one_line_with_the_key_as_its_id() {
        let key = question().key();
        let text = String::from_utf8(line(&key, &question())).unwrap();
        assert_eq!((text.matches('\n').count(), text.ends_with("}\n")), (1, true));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["custom_id"], key.to_string());
        assert_eq!((&value["method"], &value["url"]), (&"POST".into(), &"/v1/chat/completions".into()));
        assert_eq!(value["body"]["messages"][0]["content"], "two\nlines");
        assert_eq!(ResultLine::read(text.as_bytes()).unwrap().key, key);
    }

    #[test]
    fn lines_that_are_not_ours_are_named() {
        for (line, why) in [
            ("", BadLine::NotJson),
            ("{", BadLine::NotJson),
            ("[]", BadLine::NotOurs),
            (r#"{"custom_id": 7}"#, BadLine::NotOurs),
            (r#"{"custom_id": "request-1"}"#, BadLine::NotOurs),
        ] {
            assert_eq!(ResultLine::read(line.as_bytes()), Err(why), "{line}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_left_out() {
        let key = question().key();
        let good = format!("{{\"custom_id\":\"{key}\"}}");
        let long = "x".repeat(2 * usize::try_from(LINE_BYTES).unwrap() + 7);
        let text = format!("{good}\n\n{long}\n{good}");
        let mut lines = LineReader::new(text.as_bytes());
        let mut read =
            || lines.next_line().unwrap().map(|(number, line)| (number, line.map(|line| line.key)));
        assert_eq!(read(), Some((1, Ok(key))));
        assert_eq!(read(), Some((3, Err(BadLine::TooLong))));
        assert_eq!(read(), Some((4, Ok(key))));
        assert_eq!(read(), None);
    }
}
