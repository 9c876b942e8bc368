//! Streams of xz, within a limit on memory.

use std::io::{self, BufRead, Read};

use lzma_rust2::{Action, Status, XzStream};

/// Memory of the decoder at most, in KiB: what the highest preset of xz needs (a window of 64 MiB), and some more.
const MEMORY_KIB: u32 = 80 << 10;

/// Unpacks one or several streams that follow each other.
pub(super) struct Xz<R> {
    packed: R,
    stream: XzStream,
    is_done: bool,
}

impl<R: BufRead> Xz<R> {
    pub(super) fn new(packed: R) -> Self {
        Self { packed, stream: XzStream::new_mem_limit(true, MEMORY_KIB), is_done: false }
    }
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let packed = self.packed.fill_buf()?;
            let is_end = packed.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let step = self.stream.process(packed, buffer, action)?;
            self.packed.consume(step.bytes_consumed);
            self.is_done = step.status == Status::StreamEnd;
            if step.bytes_produced > 0 || self.is_done {
                return Ok(step.bytes_produced);
            }
            if is_end && step.bytes_consumed == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
