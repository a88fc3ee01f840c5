//! Files that are created as a whole or not at all, even if the process is killed or the power
//! fails.
//!
//! [`NewFile`] is for a vault's file, which a database writes: it is created in a private folder
//! next to its path, flushed, and renamed to that path, which must be free; then the parent folder
//! is flushed. It also replaces such a file by another one in one step, with the same owner, mode
//! and attributes ([`copy_attributes`]); one that [`is_leftover`] recognizes, because it contains
//! nothing, does not count. [`Disk`] covers every change that vaultstore itself makes
//! to files and folders, so that a test can record the changes and simulate a power cut after each
//! of them.

mod attributes;
mod blocks;
mod disk;
mod leftover;
mod new_file;
#[cfg(test)]
mod power;
mod steps;

pub use attributes::{Identity, NotCopied, copy_attributes};
pub use blocks::{Blocks, BlocksWere, free_bytes, give_up};
pub use disk::{Disk, System, has_no_room};
pub use leftover::{HeaderLen, START, is_leftover, is_ours_alone};
pub use new_file::{IsLeft, NewFile, Trouble};
pub use steps::{NotReplaced, create_folder, remove, replace};
