//! Archives of strangers.

use super::*;

/// An archive with these files, as a file on disk.
pub(in crate::read) fn archive(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
    let mut builder = tar::Builder::new(tempfile::NamedTempFile::new().unwrap());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        // Past the checks of the builder: archives come from strangers.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn name(file: &tempfile::NamedTempFile) -> String {
    file.path().display().to_string()
}

#[test]
fn reads_any_file_and_no_stranger_path() {
    let file = archive(&[
        ("./m/b.yaml", b"old"),
        ("m/a.yaml", b"a\xff"),
        ("m/b.yaml", b"new"),
        ("../evil.yaml", b"x"),
        ("/etc/evil.yaml", b"x"),
        ("m/.hidden.yaml", b"x"),
        ("m/big.yaml", &[b'x'; 50]),
    ]);
    assert!(is_tar(file.path()).unwrap());
    let archive = Archive::open(&name(&file), &Limits { file_bytes: 10, ..Limits::default() }).unwrap();
    assert_eq!(archive.paths().collect::<Vec<_>>(), ["m/a.yaml", "m/b.yaml", "m/big.yaml"]);
    assert_eq!(archive.text("m/b.yaml"), Some(Ok("new".to_owned())));
    assert_eq!(archive.text("m/a.yaml"), Some(Err(FileProblem::NotUtf8 { byte: 1 })));
    assert_eq!(archive.text("m/big.yaml"), Some(Err(FileProblem::TooLarge { bytes: 50, limit: 10 })));
    assert_eq!(archive.text("m/c.yaml"), None);
}

#[test]
fn a_cut_archive_names_the_byte() {
    let file = archive(&[("a.yaml", &[b'x'; 2000]), ("b.yaml", &[b'y'; 2000])]);
    file.as_file().set_len(3000).unwrap();
    let error = Archive::open(&name(&file), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("damaged tar archive"), "{error}");
    assert!(error.to_string().contains("byte "), "{error}");
}

/// An archive of raw members: type, header name, content.
fn raw(members: &[(u8, &[u8], &[u8])]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (kind, name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(content).unwrap();
        file.write_all(&vec![0; content.len().next_multiple_of(512) - content.len()]).unwrap();
    }
    file
}

/// A record of a pax header: its length counts itself.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while format!("{length}{rest}").len() != length {
        length = format!("{length}{rest}").len();
    }
    format!("{length}{rest}").into_bytes()
}

#[test]
fn a_name_without_bound_is_a_problem_and_the_others_are_read() {
    let long = "d/".repeat(1 << 20) + "x.yaml";
    let gnu = [long.as_bytes(), b"\0"].concat();
    let within = "e/".repeat(1000) + "y.yaml";
    let less = "d/".repeat(50_000) + "x.yaml";
    let records = [pax("mtime", "1.5"), pax("path", &less)].concat();
    let endless = pax("path", &long);
    let file = raw(&[
        (b'L', b"././@LongLink", &gnu),
        (b'0', b"cut", b"never read"),
        (b'x', b"pax", &records),
        (b'0', b"cut", b"never read"),
        (b'x', b"pax", &endless),
        (b'0', b"d/short.yaml", b"never read"),
        (b'x', b"pax", &pax("path", &within)),
        (b'0', b"cut", b"y"),
        (b'L', b"././@LongLink", b"z/long.yaml\0"),
        (b'0', b"cut", b"z"),
        (b'0', b"a.yaml", b"a"),
    ]);
    let archive = Archive::open(&name(&file), &Limits::default()).unwrap();
    let paths: Vec<&String> = archive.manifests().collect();
    assert_eq!(paths.len(), 6, "{}", paths.len());
    let mut too_long: Vec<(u64, usize)> = Vec::new();
    for path in &paths {
        if let Some(Err(FileProblem::LongName { bytes, limit: NAME_BYTES })) = archive.text(path) {
            assert!(path.len() < 300, "{path}");
            too_long.push((bytes, path.len()));
        }
    }
    too_long.sort_unstable();
    let bytes: Vec<u64> = too_long.iter().map(|(bytes, _)| *bytes).collect();
    assert_eq!(bytes, [less.len() as u64, long.len() as u64, endless.len() as u64]);
    for (path, content) in [(within.as_str(), "y"), ("z/long.yaml", "z"), ("a.yaml", "a")] {
        assert_eq!(archive.text(path), Some(Ok(content.to_owned())));
    }
}

#[test]
fn what_extended_headers_say_of_a_size_counts() {
    let mut size = pax("size", "3");
    size.extend(pax("comment", "x"));
    let file = raw(&[(b'x', b"pax", &size), (b'0', b"a.yaml", b"abcdef"), (b'0', b"b.yaml", b"b")]);
    let archive = Archive::open(&name(&file), &Limits::default()).unwrap();
    assert_eq!(archive.text("a.yaml"), Some(Ok("abc".to_owned())));
    assert_eq!(archive.text("b.yaml"), Some(Ok("b".to_owned())));
}

#[test]
fn the_members_are_those_that_the_crate_reads() {
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..40_usize {
        let mut header = tar::Header::new_gnu();
        header.set_size(number as u64 * 97);
        header.set_mode(0o644);
        let path = format!("{}{number}.yaml", "folder/".repeat(number));
        builder.append_data(&mut header, path, vec![b'x'; number * 97].as_slice()).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let mut theirs = tar::Archive::new(bytes.as_slice());
    let theirs = theirs.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path_bytes().to_vec(), entry.size(), entry.raw_file_position())
    });
    let mut members = Members::new(bytes.as_slice());
    let mut ours = Vec::new();
    while let Some(member) = members.next().unwrap() {
        ours.push((member.name, member.size, member.at));
    }
    assert_eq!(ours, theirs.collect::<Vec<_>>());
}
