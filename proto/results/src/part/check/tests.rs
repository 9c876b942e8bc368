use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array};
use domain::ids::{DocumentHash, RecordId};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;
use crate::part::{properties, write_part};
use crate::rows;
use crate::testing::outcome;

fn run() -> RunId {
    RunId::new("r").unwrap()
}

fn records(positions: std::ops::Range<u64>) -> Vec<Record> {
    let record = |position| {
        let row = outcome(position);
        Record {
            id: row.record_id,
            position,
            manifest_path: row.manifest_path,
            document: DocumentHash::of(b"document"),
            raw_policy_id: row.raw_policy_id,
            violation_text: String::new(),
            problem: None,
        }
    };
    positions.map(record).collect()
}

fn checked(bytes: &Bytes) -> Result<Tally, String> {
    let (run_id, records) = (run(), records(10..13));
    let expected = Expected { run_id: &run_id, shard: ShardIndex(0), records: &records };
    check_part(bytes, &expected).map_err(|fault| fault.to_string())
}

fn part(change: impl FnOnce(&mut Vec<Outcome>)) -> Bytes {
    let mut rows: Vec<Outcome> = (10..13).map(outcome).collect();
    change(&mut rows);
    write_part(&run(), &rows).unwrap()
}

/// A part whose column `name` was replaced after encoding.
fn with_column(name: &str, column: ArrayRef) -> Bytes {
    let rows: Vec<Outcome> = (10..13).map(outcome).collect();
    let batch = rows::encode(&run(), &rows).unwrap();
    let index = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = column;
    written(&RecordBatch::try_new(batch.schema(), columns).unwrap())
}

fn written(batch: &RecordBatch) -> Bytes {
    let properties = Some(properties(|_| true));
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), properties).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn a_right_part_is_admitted_with_its_counts() {
    let rows: Vec<Outcome> = (10..13).map(outcome).collect();
    assert_eq!(checked(&part(|_| ())), Ok(Tally::of(&rows)));
}

#[test]
fn a_forged_part_is_refused_by_what_differs() {
    let other = |change: fn(&mut Outcome)| part(|rows| change(&mut rows[1]));
    let cases: [(Bytes, &str); 12] = [
        (Bytes::from_static(b"not parquet at all"), "cannot be read as Parquet"),
        (Bytes::new(), "cannot be read as Parquet"),
        (part(|rows| drop(rows.pop())), "it has 2 rows, its shard 3 records"),
        (part(|rows| rows.push(outcome(13))), "it has 4 rows, its shard 3 records"),
        (part(|rows| rows[2] = rows[1].clone()), "row 2: its position"),
        (part(|rows| rows.swap(0, 1)), "row 0: its position"),
        (other(|row| row.record_id = RecordId::new("other").unwrap()), "row 1: its record_id"),
        (other(|row| row.document = Some(DocumentHash::of(b"other"))), "row 1: its document_hash"),
        (other(|row| row.document = None), "row 1: its document_hash"),
        (other(|row| row.manifest_path = "etc".to_owned()), "row 1: its manifest_path"),
        (other(|row| row.raw_policy_id = "other".to_owned()), "row 1: its raw_policy_id"),
        (other(|row| row.shard = ShardIndex(7)), "row 1: its shard"),
    ];
    for (bytes, needed) in cases {
        let found = checked(&bytes).unwrap_err();
        assert!(found.contains(needed), "{found} instead of {needed}");
    }
    let rows: Vec<Outcome> = (10..13).map(outcome).collect();
    let elsewhere = write_part(&RunId::new("other").unwrap(), &rows).unwrap();
    assert!(checked(&elsewhere).unwrap_err().contains("its run_id"));
}

#[test]
fn a_cell_that_means_nothing_is_refused() {
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; 3])) };
    let numbers = |number: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![number; 3])) };
    let cases: Vec<(&str, ArrayRef)> = vec![
        (col::STATUS, texts("excellent")),
        (col::FAULT, texts("mine")),
        (col::ERROR_KIND, texts("none")),
        (col::PATCH, texts("{")),
        (col::COMPANIONS, texts("[")),
        (col::RECORD_ID, texts("")),
        (col::DOCUMENT_HASH, texts("zz")),
        (col::TOTAL_MS, numbers(-1.0)),
        (col::QUEUE_MS, numbers(f64::NAN)),
        (col::LLM_MS, numbers(f64::INFINITY)),
        (col::SCHEMA_MS, numbers(1e308)),
        (col::COST_USD, numbers(-0.5)),
        (col::ACCEPTED, Arc::new(BooleanArray::from(vec![false; 3]))),
        (col::PATCH_OPS, Arc::new(UInt32Array::from(vec![7; 3]))),
    ];
    for (name, column) in cases {
        assert!(checked(&with_column(name, column)).is_err(), "{name}");
    }
    let tokens = part(|rows| rows[0].usage.total_tokens = Some(u64::MAX));
    assert!(checked(&tokens).unwrap_err().contains("a count of"));
    let begun = part(|rows| rows[0].timing.started_at_us = Some(i64::MIN));
    assert!(checked(&begun).unwrap_err().contains("it began"));
}

#[test]
fn other_columns_are_refused() {
    let rows: Vec<Outcome> = (10..13).map(outcome).collect();
    let batch = rows::encode(&run(), &rows).unwrap();
    let fewer = batch.project(&[0, 1, 2]).unwrap();
    assert!(checked(&written(&fewer)).unwrap_err().contains("columns are not those"));
    let renamed = RecordBatch::try_from_iter([("x", batch.column(0).clone())]).unwrap();
    assert!(checked(&written(&renamed)).unwrap_err().contains("format version is \"none\""));
}

#[test]
fn a_dictionary_that_swells_is_refused_before_it_is_decoded() {
    const ROWS: u64 = 600;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(1 << 30)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), col::outcomes(), Some(properties)).unwrap();
    for first in (0..ROWS).step_by(20) {
        let piece: Vec<Outcome> =
            (first..first + 20).map(|at| Outcome { name: "x".repeat(1 << 20), ..outcome(at) }).collect();
        writer.write(&rows::encode(&run(), &piece).unwrap()).unwrap();
    }
    let bomb = Bytes::from(writer.into_inner().unwrap());
    assert!(bomb.len() < 500_000, "{} bytes", bomb.len());
    let (run_id, records) = (run(), records(0..ROWS));
    let expected = Expected { run_id: &run_id, shard: ShardIndex(0), records: &records };
    let fault = check_part(&bomb, &expected).unwrap_err();
    assert!(matches!(fault, PartFault::Size(SizeError::TooLarge { .. })), "{fault}");
}
