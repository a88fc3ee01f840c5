//! Results as text and JSON on standard output, progress on standard error.

pub(crate) mod benchmark;
pub(crate) mod census;
pub(crate) mod copy;
pub(crate) mod figures;
pub(crate) mod list;
pub(crate) mod migrate;
pub(crate) mod progress;
pub(crate) mod rekey;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use serde::Serialize;

use crate::exit::Failure;

/// Writes bytes to standard output as they are, without a buffer of the library's between.
///
/// A reader that has gone (`vaultstore list | head`) is no failure: the work is done, and the exit code tells of it.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let written = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdout| File::from(stdout).write_all(bytes));
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("the result could not be written to standard output")
                .because(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    print_line(
        &text.map_err(|error| {
            Failure::failed("the result could not be put into JSON").because(error)
        })?,
    )
}
