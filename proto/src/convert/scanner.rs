//! Scanners and their versions.

use domain::scanner::{Scanner, ScannerVersions};

use super::BadMessage;
use crate::v1;

/// Scanners in one message at most.
const SCANNERS: usize = 16;

/// The scanners in their wire format.
pub fn scanners_to_wire(versions: &ScannerVersions) -> Vec<v1::ScannerVersion> {
    let of = |(scanner, version): (Scanner, &str)| v1::ScannerVersion {
        name: scanner.as_str().to_owned(),
        version: version.to_owned(),
    };
    versions.iter().map(of).collect()
}

/// The scanners that a worker can start. One that is not known here is left out: no run of ours asks it.
pub fn scanners_from_wire(scanners: Vec<v1::ScannerVersion>) -> Result<ScannerVersions, BadMessage> {
    if scanners.len() > SCANNERS {
        return Err(BadMessage::new("scanners", format!("{} are more than {SCANNERS}", scanners.len())));
    }
    let mut versions = ScannerVersions::default();
    for v1::ScannerVersion { name, version } in scanners {
        if let Some(scanner) = Scanner::parse(&name) {
            versions.add(scanner, version).map_err(|error| BadMessage::new("scanners.version", error))?;
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str, version: &str) -> v1::ScannerVersion {
        v1::ScannerVersion { name: name.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn scanners_round_trip() {
        let mut versions = ScannerVersions::default();
        versions.add(Scanner::KubeLinter, "0.8.3").unwrap();
        versions.add(Scanner::Kyverno, "1.19.1, policies 0011").unwrap();
        assert_eq!(scanners_from_wire(scanners_to_wire(&versions)).unwrap(), versions);
        assert!(scanners_from_wire(vec![wire("of-a-later-release", "1")]).unwrap().is_empty());
    }

    #[test]
    fn hostile_lists_are_refused() {
        assert!(scanners_from_wire(vec![wire("kyverno", ""); 1]).is_err());
        assert!(scanners_from_wire(vec![wire("kyverno", &"1".repeat(201))]).is_err());
        assert!(scanners_from_wire(vec![wire("kyverno", "1"); 17]).is_err());
    }
}
