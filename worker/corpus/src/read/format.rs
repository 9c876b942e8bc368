//! Detects the format of a corpus by its name and first bytes.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use results::file_error::FileError;
use results::input::zip::Zip;
use results::root::named;

use super::archive::is_archive;
use super::names::is_yaml;

/// What lies at a corpus path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder, an archive or one YAML file: manifests, to be searched by the detector.
    Manifests,
    /// Published detections as JSON or JSON lines, plain, packed, or alone in a zip; also standard input.
    Json,
    /// Detections as Parquet.
    Parquet,
}

impl Format {
    /// Looks at the path and, for a file, at its name and first bytes.
    pub fn of(path: &str) -> Result<Self, FileError> {
        if path == "-" {
            return Ok(Self::Json);
        }
        let metadata = std::fs::metadata(path).map_err(|error| FileError::open(path, error))?;
        if metadata.is_dir() {
            return Ok(Self::Manifests);
        }
        let mut file = named(Path::new(path)).map_err(|refused| FileError::refused(path, &refused))?;
        let mut magic = [0; 4];
        if file.read_exact(&mut magic).is_ok() && magic == *b"PAR1" {
            return Ok(Self::Parquet);
        }
        if let Some(zip) = Zip::of(path, &file)? {
            let (count, last) = zip.visible_files()?;
            let is_detections = count == 1 && !is_yaml(Path::new(OsStr::from_bytes(&last)));
            return Ok(if is_detections { Self::Json } else { Self::Manifests });
        }
        let is_manifests = is_yaml(Path::new(path)) || is_archive(Path::new(path))?;
        Ok(if is_manifests { Self::Manifests } else { Self::Json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::archive::tests::{Packed, archive, zipped};

    #[test]
    fn a_form_is_told_by_content_and_yaml_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let zip = |members: &[Packed<'_>]| std::fs::read(zipped(members).path()).unwrap();
        let json: Packed<'_> = (b"d.json", b"[]", true);
        let yaml: Packed<'_> = (b"m/a.yaml", b"kind: Pod", true);
        let tar = std::fs::read(archive(&[("m/a.yaml", b"kind: Pod")]).path()).unwrap();
        for (name, bytes, expected) in [
            ("a", b"[]".to_vec(), Format::Json),
            ("a.json", b"\xff\xfe[\0]\0".to_vec(), Format::Json),
            ("a.yaml", b"[]".to_vec(), Format::Manifests),
            ("a.zip", b"PAR1....PAR1".to_vec(), Format::Parquet),
            ("a.parquet", b"[]".to_vec(), Format::Json),
            ("b.zip", zip(&[json]), Format::Json),
            ("c.zip", zip(&[yaml]), Format::Manifests),
            ("d", zip(&[yaml, json]), Format::Manifests),
            ("e.zip", zip(&[json, (b".hidden.yaml", b"", false)]), Format::Json),
            ("f.zip", zip(&[]), Format::Manifests),
            ("g.bin", tar, Format::Manifests),
            ("h", Vec::new(), Format::Json),
        ] {
            let path = folder.path().join(name).display().to_string();
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Format::of(&path).unwrap(), expected, "{name}");
        }
        let path = folder.path().join("x.zst.bz2").display().to_string();
        std::fs::write(&path, b"BZh91AY&SY").unwrap();
        let error = Format::of(&path).unwrap_err().to_string();
        assert!(error.contains("is a bzip2 file, which is not read here; unpack it first"), "{error}");
    }
}
