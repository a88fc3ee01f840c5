//! What must hold for every input, one function for each fuzz target.
//!
//! They are ordinary functions, so that `tests/fuzz_corpus.rs` replays the seeds on a stable
//! toolchain.

#![forbid(unsafe_code)]

mod cursor;
mod opening;
mod parsing;
mod sealer;
mod settings;

pub use cursor::list_cursor;
pub use opening::{open, open_for_token};
pub use parsing::{envelope_parse, parse_emit_identity};
pub use settings::settings;
