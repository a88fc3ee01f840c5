//! The built command as people run it.

mod bad_input;
mod passwords;
mod records;
mod rekey;
mod sandbox;
