//! Limits of the system that a file or a thread can fail over, and the errors that say so.

use std::{fmt::Display, io};

use crate::error::{StoreError, StoreErrorKind};

/// The system's numbers for "too many open files in this process" and "in the whole system", on
/// every Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Whether something failed because no more files can be opened: neither a permission nor the disk
/// is to blame.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// No more files can be opened for the vault at this place.
#[must_use]
pub fn out_of_files(place: &impl Display) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("{place}: too many open files"))
        .with_hint("raise the limit of open files (`ulimit -n`)")
}

/// No thread can be started for the vault at this place.
#[must_use]
pub fn no_thread(place: &impl Display) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("{place}: the system started no thread"))
        .with_hint("raise the limit of processes and threads (`ulimit -u`), or end other programs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn only_the_limits_of_open_files_are_recognized() {
        let told = |number| is_out_of_files(&io::Error::from_raw_os_error(number));
        assert_eq!([2, 13, 23, 24, 28].map(told), [false, false, true, true, false]);
        assert!(!is_out_of_files(&io::Error::other("Too many open files")));
    }
}
