//! Password prompts on the terminal, read byte by byte without echo.
//!
//! The terminal's own line editing is off, so that Ctrl-C arrives as a byte and the echo is back on
//! before the process ends. A signal from elsewhere ends the process through [`restore_terminal`].

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

use crate::exit::{Failure, Interrupted};

/// The maximum length of a typed password, in bytes: the terminal's own line buffer holds no more
/// either.
const MAX_TYPED: usize = 4096;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_BACKSLASH: u8 = 0x1c;
const DELETE: u8 = 0x7f;

/// What to prompt for if no source was given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prompt {
    /// An existing password: asked for once.
    Known(&'static str),
    /// A new password: asked for twice.
    New(&'static str),
}

/// The terminal settings from before echo was disabled, while it is.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Prompts for a password on the terminal.
pub(super) fn ask(prompt: Prompt) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Failure::Usage(
            "there is no terminal to ask for the password on; give it with --password-file, --password-env or \
             --password-command (--old-… and --new-… for a rekey)"
                .into(),
        )
    })?;
    match prompt {
        Prompt::Known(what) => ask_once(&mut terminal, what, ""),
        Prompt::New(what) => {
            let first = ask_once(&mut terminal, what, "")?;
            let second = ask_once(&mut terminal, what, " (again)")?;
            if *first != *second {
                return Err(Failure::Usage("the two passwords differ; try again".into()));
            }
            Ok(first)
        }
    }
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
    let failed =
        |error: io::Error| Failure::failed("the terminal could not be read").because(error);
    let quiet = silence(terminal).map_err(failed)?;
    write!(terminal, "{what}{again}: ").map_err(failed)?;
    let typed = read_typed(terminal);
    drop(quiet);
    // The newline that was typed but not echoed.
    writeln!(terminal).map_err(failed)?;
    match typed.map_err(failed)? {
        Typed::Password(password) => Ok(password),
        Typed::Interrupt => Err(Failure::Interrupted(Interrupted)),
        Typed::TooLong => Err(Failure::Usage(format!(
            "a typed password has at most {MAX_TYPED} bytes; use a file"
        ))),
    }
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

enum Typed {
    Password(Zeroizing<Vec<u8>>),
    Interrupt,
    TooLong,
}

fn read_typed(terminal: &mut impl Read) -> io::Result<Typed> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_TYPED));
    let mut byte = Zeroizing::new([0]);
    loop {
        match terminal.read(&mut *byte) {
            Ok(0) => return Ok(Typed::Interrupt),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Typed::Password(typed)),
            CTRL_C | CTRL_BACKSLASH => return Ok(Typed::Interrupt),
            CTRL_D if typed.is_empty() => return Ok(Typed::Interrupt),
            CTRL_U => typed.clear(),
            BACKSPACE | DELETE => drop_character(&mut typed),
            _ if typed.len() == MAX_TYPED => return Ok(Typed::TooLong),
            other => typed.push(other),
        }
    }
}

/// Removes one character: UTF-8 continuation bytes together with the byte that they follow.
fn drop_character(typed: &mut Vec<u8>) {
    while let Some(byte) = typed.pop() {
        if byte & 0b1100_0000 != 0b1000_0000 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        match read_typed(&mut &*keys).unwrap() {
            Typed::Password(password) => Some(password.to_vec()),
            Typed::Interrupt | Typed::TooLong => None,
        }
    }

    #[test]
    fn a_line_can_be_edited() {
        assert_eq!(typed(b"hunter2\n"), Some(b"hunter2".to_vec()));
        assert_eq!(typed("hé\u{7f}\u{7f}x\r".as_bytes()), Some(b"x".to_vec()));
        assert_eq!(typed(b"wrong\x15right\n"), Some(b"right".to_vec()));
        assert_eq!(typed(b"\x7f\n"), Some(Vec::new()));
    }

    #[test]
    fn ctrl_c_and_an_end_of_input_interrupt() {
        for keys in [&b"hunter2\x03\n"[..], b"\x04", b"hunter2"] {
            assert_eq!(typed(keys), None);
        }
    }
}
