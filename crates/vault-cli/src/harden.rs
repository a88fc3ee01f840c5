//! Keeps secrets out of core files, and other people's panics off the terminal.

use std::panic;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps.
pub(crate) fn forbid_core_dumps() {
    // Refused only by a policy that is stricter already.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Forbids on Linux that another process of the same user looks into this one's memory.
#[cfg(target_os = "linux")]
pub(crate) fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn hide_memory() {}

/// Silences the message of a panic that a library catches and reports as an error: a damaged database makes its driver
/// panic, and the one clear sentence is enough. A panic of this program's own thread is still told.
pub(crate) fn quiet_caught_panics() {
    let before = panic::take_hook();
    let main = std::thread::current().id();
    panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == main {
            before(panic);
        }
    }));
}
