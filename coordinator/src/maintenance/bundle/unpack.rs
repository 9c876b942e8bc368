//! Reads an archive that may come from anywhere: only files that its manifest lists, of the size and hash that it says.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use results::bounded::decoded_size::check_file;
use tar::{Archive, Entry};

use super::error::BundleError;
use super::manifest::{Listed, Manifest, names};

/// Bytes of a manifest at most: room for the entries of all members.
const MANIFEST_BYTES: u64 = 32 << 20;

/// Bytes that may be unpacked whatever the size of the archive; beyond, at most [`RATIO`] times its size.
const FREE_BYTES: u64 = 64 << 20;

/// Unpacked over packed bytes at most. Real bundles reach 10.
const RATIO: u64 = 200;

/// Bytes of a Parquet file at most: it is held in memory while it is checked.
const PARQUET_BYTES: u64 = 2 << 30;

/// Decoded bytes of a row group, and of a file, at most.
const DECODED: (u64, u64) = (1 << 30, 16 << 30);

/// Unpacks the archive at `path` into the empty folder `into`, and checks every file of it. Blocks.
pub(crate) fn unpack(path: &Path, into: &Path) -> Result<Manifest, BundleError> {
    let name = path.display().to_string();
    let failed = |source| BundleError::File { action: "read", name: name.clone(), source };
    let foreign = |reason: &str| BundleError::Foreign { name: name.clone(), reason: reason.to_owned() };
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(foreign("it is not a file"));
    }
    let most = FREE_BYTES.saturating_add(meta.len().saturating_mul(RATIO));
    let unpacked = GzDecoder::new(BufReader::new(file)).take(most);
    let mut archive = Archive::new(unpacked);
    // Raw: an extended header would be a member of its own, and is refused as one.
    let mut entries = archive.entries().map_err(failed)?.raw(true);
    let Some(Ok(mut first)) = entries.next() else { return Err(foreign("it is not a gzip-packed tar")) };
    let (folder, manifest) =
        manifest(&mut first).ok_or_else(|| foreign("it does not begin with a manifest"))?;
    let manifest = Manifest::parse(&manifest)?;
    if folder != manifest.run_id.as_str() {
        return Err(BundleError::refused(&folder, "is not the folder of the run"));
    }
    if manifest.bytes() > most {
        return Err(BundleError::refused(
            names::MANIFEST,
            "its files unpack to far more than the archive holds",
        ));
    }
    let mut left: Vec<&Listed> = manifest.files.iter().collect();
    for entry in entries {
        let mut entry =
            entry.map_err(|source| BundleError::File { action: "read", name: name.clone(), source })?;
        let member = member(&entry, &folder)?;
        let Some(at) = left.iter().position(|listed| listed.name == member) else {
            return Err(BundleError::refused(&member, "is not listed in the manifest, or is there twice"));
        };
        store(&mut entry, left.swap_remove(at), into)?;
    }
    match left.first() {
        Some(lacking) => Err(BundleError::Lacking { name: lacking.name.clone() }),
        None => Ok(manifest),
    }
}

/// Folder and text of the manifest, where the first member is one.
fn manifest(entry: &mut Entry<'_, impl Read>) -> Option<(String, Vec<u8>)> {
    let path = String::from_utf8(entry.path_bytes().into_owned()).ok()?;
    let (folder, name) = path.split_once('/')?;
    let is_manifest =
        name == names::MANIFEST && entry.header().entry_type().is_file() && entry.size() <= MANIFEST_BYTES;
    let mut text = Vec::new();
    if is_manifest && entry.read_to_end(&mut text).is_ok() { Some((folder.to_owned(), text)) } else { None }
}

/// Name of a member below the folder of the run. It is compared with the manifest, and never used as a path.
fn member(entry: &Entry<'_, impl Read>, folder: &str) -> Result<String, BundleError> {
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if !entry.header().entry_type().is_file() {
        return Err(BundleError::refused(&path, "is not a plain file"));
    }
    let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    name.map(str::to_owned).ok_or_else(|| BundleError::refused(&path, "is outside the folder of the run"))
}

/// Writes a member under the name that the manifest gives it, and compares size and hash.
fn store(entry: &mut Entry<'_, impl Read>, listed: &Listed, into: &Path) -> Result<(), BundleError> {
    let changed = |reason: String| BundleError::Changed { name: listed.name.clone(), reason };
    if entry.size() != listed.bytes {
        return Err(changed(format!("it has {} bytes, the manifest says {}", entry.size(), listed.bytes)));
    }
    let is_parquet = listed.name.ends_with(".parquet");
    if is_parquet && listed.bytes > PARQUET_BYTES {
        return Err(BundleError::refused(&listed.name, format!("has more than {PARQUET_BYTES} bytes")));
    }
    let path = into.join(&listed.name);
    let failed = |source| BundleError::File { action: "unpack", name: listed.name.clone(), source };
    let mut out = File::create_new(&path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 128 << 10];
    let mut found = 0;
    loop {
        let read = entry.read(&mut block).map_err(failed)?;
        let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        found += read as u64;
        hasher.update(bytes);
        out.write_all(bytes).map_err(failed)?;
    }
    if found != listed.bytes {
        return Err(changed(format!("it ends after {found} of {} bytes", listed.bytes)));
    }
    if hasher.finalize().to_hex().as_str() != listed.blake3 {
        return Err(changed("its hash is not the one in the manifest".to_owned()));
    }
    if is_parquet {
        let (group, whole) = DECODED;
        check_file(&path, group, whole)
            .map_err(|error| BundleError::refused(&listed.name, error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::ids::RunId;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};

    use super::super::archive::{Member, write};
    use super::super::manifest::tests::manifest;
    use super::*;

    const FILES: [(&str, &[u8]); 2] = [("run.json", b"{}"), ("README", b"three lines")];

    /// What unpacking an archive of these entries gives: names, or the error.
    fn unpacked(entries: &[(&str, EntryType, &[u8])]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.tar.gz");
        let mut archive = Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = Header::new_ustar();
            // As bytes: the setter refuses what an attacker writes.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            if *kind != EntryType::Regular {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        let into = folder.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let unpacked = unpack(&path, &into).map_err(|error| error.to_string());
        let beside = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(beside, 2, "nothing is written beside the folder");
        let mut found: Vec<String> = std::fs::read_dir(&into)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        unpacked.map(|_| found)
    }

    /// A whole bundle, with `more` behind it.
    fn with(more: &[(&str, EntryType, &[u8])]) -> Result<Vec<String>, String> {
        let text = serde_json::to_vec(&manifest(&FILES)).unwrap();
        let mut entries = vec![("r/manifest.json", EntryType::Regular, text.as_slice())];
        entries.extend([
            ("r/run.json", EntryType::Regular, FILES[0].1),
            ("r/README", EntryType::Regular, FILES[1].1),
        ]);
        entries.extend(more);
        unpacked(&entries)
    }

    #[test]
    fn what_is_written_is_read_and_the_same_members_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::to_vec(&manifest(&FILES)).unwrap();
        let members = [
            Member::bytes("manifest.json", text),
            Member::bytes("run.json", *b"{}"),
            Member::bytes("README", *b"three lines"),
        ];
        let run_id = RunId::new("r").unwrap();
        let [one, other] = ["a", "b"].map(|name| folder.path().join(name));
        let bytes = write(&one, &run_id, &members).unwrap();
        write(&other, &run_id, &members).unwrap();
        let content = std::fs::read(&one).unwrap();
        assert_eq!((content.len() as u64, &content), (bytes, &std::fs::read(&other).unwrap()));
        assert!(write(&one, &run_id, &members).is_err(), "nothing is written over");
        let into = folder.path().join("into");
        std::fs::create_dir(&into).unwrap();
        assert_eq!(unpack(&one, &into).unwrap(), manifest(&FILES));
        assert_eq!(std::fs::read(into.join("README")).unwrap(), b"three lines");
    }

    #[test]
    fn links_paths_devices_and_strangers_are_refused() {
        assert_eq!(with(&[]).unwrap(), ["README", "run.json"]);
        for (entry, words) in [
            (("r/../../x", EntryType::Regular, &b"x"[..]), "not listed"),
            (("../x", EntryType::Regular, b"x"), "outside the folder"),
            (("/x", EntryType::Regular, b"x"), "outside the folder"),
            (("other/README", EntryType::Regular, b"x"), "outside the folder"),
            (("r/README", EntryType::Regular, b"three lines"), "twice"),
            (("r/link", EntryType::Symlink, b""), "not a plain file"),
            (("r/link", EntryType::Link, b""), "not a plain file"),
            (("r/pipe", EntryType::Fifo, b""), "not a plain file"),
            (("r/folder", EntryType::Directory, b""), "not a plain file"),
            (("././@LongLink", EntryType::GNULongName, b"r/x\0"), "not a plain file"),
            (("r/pax", EntryType::XHeader, b"12 path=../x\n"), "not a plain file"),
        ] {
            let error = with(&[entry]).unwrap_err();
            assert!(error.contains(words), "{}: {error}", entry.0);
        }
    }

    #[test]
    fn what_lacks_or_was_changed_is_named() {
        let text = serde_json::to_vec(&manifest(&FILES)).unwrap();
        let head = ("r/manifest.json", EntryType::Regular, text.as_slice());
        let run = ("r/run.json", EntryType::Regular, FILES[0].1);
        let error = unpacked(&[head, run]).unwrap_err();
        assert!(error.contains("lacks README"), "{error}");
        let error = unpacked(&[head, run, ("r/README", EntryType::Regular, b"three liNes")]).unwrap_err();
        assert!(error.contains("README of the bundle was changed: its hash"), "{error}");
        let error = unpacked(&[head, run, ("r/README", EntryType::Regular, b"four")]).unwrap_err();
        assert!(error.contains("it has 4 bytes"), "{error}");
        let error = unpacked(&[run, head]).unwrap_err();
        assert!(error.contains("does not begin with a manifest"), "{error}");
        let elsewhere = ("x/manifest.json", EntryType::Regular, text.as_slice());
        assert!(unpacked(&[elsewhere]).unwrap_err().contains("not the folder of the run"));
    }

    #[test]
    fn what_would_unpack_to_far_more_than_it_is_gets_refused() {
        let mut huge = manifest(&FILES);
        huge.files[1].bytes = 30 << 30;
        let text = serde_json::to_vec(&huge).unwrap();
        let error = unpacked(&[("r/manifest.json", EntryType::Regular, text.as_slice())]).unwrap_err();
        assert!(error.contains("far more"), "{error}");
    }

    #[test]
    fn what_is_not_an_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        std::fs::write(&path, "no archive").unwrap();
        let into = folder.path().join("into");
        std::fs::create_dir(&into).unwrap();
        assert!(unpack(&path, &into).unwrap_err().to_string().contains("is not a bundle"));
        assert!(unpack(folder.path(), &into).unwrap_err().to_string().contains("not a file"));
    }
}
