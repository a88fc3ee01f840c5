//! Reads lines in chunks, on a thread of its own.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::mpsc,
    thread,
};

use zeroize::Zeroizing;

use super::budget::{Budget, Share};
use super::pool::Jobs;
use crate::exit::Failure;
use crate::secrets::{stdin, unreadable};

/// The longest line, in bytes: more than the longest value has in base64.
pub(super) const MAX_LINE: usize = 48 * 1024 * 1024;

/// A chunk is passed on once it has this many lines or bytes.
const LINES: usize = 256;
const BYTES: usize = 256 * 1024;

/// A line without its line break; `None` is longer than [`MAX_LINE`].
type Text = Option<Zeroizing<Vec<u8>>>;

/// Some lines in a row. Empty ones are left out.
pub(super) struct Chunk {
    /// Each with its number, from 1 on.
    pub(super) lines: Vec<(u64, Text)>,
    pub(super) share: Share,
    /// The number of the last line, whether or not it is empty.
    pub(super) last: u64,
}

/// Opens the file; `-` is standard input.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    if path == Path::new("-") {
        return stdin();
    }
    let opened = File::open(path).and_then(|file| {
        let is_folder = file.metadata()?.is_dir();
        if is_folder { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    });
    opened.map_err(|error| unreadable(&path.display().to_string(), 0, error))
}

/// Reads on a thread until the end, an error, or a closed budget. The receiver gets one answer.
pub(super) fn start(
    file: File,
    from_line: u64,
    budget: Budget,
    jobs: Jobs<Chunk>,
) -> Result<mpsc::Receiver<io::Result<()>>, Failure> {
    let (answer, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("vaultstore-reader".to_owned());
    let read = move || {
        let lines = Lines { file, buffer: Zeroizing::new(vec![0; 64 * 1024]), from: 0, to: 0 };
        let _ = answer.send(read_all(lines, from_line, &budget, jobs));
    };
    thread.spawn(read).map_err(|error| {
        Failure::failed("no thread could be started")
            .hint("raise the limit of processes and threads (`ulimit -u`), or end other programs")
            .because(error)
    })?;
    Ok(receiver)
}

fn read_all(
    mut lines: Lines<impl Read>,
    from_line: u64,
    budget: &Budget,
    mut jobs: Jobs<Chunk>,
) -> io::Result<()> {
    let (mut number, mut is_over) = (0, false);
    while !is_over {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < LINES && bytes < BYTES {
            let Some(line) = lines.next()? else {
                is_over = true;
                break;
            };
            number += 1;
            let is_empty = line.as_ref().is_some_and(|line| line.trim_ascii().is_empty());
            if number >= from_line && !is_empty {
                bytes += line.as_ref().map_or(0, |line| line.capacity());
                chunk.push((number, line));
            }
            if chunk.is_empty() && number.is_multiple_of(LINES as u64) {
                break;
            }
        }
        if chunk.is_empty() {
            continue;
        }
        let Some(share) = budget.take(bytes) else { return Ok(()) };
        if !jobs.submit(Chunk { lines: chunk, share, last: number }) {
            return Ok(());
        }
    }
    Ok(())
}

/// Lines of a file, through a buffer that is wiped.
struct Lines<R> {
    file: R,
    buffer: Zeroizing<Vec<u8>>,
    from: usize,
    to: usize,
}

impl<R: Read> Lines<R> {
    /// The next line; `None` is the end.
    fn next(&mut self) -> io::Result<Option<Text>> {
        let mut line = Zeroizing::new(Vec::new());
        let (mut is_too_long, mut is_begun) = (false, false);
        loop {
            if self.from == self.to {
                self.to = loop {
                    match self.file.read(&mut self.buffer) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => break read?,
                    }
                };
                self.from = 0;
                if self.to == 0 {
                    return Ok(is_begun.then(|| (!is_too_long).then_some(line)));
                }
            }
            is_begun = true;
            let here = &self.buffer[self.from..self.to];
            let end = here.iter().position(|byte| *byte == b'\n');
            let part = &here[..end.unwrap_or(here.len())];
            if line.len() + part.len() > MAX_LINE {
                is_too_long = true;
                line = Zeroizing::default();
            } else if !is_too_long {
                push(&mut line, part);
            }
            self.from += part.len() + usize::from(end.is_some());
            if end.is_some() {
                return Ok(Some((!is_too_long).then_some(line)));
            }
        }
    }
}

/// Appends; what is outgrown is wiped.
fn push(line: &mut Zeroizing<Vec<u8>>, part: &[u8]) {
    if line.capacity() - line.len() < part.len() {
        let capacity = (line.len() + part.len()).max(2 * line.len());
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(line);
        *line = larger;
    }
    line.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], buffer: usize) -> Vec<Option<Vec<u8>>> {
        let buffer = Zeroizing::new(vec![0; buffer]);
        let mut lines = Lines { file: input, buffer, from: 0, to: 0 };
        std::iter::from_fn(|| lines.next().unwrap())
            .map(|line| line.map(|line| line.to_vec()))
            .collect()
    }

    #[test]
    fn lines_end_at_a_line_break_or_the_end_whatever_the_buffer_is() {
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        for buffer in [1, 3, 100] {
            assert_eq!(lines(b"ab\n\ncde", buffer), [whole("ab"), whole(""), whole("cde")]);
            assert_eq!(lines(b"ab\n", buffer), [whole("ab")]);
            assert!(lines(b"", buffer).is_empty());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut input = vec![b'x'; MAX_LINE + 1];
        input.extend_from_slice(b"\nnext\n");
        assert_eq!(lines(&input, 1 << 20), [None, Some(b"next".to_vec())]);
    }
}
