//! The work on a batch: how far it is by the clock, and the files that it ends with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use domain::ids::AnswerKey;
use serde_json::{Value, json};

use super::faults::BatchFault;
use super::files::Form;
use super::{BatchSettings, Batches, text};
use crate::chat::{self, Api, Tokens, random};
use crate::manner::Manner;
use crate::{Answers, EMPTY_PATCH};

/// How often a batch is looked at before it names its output, where that comes late.
const LATE_LOOKS: u32 = 3;

/// A batch.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(super) id: String,
    pub(super) input: String,
    pub(super) endpoint: String,
    pub(super) window: String,
    pub(super) metadata: Value,
    /// When it was created, in the provider's seconds and on the clock.
    pub(super) created: f64,
    pub(super) created_at: u64,
    pub(super) lines: u64,
    /// How it will end, and which share of its lines is worked on until then.
    pub(super) ending: (Ending, f64),
    /// When it was cancelled.
    pub(super) cancelled: Option<f64>,
    pub(super) result: Option<BatchResult>,
    /// How often it has still to be looked at before it names its output.
    pub(super) late: u32,
}

/// How a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Expired,
    Failed,
    Cancelled,
}

impl Ending {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a batch has ended with.
#[derive(Debug, Clone)]
pub(super) struct BatchResult {
    pub(super) ending: Ending,
    pub(super) output: Option<String>,
    pub(super) errors: Option<String>,
    pub(super) answered: u64,
    pub(super) failed: u64,
}

/// What the work on batches needs of the provider.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) settings: BatchSettings,
    pub(crate) answers: Answers,
    pub(crate) manner: Manner,
    pub(crate) cached_share: f64,
    pub(crate) seed: u64,
}

impl Batch {
    /// How the batch with this number will end.
    pub(super) fn drawn(worker: &Worker, number: u64) -> ((Ending, f64), u32) {
        let key = AnswerKey::of(&number.to_le_bytes());
        let mut random = random(worker.seed, &key, 1);
        let faults = &worker.settings.faults;
        let expires = faults.occurs(BatchFault::Expire, &mut random);
        let fails = faults.occurs(BatchFault::Fail, &mut random);
        let late = faults.occurs(BatchFault::LateOutput, &mut random);
        let part = 0.2 + 0.7 * random.f64();
        let ending = match (expires, fails) {
            (true, _) => (Ending::Expired, part),
            (false, true) => (Ending::Failed, part),
            (false, false) => (Ending::Completed, 1.0),
        };
        (ending, if late { LATE_LOOKS } else { 0 })
    }

    /// The share of its lines that is worked on at a time, of a batch that takes `delay`.
    fn progress(&self, now: f64, delay: f64) -> f64 {
        let until = self.cancelled.map_or(now, |at| at.min(now));
        if delay <= 0.0 { 1.0 } else { ((until - self.created) / delay).clamp(0.0, 1.0) }
    }

    /// How it has ended by now; `None`: it has not.
    fn ended(&self, now: f64, delay: f64) -> Option<(Ending, f64)> {
        let (ending, part) = self.ending;
        let progress = self.progress(now, delay);
        if progress >= part {
            return Some((ending, part));
        }
        self.cancelled.map(|_| (Ending::Cancelled, progress))
    }

    /// The batch as it is shown.
    pub(super) fn shown(&self, now: f64, delay: f64) -> Value {
        let progress = self.progress(now, delay);
        let status = match &self.result {
            Some(result) => result.ending.as_str(),
            None if progress < 0.02 => "validating",
            None => "in_progress",
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let begun = (self.lines as f64 * progress) as u64;
        let (completed, failed) =
            self.result.as_ref().map_or((begun, 0), |result| (result.answered, result.failed));
        let file = |of: fn(&BatchResult) -> &Option<String>| {
            self.result.as_ref().filter(|_| self.late == 0).and_then(|result| of(result).clone())
        };
        json!({
            "id": self.id, "object": "batch", "endpoint": self.endpoint, "errors": null, "input_file_id": self.input,
            "completion_window": self.window, "status": status, "output_file_id": file(|result| &result.output),
            "error_file_id": file(|result| &result.errors), "created_at": self.created_at, "metadata": self.metadata,
            "request_counts": {"total": self.lines, "completed": completed, "failed": failed},
        })
    }
}

/// The files that a batch ends with, while they are written.
struct Output {
    answered: Vec<String>,
    refused: BufWriter<File>,
    refusals: u64,
}

impl Batches {
    /// Writes the files of every batch that has ended by now.
    pub(super) fn catch_up(&mut self, worker: &Worker, now: f64) -> io::Result<()> {
        for index in 0..self.all.len() {
            let Some(batch) = self.all.get(index).filter(|batch| batch.result.is_none()) else {
                continue;
            };
            let Some((ending, part)) = batch.ended(now, worker.settings.delay) else { continue };
            let batch = batch.clone();
            let result = self.work(worker, &batch, ending, part)?;
            *self.report.ended.entry(ending.as_str()).or_default() += 1;
            if let Some(batch) = self.all.get_mut(index) {
                batch.result = Some(result);
            }
        }
        Ok(())
    }

    /// Answers the first `part` of the lines of a batch.
    fn work(&mut self, worker: &Worker, batch: &Batch, ending: Ending, part: f64) -> io::Result<BatchResult> {
        let Some(input) = self.files.get(&batch.input) else {
            return Ok(BatchResult { ending, output: None, errors: None, answered: 0, failed: 0 });
        };
        let lines = BufReader::new(File::open(&input.path)?);
        let refused = self.folder.path().join("refused");
        let mut output =
            Output { answered: Vec::new(), refused: BufWriter::new(File::create(&refused)?), refusals: 0 };
        for (number, line) in lines.lines().enumerate() {
            let line: Value = serde_json::from_str(&line?).map_err(io::Error::other)?;
            if number as f64 + 0.5 < part * batch.lines as f64 {
                self.answer(worker, batch, &line, &mut output)?;
            } else {
                output.refuse(&line, &unanswered(ending))?;
            }
        }
        let key = AnswerKey::of(batch.id.as_bytes());
        let mut random = random(worker.seed, &key, 2);
        if worker.settings.faults.occurs(BatchFault::Shuffle, &mut random) {
            random.shuffle(&mut output.answered);
        }
        let answered = self.folder.path().join("answered");
        let mut out = BufWriter::new(File::create(&answered)?);
        let (mut count, mut bytes) = (0, 0);
        for line in &output.answered {
            writeln!(out, "{line}")?;
            count += 1;
            bytes += line.len() as u64 + 1;
        }
        out.flush()?;
        output.refused.flush()?;
        let form =
            |name: &str, bytes| Form { purpose: "batch_output".to_owned(), name: name.to_owned(), bytes };
        let refused_bytes = std::fs::metadata(&refused)?.len();
        let output_file = (count > 0)
            .then(|| self.keep(&answered, form("output.jsonl", bytes), batch.created_at))
            .transpose()?;
        let errors = (output.refusals > 0)
            .then(|| self.keep(&refused, form("errors.jsonl", refused_bytes), batch.created_at))
            .transpose()?;
        let failed = batch.lines.saturating_sub(count);
        Ok(BatchResult { ending, output: output_file, errors, answered: batch.lines - failed, failed })
    }

    /// Answers one line.
    fn answer(
        &mut self,
        worker: &Worker,
        batch: &Batch,
        line: &Value,
        output: &mut Output,
    ) -> io::Result<()> {
        let id = text(line, "custom_id");
        let body = line.get("body").cloned().unwrap_or_default().to_string();
        let key = AnswerKey::of(format!("{}/{id}", batch.id).as_bytes());
        let mut random = random(worker.seed, &key, 1);
        let faults = &worker.settings.faults;
        let occurring = [BatchFault::Missing, BatchFault::LineInternal, BatchFault::LineContent]
            .map(|fault| faults.occurs(fault, &mut random).then_some(fault));
        let repeats = faults.occurs(BatchFault::Duplicate, &mut random);
        if let Some(fault) = occurring.into_iter().flatten().next() {
            self.fault(fault);
            let (status, code, message) = match fault {
                BatchFault::LineInternal => (500, "internal", "the model fell over"),
                BatchFault::LineContent => (403, "content_policy", "Content violates usage guidelines."),
                _ => return Ok(()),
            };
            self.report.lines_refused += 1;
            let body = json!({"error": {"message": message, "type": "invalid_request_error", "code": code}});
            let response = json!({"status_code": status, "request_id": "r", "body": body});
            return output.refuse(line, &json!({"response": response, "error": null}));
        }
        let request = match chat::read(Api::of_line(line), body.as_bytes()) {
            Ok(request) => request,
            Err(why) => {
                let body = json!({"error": {"message": why, "code": "invalid_request"}});
                let response = json!({"status_code": 400, "request_id": "r", "body": body});
                return output.refuse(line, &json!({"response": response, "error": null}));
            }
        };
        let answer = (worker.answers)(&request.prompt).unwrap_or_else(|| EMPTY_PATCH.to_owned());
        let tokens = Tokens::of(request.bytes, &answer, worker.cached_share);
        let body_hash = AnswerKey::of(body.as_bytes());
        self.report.lines_paid += 1;
        if self.paid.insert(body_hash) {
            self.report.distinct_paid += 1;
        }
        let response = json!({"status_code": 200, "request_id": "r", "body": worker.manner.reply(&request, &answer, tokens)});
        let answered = json!({"id": format!("batch_req_{}", &body_hash.to_string()[..12]), "custom_id": id,
            "response": response, "error": null})
        .to_string();
        if repeats {
            self.fault(BatchFault::Duplicate);
            output.answered.push(answered.clone());
        }
        output.answered.push(answered);
        Ok(())
    }
}

impl Output {
    /// Writes a line of the file of errors.
    fn refuse(&mut self, line: &Value, why: &Value) -> io::Result<()> {
        let mut refused = json!({"id": "batch_req_0", "custom_id": text(line, "custom_id")});
        if let (Some(refused), Some(why)) = (refused.as_object_mut(), why.as_object()) {
            refused.extend(why.clone());
        }
        self.refusals += 1;
        writeln!(self.refused, "{refused}")
    }
}

/// What stands beside a line that was not worked on.
fn unanswered(ending: Ending) -> Value {
    let code = format!("batch_{}", ending.as_str());
    json!({"response": null, "error": {"code": code, "message": "This request could not be executed before the batch ended."}})
}
