//! What the bytes of a vault's files tell about each record, whatever the format of the files:
//! where its envelope lies, and what else lies there.
//!
//! In a row of redb and of SQLite the envelope follows the token at once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use vaultstore::Record;

use crate::thief::{Sample, count};

const PAGE: usize = 4096;

/// Where envelopes lie in one file.
#[derive(Default)]
struct Found {
    /// By record: where its own envelope lies, and where others of its token lie.
    own: Vec<Vec<usize>>,
    earlier: Vec<Vec<usize>>,
}

/// Looks at a file and its log. The records come in the order of their ids.
pub(crate) fn look(file: &Path, records: &[Record], moved: Vec<bool>) -> Sample {
    let main = find(&std::fs::read(file).unwrap(), records);
    let log = find(&std::fs::read(log_of(file)).unwrap_or_default(), records);
    let place: Vec<f64> = main.own.iter().map(|own| number(own.first())).collect();
    let page: Vec<f64> = place.iter().map(|place| (place / count(PAGE)).floor()).collect();
    let before = |values: &[f64], at: usize| at.checked_sub(1).map_or(0.0, |before| values[before]);
    let jump = |values: &[f64]| -> Vec<f64> {
        (0..values.len()).map(|at| values[at] - before(values, at)).collect()
    };
    let (jumps, page_jumps) = (jump(&place), jump(&page));
    let backwards = jumps.iter().map(|jump| f64::from(u8::from(*jump < 0.0))).collect();
    let after = |at: usize| page_jumps.get(at + 1).copied().unwrap_or_default();
    let mut on_page: HashMap<u64, usize> = HashMap::new();
    for page in &page {
        *on_page.entry(page.to_bits()).or_default() += 1;
    }
    let lens = |lists: &[Vec<usize>]| lists.iter().map(|list| count(list.len())).collect();
    let features = vec![
        ("length", records.iter().map(|record| number_of(record.envelope.len())).collect()),
        ("place", place.clone()),
        ("page", page.clone()),
        ("place in its page", place.iter().map(|place| place % count(PAGE)).collect()),
        ("jump", jumps),
        ("lies before its predecessor", backwards),
        ("pages from its predecessor", page_jumps.iter().map(|jump| jump.abs()).collect()),
        ("pages to its successor", (0..page.len()).map(|at| after(at).abs()).collect()),
        ("records on its page", page.iter().map(|page| count(on_page[&page.to_bits()])).collect()),
        ("copies", lens(&main.own)),
        ("earlier envelopes", lens(&main.earlier)),
        ("last copy", main.own.iter().map(|own| number(own.last())).collect()),
        ("copies in the log", lens(&log.own)),
        ("earlier envelopes in the log", lens(&log.earlier)),
        ("place in the log", log.own.iter().map(|own| number(own.last())).collect()),
    ];
    Sample { moved, features }
}

fn log_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The place of an envelope; before everything if there is none.
fn number(place: Option<&usize>) -> f64 {
    place.map_or(-1.0, |place| count(*place))
}

fn number_of(len: u64) -> f64 {
    count(usize::try_from(len).unwrap())
}

fn find(bytes: &[u8], records: &[Record]) -> Found {
    let mut found =
        Found { own: vec![Vec::new(); records.len()], earlier: vec![Vec::new(); records.len()] };
    let by_token: HashMap<&[u8], usize> = records
        .iter()
        .enumerate()
        .map(|(number, record)| (record.token.as_str().as_bytes(), number))
        .collect();
    let len = records.first().map_or(1, |record| record.token.as_str().len());
    for (place, token) in bytes.windows(len).enumerate() {
        if !token.starts_with(b"tk_") {
            continue;
        }
        let Some(number) = by_token.get(token) else { continue };
        let rest = &bytes[place + len..];
        let own = records[*number].envelope.as_bytes().unwrap();
        if rest.starts_with(own) {
            found.own[*number].push(place);
        } else if rest.starts_with(b"v3:") || rest.starts_with(b"v2:") {
            found.earlier[*number].push(place);
        }
    }
    found
}
