//! The last lines that a program wrote to its standard error, in bounded memory.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

const LINES: usize = 5;
const LONGEST_LINE: usize = 300;
/// Bytes read of one line before it counts as ended.
const LINE_BYTES: u64 = 64 << 10;

/// The last lines of one program.
#[derive(Debug, Clone, Default)]
pub(crate) struct StderrTail {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl StderrTail {
    /// Reads `output` to its end, in a thread of its own.
    pub(crate) fn follow(&self, output: impl Read + Send + 'static) -> JoinHandle<()> {
        let tail = self.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            loop {
                line.clear();
                match reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => tail.push(&String::from_utf8_lossy(&line)),
                }
            }
        })
    }

    fn push(&self, line: &str) {
        let line: String = line.trim().chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect();
        if line.is_empty() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What is kept, as a text to add to a message, without `secrets` and what looks like one.
    pub(crate) fn text(&self, secrets: &[String]) -> String {
        let lines: Vec<String> =
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        if lines.is_empty() {
            return String::new();
        }
        let text = secrets.iter().fold(lines.join(" | "), |text, secret| text.replace(secret, "***"));
        format!("; its last lines: {}", sensitive::mask_text(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_secrets() {
        let tail = StderrTail::default();
        let mut text = "line\n\n".repeat(100);
        text.push_str("key s3cr3t-value is wrong\n");
        text.push_str(&"x".repeat(100_000));
        tail.follow(std::io::Cursor::new(text)).join().unwrap();
        let text = tail.text(&["s3cr3t-value".to_owned()]);
        assert!(text.contains("key *** is wrong") && text.len() < LINES * (LONGEST_LINE + 10), "{text}");
        assert_eq!(StderrTail::default().text(&[]), "");
    }
}
