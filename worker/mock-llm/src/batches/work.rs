//! The work on batches: the files that they end with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use domain::ids::AnswerKey;
use serde_json::{Value, json};

use super::batch::{Batch, BatchResult, Ending, Worker};
use super::faults::BatchFault;
use super::files::Form;
use super::store::{Batches, text};
use crate::answers::EMPTY_PATCH;
use crate::chat::{self, Api, Tokens, random};

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
