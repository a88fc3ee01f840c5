//! What the command says on standard error beside its progress, one line at a time.

use std::io::{self, Write as _};

use crate::shown;

/// What failed, on what.
pub(crate) fn error(what: &str) {
    say("error", what);
}

/// What to do about it.
pub(crate) fn hint(what: &str) {
    say("hint", what);
}

/// Warns without ending.
pub(crate) fn warn(what: &str) {
    say("warning", what);
}

/// What is worth knowing, and no trouble.
pub(crate) fn note(what: &str) {
    say("note", what);
}

fn say(kind: &str, what: &str) {
    let line = format!("{kind}: {}\n", shown::line(what));
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}
