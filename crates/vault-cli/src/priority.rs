//! Who goes first when there are more threads than cores.

/// How much lower the calling thread's priority is from now on, of 19 that it can be: a tenth of the share of a thread that
/// has not been lowered, as far as both want the same core.
#[cfg(target_os = "linux")]
const LOWER_BY: i32 = 10;

/// Lets the other threads of this process, and of the machine, come before the calling one, which only computes.
///
/// The thread that writes is the one that everybody waits for in the end: with the workers below it, a rekey of a million
/// records took a twentieth less time.
#[cfg(target_os = "linux")]
pub(crate) fn be_patient() {
    // On Linux it is the thread's priority, not the process's. Where it is refused, nothing is lost.
    let _ = rustix::process::nice(LOWER_BY);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn be_patient() {}
