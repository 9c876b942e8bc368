//! Files of the Parquet writers that people have: written by them where a Python with them is at hand.

use std::process::Command;

use super::*;

/// The environment variable with the Python to ask, beside `python3`.
const PYTHON: &str = "K8S_AUTO_FIX_TEST_PYTHON";

#[test]
fn what_other_writers_write_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/read/parquet/tests/foreign.py");
    let Ok(ran) = Command::new(&python).arg(script).arg(folder.path()).output() else {
        eprintln!(
            "skipped: there is no {python}; set {PYTHON} to one with pyarrow, pandas, polars and duckdb"
        );
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    eprint!("{}", String::from_utf8_lossy(&ran.stdout));
    let paths: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    if paths.is_empty() {
        eprintln!(
            "skipped: {python} has none of pyarrow, pandas, polars and duckdb; set {PYTHON} to one that has"
        );
        return;
    }
    for path in &paths {
        let path = path.display().to_string();
        let rows: Vec<Detection> = ParquetDetections::open(&path, &Limits::default())
            .unwrap_or_else(|error| panic!("{error}"))
            .map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).content.unwrap())
            .collect();
        let is_numbered = path.contains("-numbers") || path.contains("-floats");
        let ids = if is_numbered { ["1", "2", "3"] } else { ["001", "002", "003"] };
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ids, "{path}");
        let expected: [(Option<&str>, Option<&str>, &str, &str); 3] = [
            (Some("m/a.yaml"), Some("kind: Pod\nx: \u{952e}\n"), "latest-tag", "image \"a\""),
            (None, Some("kind: Pod\n"), "latest-tag", ""),
            (Some("m/c.yaml"), None, "privileged-container", ""),
        ];
        for (row, expected) in rows.iter().zip(expected) {
            let found = (row.manifest_path.as_deref(), row.manifest_yaml.as_deref());
            let (path_of, yaml, policy, text) = expected;
            assert_eq!(found, (path_of, yaml), "{path}");
            assert_eq!((row.policy_id.as_str(), row.violation_text.as_str()), (policy, text), "{path}");
        }
    }
    eprintln!("{} files of other writers read", paths.len());
}
