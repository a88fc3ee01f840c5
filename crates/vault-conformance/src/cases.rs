//! The cases: one async function per sentence of the contract, named after it.
//!
//! Each makes its own fresh store and panics when the sentence does not hold.

mod batches;
mod pages;
mod records;
mod settings;
mod texts;

pub use batches::*;
pub use pages::*;
pub use records::*;
pub use settings::*;
pub use texts::*;
