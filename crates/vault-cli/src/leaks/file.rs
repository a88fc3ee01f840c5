//! Envelopes in a file, found as a thief finds them: by what they begin with, whatever the database
//! says about the bytes around them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// The beginning of a text that no two texts share: a v3 has part of its nonce in it, a v2 its
/// salt.
const KEY_LEN: usize = 63;

const PIECE: usize = 1 << 20;

/// The beginning of the text of an envelope, as a number.
pub(crate) fn key_of(text: &[u8]) -> Option<u64> {
    let key = text.get(..KEY_LEN)?;
    let is_version = key.starts_with(b"v3:") || key.starts_with(b"v2:");
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !is_version || !key[3..].iter().all(is_text) {
        return None;
    }
    // FNV-1a: texts that were made to collide only hide what their maker knows.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    Some(key.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// What a record's envelope is called, and where it lies.
pub(crate) struct Shape {
    /// By the beginning of its text, the number of each record.
    pub(crate) known: HashMap<u64, usize>,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The last place of each record's envelope, by its number.
    pub(crate) places: HashMap<usize, i64>,
    /// How many envelopes no record has.
    pub(crate) old: u64,
}

/// Looks through a file from its beginning to its end. A file that is not there holds nothing.
pub(crate) fn find(path: &Path, shape: &Shape) -> io::Result<Found> {
    let mut found = Found::default();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut piece = vec![0; PIECE + KEY_LEN];
    let (mut kept, mut offset) = (0, 0_i64);
    loop {
        let read = file.read(&mut piece[kept..])?;
        let end = kept + read;
        let bytes = &piece[..end];
        // The last bytes are looked at again with what follows them.
        let until = if read == 0 { end } else { end.saturating_sub(KEY_LEN) };
        let mut at = 0;
        while let Some(next) = bytes[at..until].iter().position(|byte| *byte == b'v') {
            at += next;
            if let Some(key) = key_of(&bytes[at..]) {
                let place = offset.saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
                match shape.known.get(&key) {
                    Some(record) => drop(found.places.insert(*record, place)),
                    None => found.old += 1,
                }
            }
            at += 1;
        }
        if read == 0 {
            return Ok(found);
        }
        offset = offset.saturating_add(i64::try_from(until).unwrap_or(i64::MAX));
        piece.copy_within(until..end, 0);
        kept = end - until;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(number: usize) -> String {
        format!("v3:{number:0>60}{}", "A".repeat(200))
    }

    #[test]
    fn envelopes_are_found_wherever_a_file_is_cut_into_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let known = (0..20).map(|number| (key_of(text(number).as_bytes()).unwrap(), number));
        let shape = Shape { known: known.collect() };
        assert!(find(&path, &shape).unwrap().places.is_empty());
        for gap in [PIECE - 30, PIECE / 3, 100] {
            let mut bytes = Vec::new();
            for number in 0..22 {
                bytes.extend_from_slice(&vec![b'v'; gap]);
                bytes.extend_from_slice(text(number).as_bytes());
            }
            fs::write(&path, &bytes).unwrap();
            let found = find(&path, &shape).unwrap();
            assert_eq!((found.places.len(), found.old), (20, 2), "{gap}");
            for (number, place) in found.places {
                let place = usize::try_from(place).unwrap();
                assert!(bytes[place..].starts_with(text(number).as_bytes()), "{gap}");
            }
        }
    }
}
