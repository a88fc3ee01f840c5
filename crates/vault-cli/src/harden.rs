//! Keeps secrets out of core files, and caught panics off the terminal.

use std::panic;

pub(crate) use crate::platform::forbid_core_dumps;

/// On Linux, prevents other processes of the same user from reading this one's memory.
#[cfg(target_os = "linux")]
pub(crate) fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn hide_memory() {}

/// Silences the message of a panic that a library catches and reports as an error: a damaged
/// database makes its driver panic, and the one clear error is enough. A panic of this program's
/// main thread is still reported.
pub(crate) fn quiet_caught_panics() {
    let before = panic::take_hook();
    let main = std::thread::current().id();
    panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == main {
            before(panic);
        }
    }));
}
