//! Files that are uploaded: a form of several parts is read line by line, so that memory does not grow with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use super::store::{Batches, StoredFile};

/// Longest file of a batch, in bytes.
pub(super) const FILE_BYTES: u64 = 200 << 20;

/// A form of an upload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) purpose: String,
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Takes the file out of a form with this boundary and writes it to `to`.
pub(super) fn take_apart(form: &Path, boundary: &str, to: &Path) -> io::Result<Form> {
    let mut lines = BufReader::new(File::open(form)?);
    let mut out = BufWriter::new(File::create(to)?);
    let begin = format!("--{boundary}");
    let mut found = Form::default();
    let mut line = Vec::new();
    let mut part = String::new();
    // Whether the lines are those of a part's content; the end of a line belongs to the next boundary until it is known that
    // there is none.
    let (mut in_content, mut held) = (false, Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.starts_with(begin.as_bytes()) {
            (in_content, part) = (false, String::new());
            held.clear();
            continue;
        }
        if !in_content {
            let field = String::from_utf8_lossy(&line).trim().to_owned();
            if field.is_empty() {
                in_content = true;
            } else if field.to_ascii_lowercase().starts_with("content-disposition:") {
                part = quoted(&field, " name=").unwrap_or_default();
                found.name = quoted(&field, " filename=").unwrap_or(found.name);
            }
            continue;
        }
        if part == "file" {
            out.write_all(&held)?;
            found.bytes += held.len() as u64;
        }
        let end = line.len() - line.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        held = line.split_off(end);
        match part.as_str() {
            "purpose" => found.purpose = String::from_utf8_lossy(&line).into_owned(),
            "file" => {
                out.write_all(&line)?;
                found.bytes += line.len() as u64;
            }
            _ => {}
        }
    }
    out.flush()?;
    Ok(found)
}

/// A quoted parameter of a header.
fn quoted(head: &str, name: &str) -> Option<String> {
    let (_, rest) = head.split_once(name)?;
    Some(rest.trim_start_matches('"').split('"').next().unwrap_or_default().to_owned())
}

impl Batches {
    /// Keeps a file that lies at `path`; returns its id.
    pub(super) fn keep(&mut self, path: &Path, form: Form, created_at: u64) -> io::Result<String> {
        let id = format!("file-mock{}", self.number());
        let kept = self.folder.path().join(&id);
        std::fs::rename(path, &kept)?;
        let Form { purpose, name, bytes } = form;
        self.files.insert(id.clone(), StoredFile { path: kept, bytes, purpose, name, created_at });
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (form, file) = (folder.path().join("form"), folder.path().join("file"));
        for (content, after) in
            [("{\"a\":1}\n{\"b\":2}\n", ""), ("{\"a\":1}\r\n\r\n{\"b\":2}", "--x"), ("", "")]
        {
            let text = format!(
                "--BB\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--BB\r\nContent-Disposition: \
                 form-data; name=\"file\"; filename=\"q.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n{content}\r\n\
                 --BB--\r\n{after}"
            );
            std::fs::write(&form, text).unwrap();
            let found = take_apart(&form, "BB", &file).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
            let bytes = content.len() as u64;
            assert_eq!(found, Form { purpose: "batch".to_owned(), name: "q.jsonl".to_owned(), bytes });
        }
    }
}
