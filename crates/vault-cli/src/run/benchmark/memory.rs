//! Peak resident memory, as Linux reports it; unknown elsewhere.

use std::fs;

/// The peak resident memory since the last reset, in bytes.
pub(super) fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Resets the peak, and returns whether the system permitted it.
pub(super) fn forget_peak() -> Option<()> {
    // proc(5): 5 resets the peak.
    fs::write("/proc/self/clear_refs", "5").ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn a_peak_is_forgotten_once_the_memory_is_given_back() {
        const LARGE: u64 = 256 << 20;
        let block = vec![1u8; usize::try_from(LARGE).unwrap()];
        assert!(peak().unwrap() > LARGE);
        drop(std::hint::black_box(block));
        // The allocator returns it with a delay, and only when something is requested.
        for _ in 0..1000 {
            drop(std::hint::black_box(vec![1u8; 1 << 20]));
            forget_peak().unwrap();
            if peak().unwrap() < LARGE {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the peak is still {} bytes", peak().unwrap());
    }
}
