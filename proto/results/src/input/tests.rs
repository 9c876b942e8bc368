use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::input::encoding::TextEncoding;

/// Gives one byte at a time, as a slow pipe does.
struct Trickle<R>(R);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(6);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const FORMS: [(&str, Pack); 3] = [("gz", gz), ("zstd", zst), ("xz", xz)];

fn open(bytes: &[u8]) -> Result<Input, FileError> {
    Input::from_reader("test", Cursor::new(bytes.to_vec()))
}

fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    open(bytes).unwrap().read_to_end(&mut out).map(|_| out)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let mut out = String::new();
    let input = open(bytes).and_then(Input::text).map_err(|error| error.to_string());
    input?.read_to_string(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

#[test]
fn a_form_is_told_by_its_bytes_and_may_have_members() {
    assert_eq!(read(b"[1]").unwrap(), b"[1]");
    assert_eq!(read(b"").unwrap(), b"");
    let long = b"some text, some other text ".repeat(10_000);
    for (name, pack) in FORMS {
        assert_eq!(read(&pack(&long)).unwrap(), long, "{name}");
        assert_eq!(read(&pack(b"")).unwrap(), b"", "{name}");
        assert_eq!(read(&[pack(b"[1,"), pack(b"2]")].concat()).unwrap(), b"[1,2]", "{name}");
        let mut out = Vec::new();
        let slow = Trickle(Cursor::new(pack(b"[1]")));
        Input::from_reader("test", slow).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, b"[1]", "{name}");
    }
    // A frame that is skipped, as parallel compressors of zstd write first.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7][..], &zst(b"[1]")].concat();
    assert_eq!(read(&skipped).unwrap(), b"[1]");
}

#[test]
fn what_is_cut_or_damaged_is_an_error_and_then_the_end() {
    let words: Vec<u8> = (0..2000_u32).flat_map(|word| (word * word).to_string().into_bytes()).collect();
    for (name, pack) in FORMS {
        let packed = pack(&words);
        for length in (7..packed.len()).step_by(97).chain([packed.len() - 1]) {
            let error = read(&packed[..length]).expect_err(name).to_string();
            assert!(error.contains(&format!("damaged {name} after")), "{name}, {length}: {error}");
        }
        let mut flipped = packed.clone();
        let middle = packed.len() / 2;
        flipped[middle] ^= 0x55;
        let mut input = open(&flipped).unwrap();
        assert!(input.read_to_end(&mut Vec::new()).is_err(), "{name}");
        assert_eq!(input.read(&mut [0; 8]).unwrap(), 0, "{name}");
    }
}

#[test]
fn a_bomb_ends_early() {
    for (name, pack) in FORMS {
        let bomb = pack(&vec![b' '; 20 << 20]);
        let error = read(&bomb).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} unpacks to more than")), "{error}");
    }
}

#[test]
fn a_window_beyond_memory_is_refused() {
    // An xz block whose window has 1.5 GiB (dictionary size 37 in the properties of LZMA2).
    let mut packed = xz(b"[1]");
    let header = 12;
    assert_eq!(packed[header + 2..header + 4], [0x21, 0x01], "the filter LZMA2 with one byte of properties");
    packed[header + 4] = 37;
    let length = (usize::from(packed[header]) + 1) * 4;
    let mut checksum = flate2::Crc::new();
    checksum.update(&packed[header..header + length - 4]);
    packed[header + length - 4..header + length].copy_from_slice(&checksum.sum().to_le_bytes());
    let error = read(&packed).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
}

#[test]
fn other_forms_are_named_with_a_remedy() {
    for (head, expected) in [
        (&b"BZh91AY&SY"[..], "is a bzip2 file, which is not read here; unpack it first"),
        (b"\x04\x22\x4d\x18rest", "is an lz4 file"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
        (b"Rar!\x1a\x07", "is a rar archive"),
        (b"PK\x03\x04rest", "name the zip itself"),
        (b"PAR1rest", "is a Parquet file"),
    ] {
        let error = open(head).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(read(b"BZhello").unwrap(), b"BZhello");
}

#[test]
fn text_in_utf_16_is_read_as_utf_8() {
    let json = "[{\"id\": \"\u{e4}\u{20ac}\u{1f600}\"}]\r\n".repeat(2000);
    for encoding in [TextEncoding::Utf16Le, TextEncoding::Utf16Be] {
        for marked in [format!("\u{feff}{json}"), json.clone()] {
            let bytes = encoding.encode(&marked);
            assert_eq!(text(&bytes).as_ref(), Ok(&json), "{encoding:?}");
            assert_eq!(text(&gz(&bytes)).as_ref(), Ok(&json), "{encoding:?}, packed");
        }
    }
    let slow = Trickle(Cursor::new(TextEncoding::Utf16Be.encode("\u{feff}a\u{1f600}")));
    let mut out = String::new();
    Input::from_reader("test", slow).unwrap().text().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "a\u{1f600}");
    // UTF-8 stays as it is, a mark included.
    assert_eq!(text("\u{feff}[]".as_bytes()).as_deref(), Ok("\u{feff}[]"));
    for (bytes, expected) in [
        (&b"\xff\xfea\0b"[..], "broken UTF-16 at byte 3"),
        (b"\xff\xfe\0\xd8a\0", "broken UTF-16"),
        (b"\xff\xfe\0\xd8", "broken UTF-16"),
        (b"\xff\xfe\0\xdc", "broken UTF-16"),
        (b"\xff\xfe\0\0[\0\0\0", "is text in UTF-32; save it as UTF-8"),
    ] {
        let error = text(bytes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_zip_of_one_file_stands_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zip").display().to_string();
    let zip = |members: &[(&str, &[u8])]| {
        let mut writer = rawzip::ZipArchiveWriter::new(File::create(&path).unwrap());
        for (name, content) in members {
            let method = rawzip::CompressionMethod::DEFLATE;
            let (mut entry, config) = writer.new_file(name).compression_method(method).start().unwrap();
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, Compression::best());
            let mut data = config.wrap(encoder);
            data.write_all(content).unwrap();
            let (encoder, descriptor) = data.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        writer.finish().unwrap();
    };
    let read = || {
        let mut out = String::new();
        let input = Input::open(&path).map_err(|error| error.to_string())?;
        input.text().unwrap().read_to_string(&mut out).map_err(|error| error.to_string())?;
        Ok::<_, String>(out)
    };
    zip(&[("a/d.json", b"[1]"), ("a/.d", b"hidden"), ("__MACOSX/a/d.json", b"never")]);
    assert_eq!(read().as_deref(), Ok("[1]"));
    // Packed or encoded once more within.
    zip(&[("d.json.gz", &gz(b"[2]"))]);
    assert_eq!(read().as_deref(), Ok("[2]"));
    zip(&[("d.json", &TextEncoding::Utf16Le.encode("\u{feff}[3]"))]);
    assert_eq!(read().as_deref(), Ok("[3]"));
    for (members, expected) in [
        (&[("a", &b"1"[..]), ("b", b"2")][..], "is a zip archive of 2 files; name an archive of one file"),
        (&[], "is a zip archive of 0 files"),
        (&[("a", &vec![b' '; 20 << 20])], "zip unpacks to more than 300 times its size"),
    ] {
        zip(members);
        let error = read().unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(&path, b"PK\x03\x04000000").unwrap();
    let error = read().unwrap_err();
    assert!(error.contains("x.zip: is a damaged zip archive") && error.contains("fetch"), "{error}");
}
