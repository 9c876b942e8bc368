mod foreign;

use std::sync::Arc;

use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, ListArray, NullArray, RecordBatch,
    StringArray, StringViewArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::*;

fn detection(number: usize) -> Detection {
    Detection {
        id: format!("{number:03}"),
        manifest_path: number.is_multiple_of(2).then(|| format!("{number}.yaml")),
        manifest_yaml: (!number.is_multiple_of(3)).then(|| "kind: Pod\n".repeat(number)),
        policy_id: "latest-tag".to_owned(),
        violation_text: String::new(),
    }
}

fn read(file: &tempfile::NamedTempFile, limits: &Limits) -> Result<Vec<Entry>, FileError> {
    ParquetDetections::open(&file.path().display().to_string(), limits)?.collect()
}

#[test]
fn detections_survive() {
    let mut writer = ParquetDetectionsWriter::new(tempfile::NamedTempFile::new().unwrap()).unwrap();
    let rows: Vec<Detection> = (0..1500).map(detection).collect();
    for row in &rows {
        writer.push(row.clone()).unwrap();
    }
    let file = writer.finish().unwrap();
    let found = read(&file, &Limits { record_bytes: 14_990 - 1, ..Limits::default() }).unwrap();
    assert_eq!(found.len(), rows.len());
    for (entry, row) in found.iter().zip(&rows).take(1499) {
        assert_eq!(entry.content.as_ref().unwrap(), row);
    }
    let last = found[1499].content.as_ref().unwrap_err();
    assert_eq!(last.id.as_deref(), Some("1499"));
    assert!(last.message.starts_with("row 1500: 14990 bytes are more than"), "{last:?}");
}

#[test]
fn other_columns_other_types_and_nulls() {
    let column = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let policy: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("p"), None]));
    let ids: DictionaryArray<Int32Type> = ["1", "2"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([
        ("more", column(vec![None, None])),
        (POLICY_ID, policy),
        (ID, Arc::new(ids)),
    ])
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let file = writer.into_inner().unwrap();
    let found = read(&file, &Limits::default()).unwrap();
    assert_eq!(found[0].content.as_ref().unwrap().policy_id, "p");
    assert_eq!(found[1].content.as_ref().unwrap_err().message, "row 2: has no policy_id; give it one");
}

#[test]
fn a_long_text_in_the_dictionary_takes_its_memory_once() {
    let (rows, long) = (400, "x".repeat(4 << 20));
    let column =
        |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
    let columns = [(ID, column("1")), (POLICY_ID, column("p")), (MANIFEST_YAML, column(&long))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(64 << 20)
        .build();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let file = writer.into_inner().unwrap();
    assert!(file.as_file().metadata().unwrap().len() < 100_000);
    let limits = Limits { record_bytes: 1 << 20, ..Limits::default() };
    let mut detections = ParquetDetections::open(&file.path().display().to_string(), &limits).unwrap();
    let mut found = 0;
    while let Some(entry) = detections.next() {
        let malformed = entry.unwrap().content.unwrap_err();
        assert_eq!(malformed.id.as_deref(), Some("1"));
        assert!(malformed.message.contains("more than limits.record_bytes"), "{malformed:?}");
        let batch = detections.batch.as_ref().unwrap();
        let Some(Cells::Text(texts)) = &batch.manifest_yaml else { panic!("texts") };
        let memory = arrow_array::Array::get_array_memory_size(texts);
        assert!(memory < 12 << 20, "{memory} bytes for rows of {} bytes", long.len());
        found += 1;
    }
    assert_eq!(found, rows);
}

#[test]
fn what_is_no_such_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"PAR1 and no more").unwrap();
    let error = read(&file, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("cannot be read as Parquet"), "{error}");
    let part = results::part::write_part(&domain::ids::RunId::new("r").unwrap(), &[]).unwrap();
    std::fs::write(file.path(), part).unwrap();
    let error = read(&file, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("has no column id"), "{error}");
}

/// A file with these columns.
fn written(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> tempfile::NamedTempFile {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

/// The detections of a file in which every row is good.
fn good(file: &tempfile::NamedTempFile) -> Vec<Detection> {
    let found = read(file, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    found.into_iter().map(|entry| entry.content.unwrap_or_else(|bad| panic!("{bad:?}"))).collect()
}

#[test]
fn every_compression_encoding_and_version_gives_the_same_rows() {
    let rows = 300;
    let yaml: Vec<String> = (0..rows).map(|row| format!("kind: Pod\nrow: {row}\n").repeat(20)).collect();
    let mut files = 0;
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for encoding in [
                None,
                Some(Encoding::PLAIN),
                Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
                Some(Encoding::DELTA_BYTE_ARRAY),
            ] {
                let mut properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_dictionary_enabled(encoding.is_none())
                    .set_data_page_size_limit(10_000)
                    .set_write_batch_size(64);
                if let Some(encoding) = encoding {
                    properties = properties.set_encoding(encoding);
                } else {
                    properties = properties.set_dictionary_page_size_limit(64 << 20);
                }
                let ids: Vec<String> = (0..rows).map(|row| row.to_string()).collect();
                let columns: Vec<(&str, ArrayRef)> = vec![
                    (VIOLATION_TEXT, texts(&vec![None; rows])),
                    (MANIFEST_YAML, Arc::new(StringArray::from(yaml.clone()))),
                    (ID, Arc::new(StringArray::from(ids))),
                    (POLICY_ID, Arc::new(StringArray::from(vec!["latest-tag"; rows]))),
                ];
                let file = written(columns, properties.build());
                let case = format!("{codec:?} {version:?} {encoding:?}");
                let found = good(&file);
                assert_eq!(found.len(), rows, "{case}");
                for (row, detection) in found.iter().enumerate() {
                    assert_eq!(detection.id, row.to_string(), "{case}");
                    assert_eq!(detection.manifest_yaml.as_ref(), Some(&yaml[row]), "{case}");
                    assert_eq!(detection.violation_text, "", "{case}");
                }
                files += 1;
            }
        }
    }
    assert_eq!(files, 7 * 2 * 4);
}

#[test]
fn every_type_of_text_and_every_number_as_id() {
    let policy = || texts(&[Some("p"), Some("p")]);
    let dictionary: DictionaryArray<Int32Type> = ["1", "2"].into_iter().collect();
    let ids: Vec<ArrayRef> = vec![
        texts(&[Some("1"), Some("2")]),
        Arc::new(LargeStringArray::from(vec!["1", "2"])),
        Arc::new(StringViewArray::from(vec!["1", "2"])),
        Arc::new(BinaryArray::from(vec![&b"1"[..], b"2"])),
        Arc::new(LargeBinaryArray::from(vec![&b"1"[..], b"2"])),
        Arc::new(dictionary),
        Arc::new(Int8Array::from(vec![1, 2])),
        Arc::new(Int16Array::from(vec![1, 2])),
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(UInt8Array::from(vec![1, 2])),
        Arc::new(UInt16Array::from(vec![1, 2])),
        Arc::new(UInt32Array::from(vec![1, 2])),
        Arc::new(UInt64Array::from(vec![1, 2])),
        Arc::new(Float32Array::from(vec![1.0, 2.0])),
        Arc::new(Float64Array::from(vec![1.0, 2.0])),
    ];
    for id in ids {
        let kind = id.data_type().clone();
        let found = good(&written(vec![(ID, id), (POLICY_ID, policy())], WriterProperties::default()));
        assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "2"], "{kind}");
    }
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 0]));
    let found = good(&written(vec![(ID, large), (POLICY_ID, policy())], WriterProperties::default()));
    assert_eq!(found[0].id, u64::MAX.to_string());
}

#[test]
fn columns_without_a_value_count_as_missing() {
    let empty: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(2)),
        Arc::new(Float64Array::from(vec![f64::NAN, f64::NAN])),
        Arc::new(Float64Array::from(vec![None, None])),
        Arc::new(Int32Array::from(vec![None, None])),
        Arc::new(BooleanArray::from(vec![None, None])),
    ];
    for column in empty {
        let kind = column.data_type().clone();
        let both = texts(&[Some("a"), Some("b")]);
        let columns = vec![
            (ID, Arc::clone(&both)),
            (POLICY_ID, both),
            (MANIFEST_PATH, Arc::clone(&column)),
            (VIOLATION_TEXT, column),
        ];
        let found = good(&written(columns, WriterProperties::default()));
        assert_eq!(
            (found[1].manifest_path.as_deref(), found[1].violation_text.as_str()),
            (None, ""),
            "{kind}"
        );
    }
}

#[test]
fn a_bad_cell_costs_its_row_alone() {
    let id: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(4.0)]));
    let yaml: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"a", b"b", b"kind: Pod"]));
    let policy = texts(&[Some("p"), Some("p"), None, Some("p")]);
    let columns = vec![(ID, id), (POLICY_ID, policy), (MANIFEST_YAML, yaml)];
    let found = read(&written(columns, WriterProperties::default()), &Limits::default()).unwrap();
    let seen: Vec<String> = found
        .iter()
        .map(|entry| match &entry.content {
            Ok(detection) => detection.id.clone(),
            Err(bad) => bad.message.clone(),
        })
        .collect();
    assert_eq!(
        seen,
        [
            "row 1: manifest_yaml is not UTF-8; write it as text",
            "row 2: has no id; give it one",
            "row 3: has no id; give it one",
            "4",
        ]
    );
}

#[test]
fn a_column_that_is_no_text_or_is_missing_is_named() {
    let both = || texts(&[Some("a"), Some("b")]);
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1)]),
        Some(vec![Some(2)]),
    ]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    for (columns, expected) in [
        (vec![(ID, both()), (POLICY_ID, numbers)], "column policy_id holds Int64, not text"),
        (vec![(ID, truths), (POLICY_ID, both())], "column id holds Boolean, not text"),
        (vec![(ID, both()), (POLICY_ID, both()), (MANIFEST_YAML, lists)], "column manifest_yaml holds List"),
        (vec![("rule", both()), (ID, both())], "has no column policy_id, but rule, id; write a file"),
        (vec![("rule", both()), (POLICY_ID, both())], "has no column id, but rule, policy_id"),
    ] {
        let error = read(&written(columns, WriterProperties::default()), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_page_that_unpacks_to_too_much_is_refused() {
    let long = "x".repeat(usize::try_from(PAGE_BYTES).unwrap() + 1);
    let both = texts(&[Some("a")]);
    let yaml: ArrayRef = Arc::new(StringArray::from(vec![long]));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .build();
    let file = written(vec![(ID, Arc::clone(&both)), (POLICY_ID, both), (MANIFEST_YAML, yaml)], properties);
    assert!(file.as_file().metadata().unwrap().len() < 1 << 20);
    let error = read(&file, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("a page of column manifest_yaml unpacks to more than"), "{error}");
}
