//! Reads secrets without leaving copies behind: every buffer here is wiped, including outgrown
//! ones.

pub(crate) mod json;
#[cfg(unix)]
mod keys;
mod pair;
mod pairs;
#[cfg(unix)]
mod prompt;
#[cfg(windows)]
#[path = "prompt_windows.rs"]
mod prompt;
mod role;
mod source;

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use vaultstore::Plaintext;
use zeroize::Zeroizing;

pub(crate) use self::{
    pairs::read_pairs,
    prompt::restore_terminal,
    role::{Prompt, Role},
    source::Passwords,
};
use crate::args::ValueArgs;
use crate::exit::{self, Failure};
use crate::platform;

/// The maximum size of a password file, in bytes.
const MAX_PASSWORD: usize = 1024 * 1024;

/// The maximum size of a value, in bytes: more than any envelope can hold.
const MAX_VALUE: usize = 32 * 1024 * 1024;

/// Reads the value to store: the bytes of a file or of standard input, unchanged.
///
/// Empty standard input is refused, because a closed one and a failing command at the other end of
/// a pipe look the same, and an update would lose the value.
pub(crate) fn read_value(value: &ValueArgs) -> Result<Plaintext, Failure> {
    if let Some(path) = &value.value_file {
        return Ok(plaintext(read_file(path, MAX_VALUE)?));
    }
    if io::stdin().is_terminal() {
        exit::note(
            "type the value, then press Ctrl-D on an empty line to end it; the last line break is part of the value",
        );
    }
    let bytes = read_to_end(&mut stdin()?, 0, MAX_VALUE)
        .map_err(|error| unreadable("standard input", MAX_VALUE, error))?;
    if bytes.is_empty() {
        return Err(Failure::usage("no value came on standard input")
            .hint("pipe a value in, or name a file with --value-file, which may be empty"));
    }
    Ok(plaintext(bytes))
}

fn plaintext(mut bytes: Zeroizing<Vec<u8>>) -> Plaintext {
    Plaintext::from(std::mem::take(&mut *bytes))
}

/// Standard input without the library's buffer.
pub(crate) fn stdin() -> Result<File, Failure> {
    platform::raw_stdin().map_err(|error| unreadable("standard input", 0, error))
}

fn read_file(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|error| unreadable(&name, limit, error))?;
    let len = file.metadata().map_or(0, |metadata| metadata.len());
    read_to_end(&mut file, usize::try_from(len).unwrap_or(usize::MAX), limit)
        .map_err(|error| unreadable(&name, limit, error))
}

/// Reads everything; `expected` bytes fit without growing.
fn read_to_end(
    from: &mut impl Read,
    expected: usize,
    limit: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    const LEAST: usize = 4096;
    // One more than expected, so that the end is detected without growing.
    let mut bytes = Zeroizing::new(vec![0; expected.min(limit).saturating_add(1).max(LEAST)]);
    let mut len = 0;
    loop {
        if len > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len == bytes.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * len]);
            larger[..len].copy_from_slice(&bytes);
            bytes = larger;
        }
        match from.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // Shortens in place: nothing is moved.
    bytes.truncate(len);
    Ok(bytes)
}

/// Reads up to a newline, byte by byte: what follows stays for the next reader.
fn read_line(from: &mut impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(limit));
    let mut byte = Zeroizing::new([0]);
    loop {
        match from.read(&mut *byte) {
            Ok(0) => return Ok(line),
            Ok(_) if byte[0] == b'\n' => {
                strip_suffix(&mut line, b"\r");
                return Ok(line);
            }
            // The capacity is never outgrown, so the bytes are never moved.
            Ok(_) if line.len() == limit => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes exactly one trailing newline, `\n` or `\r\n`.
fn strip_newline(bytes: &mut Vec<u8>) {
    if strip_suffix(bytes, b"\n") {
        strip_suffix(bytes, b"\r");
    }
}

fn strip_suffix(bytes: &mut Vec<u8>, suffix: &[u8]) -> bool {
    let ends = bytes.ends_with(suffix);
    if ends {
        bytes.truncate(bytes.len() - suffix.len());
    }
    ends
}

pub(crate) fn unreadable(what: &str, limit: usize, error: io::Error) -> Failure {
    let (reason, hint) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file".to_owned(), "check the path"),
        io::ErrorKind::IsADirectory => ("is a folder".to_owned(), "name a file"),
        io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), "ask for the permission, or work as a user who has it")
        }
        io::ErrorKind::FileTooLarge => {
            (format!("longer than the {limit} bytes that are read"), "give a shorter one")
        }
        _ => return Failure::failed(format!("{what}: cannot be read")).because(error),
    };
    Failure::failed(format!("{what}: {reason}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_grows_and_keeps_every_byte() {
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n.to_le_bytes()[0]).collect();
        for expected in [0, bytes.len(), 50_000] {
            assert_eq!(*read_to_end(&mut bytes.as_slice(), expected, 50_000).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_longer_than_the_limit_is_refused() {
        assert_eq!(read_to_end(&mut [7; 10].as_slice(), 0, 10).unwrap().len(), 10);
        let refused = read_to_end(&mut [7; 11].as_slice(), 0, 10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        let refused = read_line(&mut [7; 11].as_slice(), 10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_line_ends_at_its_newline() {
        let mut input = b"first\r\nsecond\nthird".as_slice();
        assert_eq!(*read_line(&mut input, 100).unwrap(), b"first");
        assert_eq!(*read_line(&mut input, 100).unwrap(), b"second");
        assert_eq!(*read_line(&mut input, 100).unwrap(), b"third");
    }

    #[test]
    fn exactly_one_newline_is_dropped() {
        for (with, without) in [
            (&b"pw\n"[..], &b"pw"[..]),
            (b"pw\r\n", b"pw"),
            (b"pw\n\n", b"pw\n"),
            (b"pw\r", b"pw\r"),
            (b" pw ", b" pw "),
            (b"\n", b""),
        ] {
            let mut bytes = with.to_vec();
            strip_newline(&mut bytes);
            assert_eq!(bytes, without);
        }
    }
}
