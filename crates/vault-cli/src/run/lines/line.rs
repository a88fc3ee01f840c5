//! One record as a line of JSON.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vaultstore::{Plaintext, Record, RecordId, Timestamp, Token};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secrets::json::{expect, string};

/// A record to import.
pub(super) struct Line {
    pub(super) token: Token,
    pub(super) id: Option<RecordId>,
    pub(super) value: Plaintext,
    pub(super) created_at: Option<Timestamp>,
    pub(super) updated_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) soft_deleted_at: Option<Timestamp>,
}

/// The names of the fields, in the order in which they are written.
const FIELDS: [&str; 8] = [
    "token",
    "id",
    "value",
    "value_base64",
    "created_at",
    "updated_at",
    "expires_at",
    "soft_deleted_at",
];

type Fields = [Option<Zeroizing<Vec<u8>>>; FIELDS.len()];

/// Parses a line. The reason why it is refused repeats nothing of it.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    let mut fields = Fields::default();
    read_fields(line, &mut fields)?;
    let [token, id, text, base64, created_at, updated_at, expires_at, soft_deleted_at] = fields;
    let value = match (text, base64) {
        (Some(text), None) => text,
        (None, Some(base64)) => Zeroizing::new(
            STANDARD.decode(&*base64).map_err(|_| "value_base64 is not base64".to_owned())?,
        ),
        (None, None) => return Err("it has neither value nor value_base64".to_owned()),
        (Some(_), Some(_)) => return Err("it has both value and value_base64".to_owned()),
    };
    let token = token.ok_or("it has no token")?;
    Ok(Line {
        token: parsed("token", &token)?,
        id: id.map(|id| parsed("id", &id)).transpose()?,
        value: plaintext(value),
        created_at: time("created_at", created_at)?,
        updated_at: time("updated_at", updated_at)?,
        expires_at: time("expires_at", expires_at)?,
        soft_deleted_at: time("soft_deleted_at", soft_deleted_at)?,
    })
}

fn plaintext(mut value: Zeroizing<Vec<u8>>) -> Plaintext {
    Plaintext::from(std::mem::take(&mut *value))
}

fn time(name: &str, text: Option<Zeroizing<Vec<u8>>>) -> Result<Option<Timestamp>, String> {
    text.map(|text| {
        parsed(name, &text).map_err(|_| format!("{name} is not a time as in 2027-01-01T00:00:00Z"))
    })
    .transpose()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: &[u8],
) -> Result<T, String> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().map_err(|error: T::Err| format!("{name}: {error}"))
}

/// Reads an object whose values are strings or null.
fn read_fields(line: &[u8], fields: &mut Fields) -> Result<(), String> {
    const NO_OBJECT: &str = "it is not a JSON object with strings as values";
    let mut rest = line;
    expect(&mut rest, b'{').ok_or(NO_OBJECT)?;
    if expect(&mut rest, b'}').is_none() {
        loop {
            let name = string(&mut rest).ok_or(NO_OBJECT)?;
            expect(&mut rest, b':').ok_or(NO_OBJECT)?;
            let known = FIELDS.iter().position(|field| field.as_bytes() == name.as_slice());
            // Its name may be a misplaced secret.
            let known = known.ok_or("it has a field of another name")?;
            let value = match rest.trim_ascii_start().strip_prefix(b"null") {
                Some(after) => {
                    rest = after;
                    None
                }
                None => Some(string(&mut rest).ok_or(NO_OBJECT)?),
            };
            if value.is_some() && std::mem::replace(&mut fields[known], value).is_some() {
                return Err(format!("it has {} twice", FIELDS[known]));
            }
            if expect(&mut rest, b',').is_none() {
                break;
            }
        }
        expect(&mut rest, b'}').ok_or(NO_OBJECT)?;
    }
    if rest.trim_ascii().is_empty() { Ok(()) } else { Err(NO_OBJECT.to_owned()) }
}

/// The line of a record, with its line break.
pub(super) fn write(record: &Record, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let (name, value) = match std::str::from_utf8(value) {
        Ok(text) => ("value", Zeroizing::new(text.to_owned())),
        Err(_) => ("value_base64", Zeroizing::new(STANDARD.encode(value))),
    };
    let mut start = String::from("{");
    for (name, text) in [("token", record.token.as_str()), ("id", record.id.as_str())] {
        // Writing into a String cannot fail.
        let _ = write!(start, "\"{name}\":");
        push_string(&mut start, text);
        start.push(',');
    }
    let mut end = String::new();
    for (name, time) in [
        ("created_at", Some(record.created_at)),
        ("updated_at", Some(record.updated_at)),
        ("expires_at", record.expires_at),
        ("soft_deleted_at", record.soft_deleted_at),
    ] {
        if let Some(time) = time {
            // Writing into a String cannot fail.
            let _ = write!(end, ",\"{name}\":\"{time}\"");
        }
    }
    // Enough capacity, so that no copy of the value stays behind.
    let len = start.len() + name.len() + 3 + quoted_len(&value) + end.len() + 2;
    let mut line = String::with_capacity(len);
    let _ = write!(line, "{start}\"{name}\":");
    push_string(&mut line, &value);
    line.push_str(&end);
    line.push_str("}\n");
    start.zeroize();
    Zeroizing::new(line.into_bytes())
}

/// What a character needs in a JSON string beyond itself.
fn escape_of(character: char) -> Option<char> {
    match character {
        '"' | '\\' => Some(character),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        _ => None,
    }
}

fn quoted_len(text: &str) -> usize {
    let len = |character: char| match escape_of(character) {
        Some(_) => 2,
        None if character.is_control() => 6,
        None => character.len_utf8(),
    };
    2 + text.chars().map(len).sum::<usize>()
}

fn push_string(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match escape_of(character) {
            Some(letter) => line.extend(['\\', letter]),
            None if character.is_control() => {
                // Control characters are below U+00A0: one unit of UTF-16.
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            None => line.push(character),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use vaultstore::store::EnvelopeText;

    use super::*;

    fn record(token: &str) -> Record {
        Record {
            id: RecordId::from_stored("id \"1\""),
            token: Token::new(token).unwrap(),
            envelope: EnvelopeText::from_stored(*b""),
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2_000_000),
            expires_at: Some(Timestamp::from_micros(4_102_444_800_000_000)),
            soft_deleted_at: None,
        }
    }

    #[test]
    fn a_line_gives_back_what_was_written() {
        let all: Vec<u8> = (0..=255).collect();
        for value in [&b""[..], b"text", "ключ\u{1b}\u{9b}\n\t\"\\/\0".as_bytes(), &all] {
            let record = record("a\u{7f}\u{2028}b");
            let line = write(&record, value);
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(json["token"].as_str().unwrap(), record.token.as_str());
            let read = parse(&line).unwrap();
            assert_eq!(read.value.as_bytes(), value);
            assert_eq!((&read.token, read.id.as_ref()), (&record.token, Some(&record.id)));
            assert_eq!(
                (read.created_at, read.updated_at, read.expires_at, read.soft_deleted_at),
                (Some(record.created_at), Some(record.updated_at), record.expires_at, None)
            );
        }
    }

    #[test]
    fn a_line_has_a_token_and_one_value_and_says_what_is_wrong() {
        assert!(parse(br#" { "value" : "" , "token":"t","id":null } "#).is_ok());
        for (line, part) in [
            (&br#"{"value":"hunter2"}"#[..], "no token"),
            (br#"{"token":"t"}"#, "neither value"),
            (br#"{"token":"t","value":"hunter2","value_base64":""}"#, "both value"),
            (br#"{"token":"t","value":"hunter2","value":"hunter2"}"#, "value twice"),
            (br#"{"token":"t","value_base64":"hunter2!"}"#, "not base64"),
            (br#"{"token":"","value":"hunter2"}"#, "token: "),
            (br#"{"token":"t","value":"hunter2","expires_at":"soon"}"#, "expires_at is not"),
            (br#"{"token":"t","value":"x","hunter2":"x"}"#, "another name"),
            (br#"{"token":"t","value":7}"#, "not a JSON object"),
            (br#"{"token":"t","value":"hunter2"} x"#, "not a JSON object"),
            (br#"{"token":"t","value":"hunter2",}"#, "not a JSON object"),
            (br#"["token"]"#, "not a JSON object"),
            (b"{\"token\":\"t\",\"value\":\"\xff\"}", "not a JSON object"),
            (b"{}", "neither value"),
            (b"hunter2", "not a JSON object"),
        ] {
            let why = parse(line).err().unwrap();
            assert!(why.contains(part) && !why.contains("hunter2"), "{why}");
        }
    }
}
