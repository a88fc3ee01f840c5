//! A file of password pairs: one JSON array of two strings per line.

use std::path::Path;

use vaultstore::Password;

use super::pair::parse_pair;
use super::{read_file, read_to_end, stdin, unreadable};
use crate::exit::Failure;

/// The maximum size of a file of pairs, in bytes.
const MAX_PAIRS: usize = 16 * 1024 * 1024;

/// Reads the pairs; `-` is standard input. Empty lines are skipped.
pub(crate) fn read_pairs(path: &Path) -> Result<Vec<(Password, Password)>, Failure> {
    let text = if path == Path::new("-") {
        read_to_end(&mut stdin()?, 0, MAX_PAIRS)
            .map_err(|error| unreadable("standard input", MAX_PAIRS, error))?
    } else {
        read_file(path, MAX_PAIRS)?
    };
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    filled
        .map(|(number, line)| {
            parse_pair(line).ok_or_else(|| {
                Failure::usage(format!("line {} of the pairs is not valid", number + 1))
                    .hint("write each pair on a line of its own, as [\"old\",\"new\"]")
            })
        })
        .collect()
}
