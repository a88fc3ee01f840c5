//! What must hold for every input, one function for each fuzz target.
//!
//! They are ordinary functions, so that `tests/fuzz_corpus.rs` replays the seeds on a stable
//! toolchain.

#![forbid(unsafe_code)]

mod address;
mod cursor;
mod files;
mod opening;
mod pairs;
mod parsing;
mod sealer;
mod settings;
mod state;

pub use address::address;
pub use cursor::list_cursor;
pub use files::{redb_file, sqlite_file};
pub use opening::{open, open_for_token};
pub use pairs::pairs;
pub use parsing::{envelope_parse, parse_emit_identity};
pub use settings::settings;
pub use state::state;
