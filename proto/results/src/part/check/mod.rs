//! Checks a part before it is committed: it can be read whole, its rows are the records of its shard, and every cell means
//! something. What this admits, every reader of results can read.

use std::panic::{self, AssertUnwindSafe};
use std::sync::LazyLock;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use domain::budget::Usage;
use domain::ids::{RunId, ShardIndex};
use domain::outcome::Outcome;
use domain::record::Record;
use domain::tally::Tally;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::bounded::decoded_size::{SizeError, decoded_sizes};
use crate::bounded::footer;
use crate::rows::{DecodeError, decode};
use crate::schema as col;

/// Most bytes of a row group, decoded: twice what [`crate::part`] puts into one.
const GROUP_BYTES: u64 = 512 << 20;

/// Most bytes of a part, decoded.
const PART_BYTES: u64 = 4 << 30;

/// Decoded bytes of a batch at which its rows get fewer.
const BATCH_BYTES: u64 = 16 << 20;

/// Rows of a batch at most.
const BATCH_ROWS: usize = 1024;

/// Bytes of the mark at both ends of a Parquet file (`PAR1`).
const MARK_BYTES: u64 = 4;

/// Longest time that a cell can hold, in ms: a year.
const LONGEST_MS: f64 = 366.0 * 24.0 * 3600.0 * 1000.0;

/// Tokens of a record at most: of a thousand calls.
const MOST_TOKENS: u64 = 1000 * Usage::MOST;

/// The last moment that a row can begin, in µs since the Unix epoch: the end of the year 9999.
const LAST_US: i64 = 253_402_300_799_999_999;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(col::outcomes);

/// What a part has to hold.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The run.
    pub run_id: &'a RunId,
    /// The shard.
    pub shard: ShardIndex,
    /// The records of the shard, in order.
    pub records: &'a [Record],
}

/// Why a part is refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum PartFault {
    /// It is not Parquet, or is damaged.
    #[error("it cannot be read as Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// A batch cannot be decoded.
    #[error("it cannot be read: {0}")]
    Arrow(#[from] ArrowError),
    /// The reader of Parquet panicked.
    #[error("it cannot be read: its pages contradict each other")]
    Reader,
    /// Its columns do not fill it: bytes were cut out, or nobody reads them.
    #[error("its columns end at byte {found}, where byte {expected} was due: it was cut, or hides something")]
    Gap { found: u64, expected: u64 },
    /// It is too large when it is decoded.
    #[error("{0}")]
    Size(#[from] SizeError),
    /// Its columns are others, or those of another version.
    #[error("its columns are not those of the results: {0}")]
    Columns(String),
    /// It has more or fewer rows than the shard has records.
    #[error("it has {found} rows, its shard {expected} records")]
    Rows { found: i64, expected: usize },
    /// A cell cannot be decoded.
    #[error("{0}")]
    Cell(#[from] DecodeError),
    /// A row does not belong to its record, or contradicts itself.
    #[error("row {row}: {problem}")]
    Row { row: usize, problem: String },
}

/// Reads the whole of a part and compares it with what it has to hold; returns the counts over its rows. Blocks; memory is
/// bounded by one row group.
///
/// # Errors
/// Why the part is refused.
pub fn check_part(bytes: &Bytes, expected: &Expected<'_>) -> Result<Tally, PartFault> {
    // Damaged pages find bugs of the reader, which counts what it has read by what another page said.
    panic::catch_unwind(AssertUnwindSafe(|| read(bytes, expected))).unwrap_or(Err(PartFault::Reader))
}

fn read(bytes: &Bytes, expected: &Expected<'_>) -> Result<Tally, PartFault> {
    let footer = footer::check(bytes)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
    same_columns(builder.schema())?;
    let metadata = builder.metadata();
    let records = expected.records.len();
    let found = metadata.file_metadata().num_rows();
    let in_groups = metadata
        .row_groups()
        .iter()
        .try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows()).filter(|_| group.num_rows() >= 0));
    if usize::try_from(found) != Ok(records) || in_groups != Some(found) {
        return Err(PartFault::Rows { found, expected: records });
    }
    without_gaps(metadata, footer.unwrap_or(MARK_BYTES))?;
    let sizes = decoded_sizes(metadata, bytes, GROUP_BYTES)?;
    if sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size)) > PART_BYTES {
        return Err(SizeError::TooLarge { limit: PART_BYTES }.into());
    }
    let longest = metadata.row_groups().iter().zip(&sizes).map(|(group, size)| {
        let rows = u64::try_from(group.num_rows()).unwrap_or(1).max(1);
        (size / rows).max(1)
    });
    let rows = usize::try_from(BATCH_BYTES / longest.max().unwrap_or(1)).unwrap_or(BATCH_ROWS);
    let reader = builder.with_batch_size(rows.clamp(1, BATCH_ROWS)).build()?;
    let (mut tally, mut next) = (Tally::default(), 0);
    for batch in reader {
        let batch = batch?;
        let outcomes = decode(&batch)?;
        for (at, outcome) in outcomes.iter().enumerate() {
            let row = next + at;
            let problem = match expected.records.get(row) {
                None => Some("there is no record for it".to_owned()),
                Some(record) => foreign(&batch, at, outcome, record, expected).or_else(|| absurd(outcome)),
            };
            if let Some(problem) = problem {
                return Err(PartFault::Row { row, problem });
            }
            tally.count(outcome);
        }
        next += outcomes.len();
    }
    if next == records {
        Ok(tally)
    } else {
        let found = i64::try_from(next).unwrap_or(i64::MAX);
        Err(PartFault::Rows { found, expected: records })
    }
}

/// Columns fill a part from its mark to its footer, each where the one before ends: a part from which bytes were cut
/// could otherwise have its last column read out of what follows.
fn without_gaps(metadata: &ParquetMetaData, footer: u64) -> Result<(), PartFault> {
    let mut end = MARK_BYTES;
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let (start, length) = column.byte_range();
        if start != end {
            return Err(PartFault::Gap { found: end, expected: start });
        }
        end = end.saturating_add(length);
    }
    if end == footer { Ok(()) } else { Err(PartFault::Gap { found: end, expected: footer }) }
}

fn same_columns(found: &SchemaRef) -> Result<(), PartFault> {
    let version = found.metadata().get(col::FORMAT_KEY).map(String::as_str);
    if version != SCHEMA.metadata().get(col::FORMAT_KEY).map(String::as_str) {
        let version: String = version.unwrap_or("none").chars().take(20).collect();
        return Err(PartFault::Columns(format!(
            "the format version is {version:?}, not {}",
            col::FORMAT_VERSION
        )));
    }
    if found.fields() == SCHEMA.fields() {
        return Ok(());
    }
    let (found, ours) = (found.fields(), SCHEMA.fields());
    let differs = ours.iter().zip(found.iter()).find(|(ours, found)| ours != found);
    Err(PartFault::Columns(match differs {
        Some((ours, found)) => {
            let name: String = found.name().chars().take(80).collect();
            format!(
                "{name:?} of type {} stands for {:?} of type {}",
                found.data_type(),
                ours.name(),
                ours.data_type()
            )
        }
        None => format!("{} instead of {}", found.len(), ours.len()),
    }))
}

/// In what a row differs from the record that it must be of.
fn foreign(
    batch: &RecordBatch,
    at: usize,
    row: &Outcome,
    record: &Record,
    expected: &Expected<'_>,
) -> Option<String> {
    let run = batch.column_by_name(col::RUN_ID)?.as_string_opt::<i32>()?.value(at);
    let document = record.problem.is_none().then_some(record.document);
    let differs = if run != expected.run_id.as_str() {
        col::RUN_ID
    } else if row.shard != expected.shard {
        col::SHARD
    } else if row.position != record.position {
        col::POSITION
    } else if row.record_id != record.id {
        col::RECORD_ID
    } else if row.document != document {
        col::DOCUMENT_HASH
    } else if row.manifest_path != record.manifest_path {
        col::MANIFEST_PATH
    } else if row.raw_policy_id != record.raw_policy_id {
        col::RAW_POLICY_ID
    } else {
        return derived(batch, at, row);
    };
    Some(format!("its {differs} is not that of record {}, position {}", record.id, record.position))
}

/// Which column says something else than the columns that it is derived from.
fn derived(batch: &RecordBatch, at: usize, row: &Outcome) -> Option<String> {
    let accepted = batch.column_by_name(col::ACCEPTED)?.as_boolean_opt()?.value(at);
    let ops = batch.column_by_name(col::PATCH_OPS)?.as_primitive_opt::<UInt32Type>()?.value(at);
    let len = row.proposal.as_ref().map_or(0, |proposal| proposal.patch.len());
    if accepted != row.accepted() {
        return Some(format!("accepted is {accepted}, the status {}", row.status));
    }
    (usize::try_from(ops) != Ok(len)).then(|| format!("patch_ops is {ops}, the patch has {len} operations"))
}

/// Which number of a row cannot be.
fn absurd(row: &Outcome) -> Option<String> {
    let (timing, gates, usage) = (&row.timing, &row.gates, &row.usage);
    let times = [
        timing.queue_ms,
        timing.propose_ms,
        timing.llm_ms,
        timing.verify_ms,
        timing.schema_ms,
        timing.total_ms,
        gates.apply.ms,
        gates.policy.ms,
        gates.safety.ms,
        gates.schema_before.ms,
        gates.schema.ms,
        gates.rescan.ms,
    ];
    if let Some(ms) = times.into_iter().flatten().find(|ms| !(0.0..=LONGEST_MS).contains(ms)) {
        return Some(format!("a time of {ms} ms"));
    }
    let most = domain::budget::Price::MOST_USD;
    if let Some(cost) = usage.cost_usd.filter(|cost| !(0.0..=most).contains(cost)) {
        return Some(format!("a cost of {cost} USD"));
    }
    let counts = [
        usage.samples,
        usage.samples_passed,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
        usage.total_tokens,
        usage.estimated_tokens,
    ];
    if let Some(count) = counts.into_iter().flatten().find(|count| *count > MOST_TOKENS) {
        return Some(format!("a count of {count} tokens or samples"));
    }
    let begun = timing.started_at_us.filter(|begun| !(0..=LAST_US).contains(begun));
    begun.map(|begun| format!("it began {begun} µs after 1970"))
}

#[cfg(test)]
mod tests;
