//! Small files: JSON and CSV, plain or packed, with a size limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use results::input::json::Input;
use serde_json::Value;

/// Maximum uncompressed size of a file in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// An error of reading a small file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is a folder, or packed in a way that is not read.
    #[error(transparent)]
    Input(#[from] results::file_error::FileError),
    #[error("{} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} is not valid JSON", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is not valid CSV", path.display())]
    Csv {
        path: PathBuf,
        #[source]
        source: csv::Error,
    },
    /// The content has an unexpected structure.
    #[error("{}: {problem}", path.display())]
    Shape { path: PathBuf, problem: String },
}

impl FileError {
    pub(crate) fn shape(path: &Path, problem: impl Into<String>) -> Self {
        Self::Shape { path: path.to_owned(), problem: problem.into() }
    }
}

/// The bytes of a file, decompressed if it is packed, in UTF-8, without a byte order mark.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let wrong = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(wrong)?;
    let input = Input::from_file(&path.display().to_string(), file).and_then(Input::text)?;
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

pub(crate) fn json(path: &Path) -> Result<Value, FileError> {
    serde_json::from_slice(&bytes(path)?).map_err(|source| FileError::Json { path: path.to_owned(), source })
}

/// The objects of a JSON list; other items are skipped, as in the paper's code.
pub(crate) fn objects(path: &Path) -> Result<Vec<Value>, FileError> {
    match json(path)? {
        Value::Array(entries) => Ok(entries.into_iter().filter(Value::is_object).collect()),
        _ => Err(FileError::shape(path, "is not a JSON list")),
    }
}

/// A CSV file with a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Csv {
    pub(crate) header: Vec<String>,
    /// The rows, each as long as the header.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Csv {
    /// Reads a file; lines that start with `#` before the header are comments (the EPSS feed has one).
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let wrong = |source| FileError::Csv { path: path.to_owned(), source };
        let bytes = bytes(path)?;
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .flexible(false)
            .from_reader(bytes.as_slice());
        let header = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
        let rows = reader
            .records()
            .map(|row| Ok(row.map_err(wrong)?.iter().map(str::to_owned).collect()))
            .collect::<Result<_, FileError>>()?;
        Ok(Self { header, rows })
    }

    /// The index of the first of these columns that exists, in upper or lower case.
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        names.iter().find_map(|name| self.header.iter().position(|column| column.eq_ignore_ascii_case(name)))
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};

    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn text<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str)
}

pub(crate) fn number(entry: &Value, key: &str) -> Option<f64> {
    entry.get(key).and_then(Value::as_f64)
}

/// Whether the value of a JSON key is `true`.
pub(crate) fn truth(entry: &Value, key: &str) -> bool {
    entry.get(key).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn plain_and_packed_are_alike() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("a.json");
        std::fs::write(&plain, "[{\"id\": 1}, 2]").unwrap();
        let packed = dir.path().join("b");
        let mut gz =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gz.write_all(b"[{\"id\": 1}, 2]").unwrap();
        gz.finish().unwrap();
        assert_eq!(objects(&plain).unwrap(), objects(&packed).unwrap());
        assert_eq!(objects(&plain).unwrap().len(), 1);
        std::fs::write(&plain, "{}").unwrap();
        assert!(objects(&plain).unwrap_err().to_string().ends_with("a.json: is not a JSON list"));
        assert!(json(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_comment_before_the_header_is_no_header() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("epss.csv");
        std::fs::write(&file, "#model:v1,score_date:2025\ncve,epss\nCVE-1,0.5\n").unwrap();
        let csv = Csv::read(&file).unwrap();
        assert_eq!(csv.header, ["cve", "epss"]);
        assert_eq!(csv.column(&["EPSS", "epss"]), Some(1));
        std::fs::write(&file, "a,b\n1\n").unwrap();
        assert!(Csv::read(&file).is_err());
    }
}
