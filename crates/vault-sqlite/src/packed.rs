//! Packs many texts into two parameters of one statement.
//!
//! The number of parameters of a statement is limited, and JSON can contain neither NUL nor bytes
//! that are not text. So the texts go into one blob, and a JSON array says for each row where its
//! texts are: `[position, length, …]`, in bytes, counted from 1 as in `substr`. The first byte
//! belongs to none of them. For an envelope that was never loaded only the length is known; its
//! position is 0.

use std::fmt::Write as _;

use vault_store::EnvelopeText;

/// Rows of texts, to be bound as `?1` (positions) and `?2` (bytes).
#[derive(Debug)]
pub(crate) struct Packed {
    places: String,
    bytes: Vec<u8>,
}

/// One text of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    /// The text.
    Text(&'a [u8]),
    /// The length of a text that is not loaded.
    Length(u64),
}

impl<'a> From<&'a [u8]> for Part<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a EnvelopeText> for Part<'a> {
    fn from(envelope: &'a EnvelopeText) -> Self {
        envelope.as_bytes().map_or(Self::Length(envelope.len()), Self::Text)
    }
}

impl Packed {
    /// Packs one row of texts per item.
    pub(crate) fn rows<'a, T: Into<Part<'a>>, const PARTS: usize>(
        rows: impl IntoIterator<Item = [T; PARTS]>,
    ) -> Self {
        // Never empty, because SQLite's `substr` of an empty blob is NULL, even for an empty text.
        let mut packed = Self { places: String::from("["), bytes: vec![0] };
        for row in rows {
            packed.push(row);
        }
        packed.places.push(']');
        packed
    }

    /// Returns the two parameters.
    pub(crate) fn into_parameters(self) -> (String, Vec<u8>) {
        (self.places, self.bytes)
    }

    fn push<'a, T: Into<Part<'a>>, const PARTS: usize>(&mut self, row: [T; PARTS]) {
        if self.places.len() > 1 {
            self.places.push(',');
        }
        let mut separator = '[';
        for part in row {
            // Writing into a String cannot fail.
            let _ = match part.into() {
                Part::Text(text) => {
                    let position = self.bytes.len() + 1;
                    self.bytes.extend_from_slice(text);
                    write!(self.places, "{separator}{position},{}", text.len())
                }
                Part::Length(len) => write!(self.places, "{separator}0,{len}"),
            };
            separator = ',';
        }
        self.places.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_in_bytes() {
        let long = EnvelopeText::too_long(1 << 40);
        let rows = [
            [Part::Text("é".as_bytes()), Part::Text(b"")],
            [Part::from(&long), Part::Text(b"\0abc")],
        ];
        let (places, bytes) = Packed::rows(rows).into_parameters();
        assert_eq!(places, "[[2,2,4,0],[0,1099511627776,4,4]]");
        assert_eq!(bytes, "\0é\0abc".as_bytes());
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        let packed = Packed::rows::<Part<'_>, 1>([]);
        assert_eq!(packed.into_parameters(), ("[]".to_owned(), vec![0]));
    }
}
