//! Limits of the system that a file, a path or a thread can fail over, and the errors that say so.

use std::{fmt::Display, io};

use crate::error::{StoreError, StoreErrorKind};

/// The system's numbers for "too many open files in this process" and "in the whole system", on
/// every Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// The system's number for "too many levels of symbolic links".
const ELOOP: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 40 } else { 62 };

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

/// The error of a path that cannot lead to a file: symbolic links that lead to one another, or a
/// name that is too long. `None` if something else failed.
#[must_use]
pub fn impossible_path(error: &io::Error, path: &impl Display) -> Option<StoreError> {
    let what = match error.kind() {
        _ if cfg!(unix) && error.raw_os_error() == Some(ELOOP) => {
            "symbolic links that lead to one another, and to no file"
        }
        io::ErrorKind::InvalidFilename => "a file name that is too long or not allowed",
        _ => return None,
    };
    Some(StoreError::new(StoreErrorKind::NotFound, format!("{path}: {what}")))
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
    fn a_path_that_leads_nowhere_is_no_failure_of_the_disk() {
        let looping = io::Error::from_raw_os_error(ELOOP);
        let long = io::Error::from(io::ErrorKind::InvalidFilename);
        for error in [looping, long] {
            let said = impossible_path(&error, &"v").unwrap();
            assert_eq!(said.kind(), StoreErrorKind::NotFound);
        }
        assert!(impossible_path(&io::Error::from_raw_os_error(5), &"v").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_limits_of_open_files_are_recognized() {
        let told = |number| is_out_of_files(&io::Error::from_raw_os_error(number));
        assert_eq!([2, 13, 23, 24, 28].map(told), [false, false, true, true, false]);
        assert!(!is_out_of_files(&io::Error::other("Too many open files")));
    }
}
