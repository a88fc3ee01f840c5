//! Asks before what cannot be undone, where somebody can answer.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::blocking;
use crate::exit::Failure;
use crate::shown;

/// Asks on the terminal, unless `yes` was given; goes on without asking where there is none.
pub(super) async fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(());
    }
    let question = format!("{}. Type yes to go on: ", shown::line(what));
    let answer = blocking(move || {
        let mut answer = String::new();
        // A terminal that is gone answers nothing.
        let _ = io::stderr().write_all(question.as_bytes());
        let _ = io::stdin().lock().read_line(&mut answer);
        Ok(answer)
    })
    .await?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::failed("not confirmed; nothing was changed")
        .hint("add --yes to go on without this question"))
}
