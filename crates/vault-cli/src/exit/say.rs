//! Messages on standard error, one line each.

use std::io::{self, Write as _};

use crate::shown;

/// Reports what failed and on what.
pub(crate) fn error(what: &str) {
    say("error", what);
}

/// Says what to do about it.
pub(crate) fn hint(what: &str) {
    say("hint", what);
}

/// Prints a warning.
pub(crate) fn warn(what: &str) {
    say("warning", what);
}

/// Prints useful information.
pub(crate) fn note(what: &str) {
    say("note", what);
}

fn say(kind: &str, what: &str) {
    let line = format!("{kind}: {}\n", shown::line(what));
    // If standard error is closed, there is nowhere to report to.
    let _ = io::stderr().write_all(line.as_bytes());
}
