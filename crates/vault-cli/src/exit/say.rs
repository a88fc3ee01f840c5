//! Messages on standard error, one line each, and in the log.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
};

use crate::{log_file, shown};

/// How much is said on standard error. The log gets everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loudness {
    /// Errors, and what to do about them.
    Quiet,
    /// Also warnings and notes.
    Usual,
    /// Also each step.
    Verbose,
}

static LOUDNESS: AtomicU8 = AtomicU8::new(Loudness::Usual as u8);

/// Whether what the next hint belongs to was shown.
static HEARD: AtomicBool = AtomicBool::new(true);

/// Sets how much is said from now on.
pub(crate) fn set_loudness(loudness: Loudness) {
    LOUDNESS.store(loudness as u8, Relaxed);
}

/// Whether this much is said.
pub(crate) fn is_as_loud_as(loudness: Loudness) -> bool {
    LOUDNESS.load(Relaxed) >= loudness as u8
}

/// Reports what failed and on what.
pub(crate) fn error(what: &str) {
    say("error", what, Loudness::Quiet);
}

/// As [`error`], where the log gets less: what is shown may name a record or contain a token.
pub(crate) fn error_for_people(shown: &str, logged: &str) {
    log_file::append("error", logged);
    HEARD.store(true, Relaxed);
    write("error", shown);
}

/// Says what to do about it.
pub(crate) fn hint(what: &str) {
    log_file::append("hint", what);
    if HEARD.load(Relaxed) {
        write("hint", what);
    }
}

/// Prints a warning.
pub(crate) fn warn(what: &str) {
    say("warning", what, Loudness::Usual);
}

/// Prints useful information.
pub(crate) fn note(what: &str) {
    say("note", what, Loudness::Usual);
}

/// Says what is being done.
pub(crate) fn step(what: &str) {
    log_file::append("step", what);
    if is_as_loud_as(Loudness::Verbose) {
        write("step", what);
    }
}

fn say(kind: &str, what: &str, loudness: Loudness) {
    log_file::append(kind, what);
    let is_heard = is_as_loud_as(loudness);
    HEARD.store(is_heard, Relaxed);
    if is_heard {
        write(kind, what);
    }
}

fn write(kind: &str, what: &str) {
    let line = format!("{kind}: {}\n", shown::line(what));
    // If standard error is closed, there is nowhere to report to.
    let _ = io::stderr().write_all(line.as_bytes());
}
