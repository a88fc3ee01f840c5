//! Thread priorities when there are more threads than cores.

/// How much to lower the calling thread's priority, of at most 19: about a tenth of the CPU share
/// of a thread with normal priority, if both compete for one core.
#[cfg(target_os = "linux")]
const LOWER_BY: i32 = 10;

/// Lowers the priority of the calling thread, which only computes, below the other threads of this
/// process and the machine.
///
/// The run as a whole waits for the thread that writes. With the workers below it, a rekey of a
/// million records took a twentieth less time.
#[cfg(target_os = "linux")]
pub(crate) fn be_patient() {
    // On Linux this is the thread's priority, not the process's. If it fails, nothing is lost.
    let _ = rustix::process::nice(LOWER_BY);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn be_patient() {}
