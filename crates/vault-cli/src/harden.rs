//! Keeps secrets out of core files, and caught panics off the terminal.

use std::{
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

pub(crate) use crate::platform::forbid_core_dumps;

use crate::exit::Failure;

/// On Linux, prevents other processes of the same user from reading this one's memory.
#[cfg(target_os = "linux")]
pub(crate) fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn hide_memory() {}

/// Where the last panic of the main thread was.
static PANICKED_AT: Mutex<Option<String>> = Mutex::new(None);

/// Silences the messages of panics, all of which are caught and reported as an error: on other
/// threads by the library that runs there (a damaged database makes its driver panic), on the main
/// thread by [`without_panics`].
pub(crate) fn quiet_panics() {
    let main = std::thread::current().id();
    panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == main {
            *PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner) =
                panic.location().map(ToString::to_string);
        }
    }));
}

/// Turns a panic into a failure that names its place in the source. Its message stays out: it may
/// quote anything.
pub(crate) fn without_panics<T>(
    command: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Asserted, because nothing is used after a panic: the process ends.
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        let place = PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner).take();
        let place = place.as_deref().unwrap_or("an unknown place");
        Err(Failure::failed(format!("internal error at {place}"))
            .hint("this is a bug in vaultstore; please report it"))
    })
}
