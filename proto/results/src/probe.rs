//! The single calls of a probe → Parquet.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// One call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeCall {
    /// Counts from 1.
    pub id: u64,
    /// To which step it belongs, from 0.
    pub step: u32,
    /// What the step was for.
    pub purpose: String,
    /// When it was sent, in seconds since the probe began.
    pub sent_s: f64,
    /// How long it took.
    pub duration_s: f64,
    /// The HTTP status.
    pub status_code: Option<u16>,
    /// Whether it was refused for a limit.
    pub throttled: bool,
    /// How long the provider asked to wait, in seconds.
    pub retry_after_s: Option<f64>,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Tokens of reasoning.
    pub reasoning_tokens: u64,
    /// All tokens.
    pub total_tokens: u64,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// The columns.
pub fn schema() -> SchemaRef {
    let must = |name: &str, kind| Field::new(name, kind, false);
    let may = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        must("id", DataType::UInt64),
        must("step", DataType::UInt32),
        must("purpose", DataType::Utf8),
        must("sent_s", DataType::Float64),
        must("duration_s", DataType::Float64),
        may("status_code", DataType::UInt16),
        must("throttled", DataType::Boolean),
        may("retry_after_s", DataType::Float64),
        must("prompt_tokens", DataType::UInt64),
        must("completion_tokens", DataType::UInt64),
        must("reasoning_tokens", DataType::UInt64),
        must("total_tokens", DataType::UInt64),
        may("error", DataType::Utf8),
    ]))
}

/// A file of these calls, in their order.
pub fn write_calls(calls: &[ProbeCall]) -> Result<Bytes, ParquetError> {
    let whole = |get: fn(&ProbeCall) -> u64| -> ArrayRef {
        Arc::new(calls.iter().map(|call| Some(get(call))).collect::<UInt64Array>())
    };
    let float = |get: fn(&ProbeCall) -> Option<f64>| -> ArrayRef {
        Arc::new(calls.iter().map(get).collect::<Float64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        whole(|call| call.id),
        Arc::new(calls.iter().map(|call| Some(call.step)).collect::<UInt32Array>()),
        Arc::new(calls.iter().map(|call| Some(call.purpose.as_str())).collect::<StringArray>()),
        float(|call| Some(call.sent_s)),
        float(|call| Some(call.duration_s)),
        Arc::new(calls.iter().map(|call| call.status_code).collect::<UInt16Array>()),
        Arc::new(calls.iter().map(|call| Some(call.throttled)).collect::<BooleanArray>()),
        float(|call| call.retry_after_s),
        whole(|call| call.prompt_tokens),
        whole(|call| call.completion_tokens),
        whole(|call| call.reasoning_tokens),
        whole(|call| call.total_tokens),
        Arc::new(calls.iter().map(|call| call.error.as_deref()).collect::<StringArray>()),
    ];
    let batch = RecordBatch::try_new(schema(), columns)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn calls_are_read_back() {
        let refused = ProbeCall {
            id: 2,
            sent_s: 1.5,
            status_code: Some(429),
            throttled: true,
            retry_after_s: Some(0.5),
            error: Some("too many".to_owned()),
            ..ProbeCall::default()
        };
        let bytes =
            write_calls(&[ProbeCall { id: 1, total_tokens: 7, ..ProbeCall::default() }, refused]).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.schema().fields()), (2, schema().fields()));
        let status = batch.column_by_name("status_code").unwrap();
        assert!(status.is_null(0) && !status.is_null(1));
        assert_eq!(write_calls(&[]).unwrap().slice(..4), &b"PAR1"[..]);
    }
}
