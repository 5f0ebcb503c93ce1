//! The queue of lines for the host.
//!
//! Owns: their order. Short lines are copied into one buffer, so that one system call writes many of
//! them. Long lines are not copied, and their memory is freed once they are written. Does not own:
//! the limit of the queue.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// The length in bytes up to which lines are copied.
const MAX_COPIED: usize = 64 * 1024;

/// Lines for the host, each with its line feed.
#[derive(Debug, Default)]
pub(crate) struct LineQueue {
    /// The long lines, and the buffers of the short lines before each.
    queue: VecDeque<Bytes>,
    /// The short lines after the last long one.
    short: BytesMut,
}

impl LineQueue {
    /// Adds a line, given without its line feed.
    pub(crate) fn push(&mut self, line: Bytes) {
        match line.len() {
            0..=MAX_COPIED => self.short.extend_from_slice(&line),
            _ => {
                if !self.short.is_empty() {
                    self.queue.push_back(self.short.split().freeze());
                }
                self.queue.push_back(line);
            }
        }
        self.short.extend_from_slice(b"\n");
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_remaining()
    }
}

impl Buf for LineQueue {
    fn remaining(&self) -> usize {
        let queued: usize = self.queue.iter().map(Bytes::len).sum();
        queued + self.short.len()
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&self.short[..], |first| first)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.queue.iter().map(|line| &line[..]);
        let chunks = chunks.chain([&self.short[..]]);
        let filled = into.iter_mut().zip(chunks);
        filled
            .map(|(slot, chunk)| *slot = IoSlice::new(chunk))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.queue.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.queue.pop_front();
        }
        self.short.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};

    use super::{LineQueue, MAX_COPIED};

    #[test]
    fn order_is_kept_for_any_read_size() {
        let long = "x".repeat(MAX_COPIED + 1);
        let lines = ["one", "two", &long, "three", &long, &long, "four"];
        for step in [1, 1000, usize::MAX] {
            let mut queue = LineQueue::default();
            for line in lines {
                queue.push(Bytes::copy_from_slice(line.as_bytes()));
            }
            let mut taken = Vec::new();
            while !queue.is_empty() {
                let chunk = queue.chunk();
                let count = chunk.len().min(step);
                taken.extend_from_slice(&chunk[..count]);
                queue.advance(count);
            }
            assert_eq!(taken, format!("{}\n", lines.join("\n")).into_bytes());
        }
    }

    #[test]
    fn long_line_is_not_copied() {
        let long = Bytes::from(vec![b'x'; MAX_COPIED + 1]);
        let mut queue = LineQueue::default();
        queue.push(long.clone());
        assert_eq!(queue.chunk().as_ptr(), long.as_ptr());
        assert_eq!(queue.remaining(), long.len() + 1);
    }
}
