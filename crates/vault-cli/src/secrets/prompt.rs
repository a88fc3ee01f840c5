//! Password prompts on the terminal, read byte by byte without echo.
//!
//! The terminal's own line editing is off, so that Ctrl-C arrives as a byte and the echo is back on
//! before the process ends. A signal from elsewhere ends the process through [`restore_terminal`].

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

use super::keys::{self, Ignored, MAX_TYPED, Typed};
use super::role::Prompt;
use crate::exit::Failure;

/// How often to ask again after two different passwords, or an empty one.
const TRIES: u32 = 3;

/// The terminal settings from before echo was disabled, while it is.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Prompts for a password on the terminal.
pub(super) fn ask(prompt: Prompt) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Failure::usage("no password was given, and there is no terminal to ask on").hint(
            "use --password-file, --password-env or --password-command, or set VAULTSTORE_PASSWORD_FILE (for a rekey \
             --old-password-file, VAULTSTORE_NEW_PASSWORD_FILE and so on)",
        )
    })?;
    match prompt {
        Prompt::Known(role) => ask_once(&mut terminal, role.label(), ""),
        Prompt::New(role) => ask_new(&mut terminal, role.label()),
    }
}

/// Asks twice, and again if the two differ.
fn ask_new(terminal: &mut File, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut wrong = "";
    for _ in 0..TRIES {
        if !wrong.is_empty() {
            writeln!(terminal, "{wrong}; try again").map_err(unusable)?;
        }
        let first = ask_once(terminal, what, "")?;
        if first.is_empty() {
            wrong = "a new password must not be empty";
            continue;
        }
        let second = ask_once(terminal, what, " (again)")?;
        if *first == *second {
            return Ok(first);
        }
        wrong = "the two passwords differ";
    }
    Err(Failure::usage(wrong))
}

/// Restores echo, if a prompt has disabled it.
pub(crate) fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, termios)) = before {
        // Nothing can be done if this fails.
        let _ = termios::tcsetattr(&terminal, OptionalActions::Flush, &termios);
    }
}

/// Restores the terminal when a prompt ends, however it ends.
struct Quiet;

impl Drop for Quiet {
    fn drop(&mut self) {
        restore_terminal();
    }
}

fn ask_once(terminal: &mut File, what: &str, again: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let quiet = silence(terminal).map_err(unusable)?;
    write!(terminal, "{what}{again}: ").map_err(unusable)?;
    let mut heard = Vec::new();
    let mut shown = terminal.try_clone().map_err(unusable)?;
    let typed = keys::read(terminal, |ignored| {
        // Once is enough: a paste may contain many.
        if heard.contains(&ignored) {
            return Ok(());
        }
        heard.push(ignored);
        let keys = match ignored {
            Ignored::Sequence => "arrow and function keys do",
            Ignored::Control => "a control character does",
        };
        write!(shown, "\n({keys} nothing here; what was typed before is kept)\n{what}{again}: ")
    });
    drop(quiet);
    // The newline that was typed but not echoed.
    writeln!(terminal).map_err(unusable)?;
    match typed.map_err(unusable)? {
        Typed::Password(password) => Ok(password),
        Typed::Interrupt => Err(Failure::interrupted()),
        Typed::TooLong => {
            Err(Failure::usage(format!("a typed password has at most {MAX_TYPED} bytes"))
                .hint("use a file"))
        }
    }
}

fn unusable(error: io::Error) -> Failure {
    Failure::failed("the terminal could not be used").because(error)
}

fn silence(terminal: &File) -> io::Result<Quiet> {
    let before = termios::tcgetattr(terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes -=
        LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some((terminal.try_clone()?, before));
    let guard = Quiet;
    termios::tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
    Ok(guard)
}
