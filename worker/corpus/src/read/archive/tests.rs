//! Archives of strangers.

use results::input::encoding::NotText;

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
    assert!(is_archive(file.path()).unwrap());
    let archive = Archive::open(&name(&file), &Limits { file_bytes: 10, ..Limits::default() }).unwrap();
    assert_eq!(archive.paths().collect::<Vec<_>>(), ["m/a.yaml", "m/b.yaml", "m/big.yaml"]);
    assert_eq!(archive.text("m/b.yaml"), Some(Ok("new".to_owned())));
    assert_eq!(
        archive.text("m/a.yaml"),
        Some(Err(FileProblem::NotText(NotText { encoding: "UTF-8", byte: 1 })))
    );
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

/// A member of a zip: its name, its content, whether it is deflated.
pub(in crate::read) type Packed<'a> = (&'a [u8], &'a [u8], bool);

/// A zip of these members, as a file on disk. Written byte by byte: the names and sizes are those of strangers.
pub(in crate::read) fn zipped(members: &[Packed<'_>]) -> tempfile::NamedTempFile {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, content, is_deflated) in members {
        let mut checksum = flate2::Crc::new();
        checksum.update(content);
        let packed = if *is_deflated {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let mut fields = Vec::new();
        // Version, flags, method, time, date.
        for field in [20_u16, 0, if *is_deflated { 8 } else { 0 }, 0, 33] {
            fields.extend(field.to_le_bytes());
        }
        for field in
            [checksum.sum(), u32::try_from(packed.len()).unwrap(), u32::try_from(content.len()).unwrap()]
        {
            fields.extend(field.to_le_bytes());
        }
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        // Comment, disk, attributes.
        directory.extend([0; 10]);
        directory.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        directory.extend(*name);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&fields);
        bytes.extend(*name);
        bytes.extend(packed);
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let end = [
        b"PK\x05\x06\x00\x00\x00\x00".as_slice(),
        &count,
        &count,
        &u32::try_from(directory.len()).unwrap().to_le_bytes(),
        &u32::try_from(bytes.len()).unwrap().to_le_bytes(),
        &[0, 0],
    ];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[bytes, directory, end.concat()].concat()).unwrap();
    file
}

#[test]
fn a_zip_is_read_like_a_tar() {
    let long = "d/".repeat(3000) + "x.yaml";
    let file = zipped(&[
        (b"m/b.yaml", b"b", true),
        (b"m/a.yaml", b"old", false),
        (b"m/a.yaml", b"a", true),
        (b"win\\c.yaml", b"c", false),
        (b"m/.hidden.yaml", b"never", false),
        (b"__MACOSX/m/b.yaml", b"never", false),
        (b"../out.yaml", b"never", false),
        (b"/root.yaml", b"never", false),
        (b"m/", b"", false),
        (b"m/notes.txt", b"text", true),
        (b"big.yaml", &[b'x'; 101], true),
        (b"latin.yaml", b"\xe4: 1", false),
        (b"utf16.yaml", b"\xff\xfea\0:\0 \x001\0", false),
        (long.as_bytes(), b"x", false),
    ]);
    assert!(is_archive(file.path()).unwrap());
    let archive = Archive::open(&name(&file), &Limits { file_bytes: 100, ..Limits::default() }).unwrap();
    let paths: Vec<&String> = archive.manifests().collect();
    assert_eq!(paths.len(), 7, "{paths:?}");
    for (path, content) in
        [("m/a.yaml", "a"), ("m/b.yaml", "b"), ("win/c.yaml", "c"), ("utf16.yaml", "\u{feff}a: 1")]
    {
        assert_eq!(archive.text(path), Some(Ok(content.to_owned())), "{path}");
    }
    assert_eq!(archive.text("big.yaml"), Some(Err(FileProblem::TooLarge { bytes: 101, limit: 100 })));
    let byte = FileProblem::NotText(NotText { encoding: "UTF-8", byte: 0 });
    assert_eq!(archive.text("latin.yaml"), Some(Err(byte)));
    let problem = archive.text(paths.iter().find(|path| path.starts_with("d/")).unwrap());
    let bytes = long.len() as u64;
    assert_eq!(problem, Some(Err(FileProblem::LongName { bytes, limit: NAME_BYTES })));
}

#[test]
fn a_member_that_cannot_be_unpacked_is_a_problem_and_the_others_are_read() {
    let members: [Packed<'_>; 2] = [(b"a.yaml", b"kind: Pod", false), (b"b.yaml", b"b", false)];
    let whole = std::fs::read(zipped(&members).path()).unwrap();
    let list = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let content = whole.windows(9).position(|bytes| bytes == b"kind: Pod").unwrap();
    // In the list: flags stand 8 bytes behind the beginning, the method 10.
    for (at, byte, expected) in [
        (list + 8, 1, "it is encrypted"),
        (list + 10, 12, "it is packed as"),
        (content, b'K', "cannot be unpacked"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let archive = Archive::open(&name(&file), &Limits::default()).unwrap();
        let problem = archive.text("a.yaml").unwrap().unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
        assert_eq!(archive.text("b.yaml"), Some(Ok("b".to_owned())), "{expected}");
    }
}

#[test]
fn a_zip_bomb_is_refused() {
    let blank = vec![b' '; 4 << 20];
    let names: Vec<String> = (0..8).map(|number| format!("{number}.yaml")).collect();
    let members: Vec<Packed<'_>> =
        names.iter().map(|name| (name.as_bytes(), blank.as_slice(), true)).collect();
    let error = Archive::open(&name(&zipped(&members)), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("zip unpacks to more than 300 times its size"), "{error}");
    for length in [0, 4, 30, 60] {
        let bytes = std::fs::read(zipped(&members[..1]).path()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes[..length]).unwrap();
        let error = Archive::open(&name(&file), &Limits::default()).map(|_| ());
        assert!(length == 0 || error.is_err(), "{length} bytes");
    }
}
