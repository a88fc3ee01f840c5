//! Results as text and JSON on standard output, progress on standard error.

pub(crate) mod benchmark;
pub(crate) mod census;
pub(crate) mod copy;
pub(crate) mod evidence;
pub(crate) mod figures;
pub(crate) mod headline;
pub(crate) mod identities;
pub(crate) mod leaks;
pub(crate) mod list;
pub(crate) mod migrate;
pub(crate) mod progress;
pub(crate) mod rekey;
pub(crate) mod scrub;
pub(crate) mod table;
pub(crate) mod unchecked;
pub(crate) mod unreadable;
pub(crate) mod verify;

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::platform;
pub(crate) use crate::platform::stdout_was_closed;
use crate::shown;

/// How a run over a whole vault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It went through.
    Complete,
    /// It was interrupted.
    Stopped,
}

impl End {
    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
        }
    }
}

/// Writes bytes to standard output unchanged, without the library's buffer.
///
/// A closed pipe (`vaultstore list | head`) is not a failure: the work is done, and the exit code
/// reports it.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    match write(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("the result could not be written to standard output")
                .because(error))
        }
        _ => Ok(()),
    }
}

/// Writes what exists nowhere else: here a closed pipe is an error.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    platform::raw_stdout()?.write_all(bytes)
}

/// Writes text lines. Everything in them that comes from elsewhere is displayed and never
/// interpreted; a text that could contain line breaks has gone through [`shown::line`] before.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    print(shown::lines(text).as_bytes())
}

/// Writes a record's value to a terminal, ended by a line break.
pub(crate) fn print_value(value: &[u8]) -> Result<(), Failure> {
    let mut shown = shown::value(value);
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    print(shown.as_bytes())
}

/// Writes one line, with anything else escaped.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{}\n", shown::line(line)).as_bytes())
}

/// Bytes that JSON represents in base64 (the standard alphabet, with padding).
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(self.0));
        serializer.serialize_str(&text)
    }
}

/// As [`print_json`], for secrets: its text is wiped.
pub(crate) fn print_secret_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map(Zeroizing::new);
    let mut text = Zeroizing::new(shown::json(&text.map_err(no_json)?));
    text.push('\n');
    print(text.as_bytes())
}

fn no_json(error: serde_json::Error) -> Failure {
    Failure::failed("the result could not be put into JSON").because(error)
}

/// The text of [`print_json`].
pub(crate) fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    Ok(shown::json(&serde_json::to_string_pretty(value).map_err(no_json)?))
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(format!("{}\n", json_text(value)?).as_bytes())
}
