//! The catalogue of known exploited vulnerabilities.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{Feed, VulnerabilityId, refuse_empty};
use crate::load::files::{self, Csv, FileError, text};

/// Names of the member or column that holds the ids, as CISA, `VulnCheck` and mirrors of them write it.
const NAMES: [&str; 5] = ["cveID", "cveId", "cve_id", "cve", "CVE"];

const EXPECTED: &str =
    "CISA's catalogue (JSON or CSV with `cveID`), VulnCheck's (`cve`), or a JSON list of ids";

/// The ids of a catalogue: CISA's JSON object or CSV, `VulnCheck`'s `data`, or a JSON list of entries or ids.
pub(crate) fn kev(path: &Path) -> Result<(BTreeSet<VulnerabilityId>, Feed), FileError> {
    let bytes = files::bytes(path)?;
    let json = bytes.trim_ascii_start().first().is_some_and(|byte| b"{[".contains(byte));
    let (ids, ignored, date) = if json { catalogue(path)? } else { csv(path)? };
    let counted = (ids.len(), ignored);
    refuse_empty(path, counted, EXPECTED)?;
    let feed = Feed::of("kev", path, date.as_deref(), counted)?;
    Ok((ids, feed))
}

type Catalogue = (BTreeSet<VulnerabilityId>, usize, Option<String>);

fn catalogue(path: &Path) -> Result<Catalogue, FileError> {
    let value = files::json(path)?;
    let list = match &value {
        Value::Array(list) => list,
        other => ["vulnerabilities", "data"]
            .iter()
            .find_map(|name| other.get(name)?.as_array())
            .ok_or_else(|| FileError::shape(path, format!("is not a catalogue; expected: {EXPECTED}")))?,
    };
    let mut ids = BTreeSet::new();
    let mut ignored = 0;
    for entry in list {
        let found = ids_of(entry);
        ignored += usize::from(found.is_empty());
        ids.extend(found);
    }
    let date = ["dateReleased", "catalogVersion", "timestamp"].iter().find_map(|name| text(&value, name));
    Ok((ids, ignored, date.map(str::to_owned)))
}

/// The ids of an entry: the entry itself, or one or several in a member of it.
fn ids_of(entry: &Value) -> Vec<VulnerabilityId> {
    let id = |value: &Value| value.as_str().and_then(VulnerabilityId::cve);
    let member = match entry {
        Value::Object(_) => NAMES.iter().find_map(|name| entry.get(name)),
        other => Some(other),
    };
    match member {
        Some(Value::Array(several)) => several.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => vec![],
    }
}

fn csv(path: &Path) -> Result<Catalogue, FileError> {
    let csv = Csv::read(path)?;
    let column = csv
        .column(&NAMES)
        .ok_or_else(|| FileError::shape(path, format!("is not a catalogue; expected: {EXPECTED}")))?;
    let found = |row: &Vec<String>| row.get(column).and_then(|cell| VulnerabilityId::cve(cell));
    let ids: BTreeSet<_> = csv.rows.iter().filter_map(found).collect();
    let ignored = csv.rows.iter().filter(|row| found(row).is_none()).count();
    Ok((ids, ignored, None))
}
