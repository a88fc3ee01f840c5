//! The memory that this process may use: the limit of its Linux control group.

use std::fs;
use std::path::Path;

use vaultstore::run::RunOptions;

/// The default for `--memory-budget`, in KiB: that of the library, or half of what a container
/// allows, where that is less. The other half is for everything that is not Argon2id.
pub(crate) fn default_memory_budget_kib() -> u64 {
    budget(limit(Path::new("/")))
}

fn budget(limit: Option<u64>) -> u64 {
    let half = limit.map_or(u64::MAX, |bytes| bytes / 2 / 1024);
    RunOptions::DEFAULT_MEMORY_BUDGET_KIB.min(half)
}

/// The least limit of the group and its parents, in bytes. `root` is that of the file system.
fn limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    // proc_pid_cgroup: hierarchy:controllers:path, the second is empty in version 2
    let least = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        if controllers.is_empty() {
            least_of_parents(&root.join("sys/fs/cgroup"), group, "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let hierarchy = root.join("sys/fs/cgroup/memory");
            least_of_parents(&hierarchy, group, "memory.limit_in_bytes")
        } else {
            None
        }
    };
    groups.lines().filter_map(least).min()
}

fn least_of_parents(hierarchy: &Path, group: &str, file: &str) -> Option<u64> {
    let group = hierarchy.join(group.trim_start_matches('/'));
    let inside = group.ancestors().take_while(|folder| folder.starts_with(hierarchy));
    // `max` is no number, and no limit.
    let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    inside.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_least_limit_of_a_group_and_its_parents_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(limit(root), None);
        file(root, "proc/self/cgroup", "0::/app/task\n");
        assert_eq!(limit(root), None);
        file(root, "sys/fs/cgroup/app/memory.max", "536870912\n");
        file(root, "sys/fs/cgroup/app/task/memory.max", "max\n");
        assert_eq!(limit(root), Some(512 << 20));
        file(root, "sys/fs/cgroup/app/task/memory.max", "1073741824\n");
        assert_eq!(limit(root), Some(512 << 20));
        // In a container, the group is the root of what it sees.
        file(root, "proc/self/cgroup", "0::/\n");
        file(root, "sys/fs/cgroup/memory.max", "268435456\n");
        assert_eq!(limit(root), Some(256 << 20));
        file(root, "proc/self/cgroup", "5:cpu:/x\n4:memory,other:/x\n");
        file(root, "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(budget(limit(root)), RunOptions::DEFAULT_MEMORY_BUDGET_KIB);
    }

    #[test]
    fn half_of_a_small_container_is_for_argon2id() {
        assert_eq!(budget(Some(512 << 20)), 256 * 1024);
        assert_eq!(budget(None), RunOptions::DEFAULT_MEMORY_BUDGET_KIB);
    }
}
