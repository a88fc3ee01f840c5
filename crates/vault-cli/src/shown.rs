//! Makes text from elsewhere (a database, a server, a path, the command line) safe for a terminal:
//! it is displayed and never interpreted.
//!
//! What a reader could not see or a terminal could interpret is written as `\u{1b}`, in JSON as
//! `\u001b`: control characters (C0, DEL and C1), bidirectional controls, line and paragraph
//! separators, zero-width and other characters without a glyph. Every renderer and every error uses
//! this module, and so does everything just before it is printed.

use std::fmt::Write as _;

use zeroize::Zeroizing;

/// One line: line breaks and tabs are escaped as well.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// An id or a token, where something may follow it: in double quotes if it would not be recognized,
/// because it is empty or contains spaces, quotes or colons at an end.
pub(crate) fn id(text: &str) -> String {
    let is_plain = !text.is_empty()
        && !text.contains(|character: char| character.is_whitespace() || character == '"')
        && !text.starts_with(':')
        && !text.ends_with(':');
    if is_plain { line(text) } else { line(&format!("\"{}\"", text.replace('"', "\\\""))) }
}

/// One argument of a command that is shown to be copied: in single quotes unless a POSIX shell
/// takes it as it is.
pub(crate) fn argument(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,=".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Several lines that were assembled here, with their line breaks.
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |character| character == '\n')
}

/// A value for a terminal: line breaks and tabs are kept, and a byte that is not UTF-8 is shown as
/// `\xff`.
pub(crate) fn value(bytes: &[u8]) -> Zeroizing<String> {
    /// The longest form of a byte, as in `\u{1b}`; enough capacity, so that no copy of a secret
    /// stays behind.
    const LONGEST: usize = 6;
    let mut shown = Zeroizing::new(String::with_capacity(LONGEST * bytes.len() + 1));
    for chunk in bytes.utf8_chunks() {
        push_escaped(&mut shown, chunk.valid(), |character| matches!(character, '\n' | '\t'));
        for byte in chunk.invalid() {
            // Writing into a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// JSON with the same characters escaped; a JSON parser gets the original text.
///
/// Outside of strings, JSON contains none of these characters but its line breaks.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || is_visible(character) {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    push_escaped(&mut shown, text, is_kept);
    shown
}

fn push_escaped(shown: &mut String, text: &str, is_kept: impl Fn(char) -> bool) {
    for character in text.chars() {
        if is_kept(character) || is_visible(character) {
            shown.push(character);
        } else if matches!(character, '\n' | '\r' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.extend(character.escape_unicode());
        }
    }
}

/// Returns whether a character has a glyph, or modifies that of the one before it.
fn is_visible(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // Invisible letters and marks: Unicode's Default_Ignorable_Code_Point beyond category Cf.
    let is_ignorable = matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    // The standard library knows which characters are printable. It escapes a mark that has nothing
    // to combine with, so it gets a letter before it.
    let mut pair = [b'a'; 5];
    let len = character.encode_utf8(&mut pair[1..]).len();
    let pair = std::str::from_utf8(&pair[..=len]).unwrap_or_default();
    !is_ignorable && pair.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that a terminal interprets, or that is invisible.
    const HOSTILE: [char; 21] = [
        '\0',
        '\u{7}',
        '\u{8}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{9d}',
        '\u{a0}',
        '\u{ad}',
        '\u{200b}',
        '\u{200d}',
        '\u{200f}',
        '\u{202e}',
        '\u{2028}',
        '\u{2029}',
        '\u{2066}',
        '\u{feff}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{e0041}',
    ];

    #[test]
    fn an_argument_is_quoted_where_a_shell_would_change_it() {
        assert_eq!(argument("redb:vault.redb"), "redb:vault.redb");
        assert_eq!(argument("redb:my vault.redb"), "'redb:my vault.redb'");
        assert_eq!(
            argument("postgres://a@b/c?table=t&meta=m"),
            "'postgres://a@b/c?table=t&meta=m'"
        );
        assert_eq!(argument("redb:it's"), r"'redb:it'\''s'");
        assert_eq!(argument(""), "''");
    }

    #[test]
    fn an_id_that_could_be_overlooked_is_quoted() {
        assert_eq!(id("a-b:c_d"), "a-b:c_d");
        assert_eq!(id(""), "\"\"");
        assert_eq!([" a", "a b", "a:"].map(id), ["\" a\"", "\"a b\"", "\"a:\""]);
        assert_eq!(id("a\"\u{1b}"), "\"a\\\"\\u{1b}\"");
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_written_out() {
        for hostile in HOSTILE {
            let text = format!("a{hostile}b");
            let value = value(text.as_bytes()).to_string();
            for shown in [line(&text), lines(&text), value, json(&text)] {
                assert!(!shown.contains(hostile), "{shown}");
                assert!(shown.starts_with("a\\u") && shown.ends_with('b'), "{shown}");
            }
        }
        assert_eq!(line("a\u{1b}[31m\r\n\tb"), "a\\u{1b}[31m\\r\\n\\tb");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["ключ", "日本語", "e\u{301}é", "שלום", "C:\\vault \"x\" 'y'", "🔑 €"]
        {
            assert_eq!((line(text), json(text)), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn a_value_keeps_its_lines_and_shows_its_bytes() {
        assert_eq!(*value(b"one\n\ttwo\xff\x1b[2J"), "one\n\ttwo\\xff\\u{1b}[2J");
        assert_eq!(lines("one\n\ttwo"), "one\n\\ttwo");
    }

    #[test]
    fn json_gives_back_what_was_put_in() {
        let text: String = HOSTILE.iter().chain(&['\n', '"', '\u{10ffff}']).collect();
        let shown = json(&serde_json::to_string(&text).unwrap());
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
