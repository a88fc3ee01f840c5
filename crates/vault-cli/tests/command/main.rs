//! The built command as people run it.
//!
//! `cfg(test)` holds for all of it, and tells clippy that these are tests down to the last
//! function.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod backends;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod files;
#[cfg(test)]
mod first_minute;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod go_package;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod identities;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod making;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod records;
#[cfg(test)]
mod rekey;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod scrub;
#[cfg(test)]
mod states;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod verdicts;
