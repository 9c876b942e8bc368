//! The last lines that a program wrote, in bounded memory.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const LINES: usize = 20;
const LONGEST_LINE: usize = 500;
/// Bytes read of one line before it counts as ended.
const LINE_BYTES: u64 = 64 << 10;

/// The last lines of one program, both its outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct LogTail {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl LogTail {
    /// Reads `output` to its end, in a thread of its own.
    pub(super) fn follow(&self, output: impl Read + Send + 'static) {
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
        });
    }

    fn push(&self, line: &str) {
        let line: String = line.trim_end().chars().take(LONGEST_LINE).collect();
        if line.is_empty() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What is kept.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let tail = LogTail::default();
        let mut text = "line\n\n".repeat(100);
        text.push_str(&"x".repeat(100_000));
        tail.follow(std::io::Cursor::new(text));
        let start = Instant::now();
        while !tail.lines().last().is_some_and(|line| line.starts_with('x')) {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        assert!(tail.lines().len() <= LINES && tail.lines().iter().all(|line| line.len() <= LONGEST_LINE));
    }
}
