//! Whether the path of a vault leads to the same file at the end of a run.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::own_file;
use crate::run::Context;

/// The vault's file when the run started.
pub(super) struct Place(Option<(PathBuf, Option<own_file::Identity>)>);

impl Place {
    pub(super) fn of(context: &Context) -> Result<Self, Failure> {
        let Some(path) = context.url.file() else { return Ok(Self(None)) };
        let identity = own_file::Identity::of(path).map_err(|error| {
            Failure::failed(format!("{}: cannot be read", path.display())).because(error)
        })?;
        Ok(Self(Some((path.to_owned(), identity))))
    }

    /// Checks that the path still leads to the file that the run has worked on. `keeps_state` says
    /// whether the run can be resumed.
    pub(super) fn check(&self, keeps_state: bool) -> Result<(), Failure> {
        let Some((path, identity)) = &self.0 else { return Ok(()) };
        match own_file::Identity::of(path) {
            Ok(now) if now == *identity => Ok(()),
            _ => Err(Failure::failed(format!(
                "{}: replaced or removed during the run; the records were re-encrypted in the file that was there \
                 before, not in the one that the path leads to now",
                path.display()
            ))
            .hint(if keeps_state {
                "find out which file is the vault, and run the same command on it; the state is kept"
            } else {
                "find out which file is the vault, and run the same command on it"
            })),
        }
    }
}
