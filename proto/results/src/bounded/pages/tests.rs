use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{BrotliLevel, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};

use super::*;

const MIB: u64 = 1 << 20;

fn codecs() -> Vec<Compression> {
    vec![
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ]
}

fn file(text: &str, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn check(bytes: Vec<u8>, limit: u64) -> Result<(), PageError> {
    let bytes = Bytes::from(bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    check_pages(&bytes, reader.metadata(), &ProjectionMask::all(), limit)
}

fn properties(codec: Compression) -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false)
}

#[test]
fn a_page_is_bounded_by_what_its_header_says_in_every_compression() {
    let text = "x".repeat(2 << 20);
    for codec in codecs() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [false, true] {
                let properties = properties(codec)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    .set_dictionary_page_size_limit(4 << 20);
                let bytes = file(&text, properties);
                let case = format!("{codec:?} {version:?} {dictionary}");
                // The writer's choice for texts without a dictionary in version 2 is the one by shared lengths.
                let shares = version == WriterVersion::PARQUET_2_0 && !dictionary;
                let rows = if shares { VIEW_ROWS as u64 } else { 1 };
                assert_eq!(check(bytes.clone(), 3 * MIB * rows), Ok(()), "{case}");
                let column = "text".to_owned();
                assert_eq!(
                    check(bytes, MIB * rows),
                    Err(PageError::TooLarge { column, limit: MIB }),
                    "{case}"
                );
            }
        }
    }
}

/// The file with another uncompressed size in the header of its only page.
fn with_size(mut bytes: Vec<u8>, size: u64) -> Vec<u8> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone())).unwrap();
    let at = usize::try_from(reader.metadata().row_group(0).column(0).data_page_offset()).unwrap();
    // Type (data page, 0), then the size as a varint: both begin with 0x15, field + 1 of type i32.
    assert_eq!(bytes[at..at + 3], [0x15, 0x00, 0x15]);
    let length = bytes[at + 3..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let mut rest = size * 2;
    for (place, byte) in bytes[at + 3..at + 3 + length].iter_mut().enumerate() {
        let more = if place + 1 < length { 0x80 } else { 0 };
        *byte = u8::try_from(rest & 0x7f).unwrap() | more;
        rest >>= 7;
    }
    bytes
}

#[test]
fn a_page_that_exceeds_its_header_is_refused_before_it_is_unpacked() {
    let text = "x".repeat(2 << 20);
    for codec in [Compression::GZIP(GzipLevel::default()), Compression::BROTLI(BrotliLevel::default())] {
        let bytes = with_size(file(&text, properties(codec)), 1000);
        let column = "text".to_owned();
        assert_eq!(check(bytes, 3 * MIB), Err(PageError::Exceeds { column }), "{codec:?}");
    }
}

#[test]
fn frames_of_lz4_are_told_from_blocks() {
    for (head, expected) in [
        ([0x04, 0x22, 0x4d, 0x18], true),
        ([0x5f, 0x2a, 0x4d, 0x18], true),
        ([0x02, 0x21, 0x4c, 0x18], true),
        ([0x00, 0x00, 0x4d, 0x18], false),
    ] {
        assert_eq!(is_lz4_frame(&head), expected, "{head:?}");
    }
}

#[test]
fn a_header_that_lies_about_its_place_is_damage() {
    let bytes = file("text", properties(Compression::SNAPPY));
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone())).unwrap();
    let column = reader.metadata().row_group(0).column(0);
    let end = column.data_page_offset() + column.compressed_size();
    let mut short = bytes;
    short.truncate(usize::try_from(end).unwrap() - 1);
    let found = check_pages(&Bytes::from(short), reader.metadata(), &ProjectionMask::all(), MIB);
    assert_eq!(found, Err(PageError::Damaged { column: "text".to_owned() }));
}
