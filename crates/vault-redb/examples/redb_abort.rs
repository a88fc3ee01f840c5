//! A damaged file makes stock redb abort the process: for its authors, with nothing of ours.
//!
//! ```sh
//! cargo run --release --package vaultstore-redb --example redb_abort
//! ```
//!
//! It makes a database with freed pages, writes an offset beyond the page into one leaf after
//! another, and opens and drops each in a process of its own. docs/redb-abort.md explains what it
//! prints. With debug assertions, redb panics when it opens such a file, and nothing aborts.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(clippy::expect_used, reason = "it shows a panic")]

use std::{env, fs, path::Path, process::Command};

use redb::{Database, TableDefinition};

const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("table");
const PAGE: usize = 4096;
/// The first byte of a leaf, and where the first offset in it is.
const LEAF: u8 = 1;
const FIRST_OFFSET: usize = 4;

fn main() {
    if let Some(path) = env::args_os().nth(1) {
        let database = Database::open(&path).expect("opening succeeds");
        drop(database);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.redb");
    make(&path);
    let whole = fs::read(&path).expect("the file is there");
    let mut aborts = 0;
    for page in (PAGE..whole.len()).step_by(PAGE).filter(|page| whole[*page] == LEAF) {
        let mut damaged = whole.clone();
        let offset = damaged.iter_mut().skip(page + FIRST_OFFSET).take(4);
        offset.zip(262_144_u32.to_le_bytes()).for_each(|(byte, new)| *byte = new);
        fs::write(&path, damaged).expect("it can be written");
        let this = env::current_exe().expect("the path of this program");
        let child = Command::new(this).arg(&path).output().expect("it starts");
        if !child.status.success() && child.status.code().is_none() {
            aborts += 1;
            println!("leaf at {page}: open and drop ended with {}", child.status);
            let said = String::from_utf8_lossy(&child.stderr).into_owned();
            for line in
                said.lines().filter(|line| line.contains("panicked") || line.contains("range"))
            {
                println!("    {line}");
            }
        }
    }
    println!("{aborts} of these files ended the process by a signal");
}

/// A database whose last commits have freed pages.
fn make(path: &Path) {
    let database = Database::create(path).expect("a new file");
    for round in 0..4 {
        let write = database.begin_write().expect("no other writer");
        let mut table = write.open_table(TABLE).expect("a table of this type");
        for key in 0..300 {
            table.insert(key, [round; 200].as_slice()).expect("there is room");
        }
        drop(table);
        write.commit().expect("there is room");
    }
}
