//! The keys of a password prompt: which ones edit, end it, or are not part of a password.
//!
//! Nothing that is typed is shown, so there is no cursor to move: editing happens at the end of the
//! line, and other special keys are ignored and reported.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// The maximum length of a typed password, in bytes: the terminal's own line buffer holds no more
/// either.
pub(super) const MAX_TYPED: usize = 4096;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const ESCAPE: u8 = 0x1b;
const CTRL_BACKSLASH: u8 = 0x1c;
const DELETE: u8 = 0x7f;

/// How a prompt ended.
pub(super) enum Typed {
    Password(Zeroizing<Vec<u8>>),
    Interrupt,
    TooLong,
}

/// A key that is not part of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// An arrow, Home, a function key.
    Sequence,
    /// A control character.
    Control,
}

/// Reads until Enter; `ignored` is called for each ignored key.
pub(super) fn read(
    terminal: &mut impl Read,
    mut ignored: impl FnMut(Ignored) -> io::Result<()>,
) -> io::Result<Typed> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_TYPED));
    let mut sequence = Sequence::None;
    let mut byte = Zeroizing::new([0]);
    loop {
        match terminal.read(&mut *byte) {
            Ok(0) => return Ok(Typed::Interrupt),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match sequence.take(byte[0]) {
            Taken::Paste | Taken::Part => continue,
            Taken::Key => {
                ignored(Ignored::Sequence)?;
                continue;
            }
            Taken::No => {}
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Typed::Password(typed)),
            CTRL_C | CTRL_BACKSLASH => return Ok(Typed::Interrupt),
            CTRL_D if typed.is_empty() => return Ok(Typed::Interrupt),
            CTRL_U => wipe_from(&mut typed, 0),
            CTRL_W => drop_word(&mut typed),
            BACKSPACE | DELETE => drop_character(&mut typed),
            other if other.is_ascii_control() => ignored(Ignored::Control)?,
            _ if typed.len() == MAX_TYPED => return Ok(Typed::TooLong),
            other => typed.push(other),
        }
    }
}

/// The position within a key's escape sequence (ECMA-48 §5.4; `ESC O` for the arrows of some
/// terminals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    None,
    Escape,
    /// After `ESC [`, with the parameters so far, of which only those of a paste matter.
    Csi {
        parameters: u32,
    },
    /// After `ESC O`.
    Single,
}

enum Taken {
    /// The byte is literal.
    No,
    /// It is part of an unfinished sequence.
    Part,
    /// It ends the sequence of a key.
    Key,
    /// It ends a paste marker, which is not a key: what is between two of them is typed.
    Paste,
}

impl Sequence {
    fn take(&mut self, byte: u8) -> Taken {
        const PASTE_BEGINS: u32 = 200;
        const PASTE_ENDS: u32 = 201;
        let (next, taken) = match (*self, byte) {
            (_, ESCAPE) => (Self::Escape, Taken::Part),
            (Self::Escape, b'[') => (Self::Csi { parameters: 0 }, Taken::Part),
            (Self::Escape, b'O') => (Self::Single, Taken::Part),
            (Self::Csi { parameters: PASTE_BEGINS | PASTE_ENDS }, b'~') => {
                (Self::None, Taken::Paste)
            }
            (Self::Csi { parameters }, b'0'..=b'9') => {
                let parameters =
                    parameters.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                (Self::Csi { parameters }, Taken::Part)
            }
            (Self::Csi { .. }, 0x20..=0x3f) => (Self::Csi { parameters: u32::MAX }, Taken::Part),
            // Either Alt with a key, or Escape and then the key; it is not taken as part of the
            // password.
            (Self::Csi { .. } | Self::Single | Self::Escape, 0x20..=0x7e) => {
                (Self::None, Taken::Key)
            }
            (_, _) => (Self::None, Taken::No),
        };
        *self = next;
        taken
    }
}

/// Removes one character: UTF-8 continuation bytes together with the byte that they follow.
fn drop_character(typed: &mut Vec<u8>) {
    let is_first = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    wipe_from(typed, typed.iter().rposition(is_first).unwrap_or_default());
}

/// Removes the spaces at the end and the word before them, as a terminal's own editing does.
fn drop_word(typed: &mut Vec<u8>) {
    let word_end = typed.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
    let space = typed[..word_end].iter().rposition(|byte| *byte == b' ');
    wipe_from(typed, space.map_or(0, |at| at + 1));
}

fn wipe_from(typed: &mut Vec<u8>, len: usize) {
    typed[len..].fill(0);
    typed.truncate(len);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Option<Vec<u8>>, Vec<Ignored>) {
        let mut heard = Vec::new();
        let typed = read(&mut &*keys, |ignored| {
            heard.push(ignored);
            Ok(())
        });
        match typed.unwrap() {
            Typed::Password(password) => (Some(password.to_vec()), heard),
            Typed::Interrupt | Typed::TooLong => (None, heard),
        }
    }

    #[test]
    fn a_line_can_be_edited() {
        for (keys, meant) in [
            ("hunter2\n", "hunter2"),
            ("hé\u{7f}\u{7f}x\r", "x"),
            ("wrong\x15right\n", "right"),
            ("\x7f\x08\n", ""),
            ("correct horse \x17battery\n", "correct battery"),
            ("wrong\x17right\n", "right"),
            ("\x17\n", ""),
            // A bracketed paste.
            ("\x1b[200~hunter2\x1b[201~\n", "hunter2"),
        ] {
            assert_eq!(typed(keys.as_bytes()), (Some(meant.into()), vec![]), "{keys:?}");
        }
    }

    #[test]
    fn what_is_no_part_of_a_password_is_passed_over_and_named() {
        for (keys, ignored) in [
            ("hunter2\x1b[D\n", Ignored::Sequence),
            ("hun\x1bOHter2\n", Ignored::Sequence),
            ("hun\x1b[1;5Cter2\n", Ignored::Sequence),
            ("hun\x1b[3~ter2\n", Ignored::Sequence),
            ("hun\x1bxter2\n", Ignored::Sequence),
            ("hunter2\x1a\n", Ignored::Control),
            ("hun\tter2\n", Ignored::Control),
            ("hunter2\x04\n", Ignored::Control),
            ("\0hunter2\n", Ignored::Control),
        ] {
            assert_eq!(
                typed(keys.as_bytes()),
                (Some(b"hunter2".to_vec()), vec![ignored]),
                "{keys:?}"
            );
        }
        // An Escape without anything after it.
        assert_eq!(typed(b"hunter2\x1b\n").0, Some(b"hunter2".to_vec()));
        assert_eq!(typed(b"hunter2\x1b[\n").0, Some(b"hunter2".to_vec()));
    }

    #[test]
    fn ctrl_c_and_an_end_of_input_interrupt() {
        for keys in [&b"hunter2\x03\n"[..], b"\x04", b"hunter2", b"hunter2\x1c\n", b"\x1b[\x03"] {
            assert_eq!(typed(keys).0, None);
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let keys = vec![b'x'; MAX_TYPED + 1];
        assert!(matches!(read(&mut &*keys, |_| Ok(())).unwrap(), Typed::TooLong));
    }
}
