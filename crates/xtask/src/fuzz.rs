//! `cargo xtask fuzz`: builds and runs the targets in `fuzz/` as `cargo fuzz` does, without having
//! to install it.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::command::Run as _;
use crate::workspace::{Workspace, strings, values};

/// Coverage feedback and the address sanitizer, whose allocator enforces the limit of a single
/// allocation. The flags are those of cargo-fuzz 0.13.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Cdebug-assertions";

/// Freed memory that the sanitizer retains counts as resident; safe code may leak; and SQLite,
/// which is C and not instrumented, has two constants of one name.
const ASAN_OPTIONS: &str = "quarantine_size_mb=16:detect_leaks=0:detect_odr_violation=0";

/// Maximum total memory, maximum single allocation, in MiB, and maximum seconds per input.
const LIMITS: [&str; 3] = ["-rss_limit_mb=512", "-malloc_limit_mb=256", "-timeout=10"];

/// How long a process runs before the next one goes on: what a damaged redb file makes the store
/// leak, on purpose, must not add up to the limit.
const ROUND: Duration = Duration::from_mins(1);

/// How many of a failed target's last lines are shown.
const SHOWN_LINES: usize = 40;

/// The result of fuzzing.
pub(crate) enum Fuzzed {
    /// Every target ran for its time and found nothing; with the amount of work.
    Done(String),
    /// Nothing ran, because there is no nightly toolchain.
    NoNightly(String),
}

impl Fuzzed {
    /// Turns a missing toolchain into an error, for a user who asked for fuzzing.
    pub(crate) fn expect_done(self) -> Result<(), String> {
        match self {
            Self::Done(_) => Ok(()),
            Self::NoNightly(why) => Err(why),
        }
    }
}

/// Runs every target for this long, on each core one at a time.
pub(crate) fn run_all(workspace: &Workspace, each: Duration) -> Result<Fuzzed, String> {
    let targets = targets(workspace)?;
    run(workspace, &targets, each)
}

/// Runs all targets for this long together on each core, each from what it has found before.
pub(crate) fn run_together(workspace: &Workspace, all: Duration) -> Result<Fuzzed, String> {
    let targets = targets(workspace)?;
    let count = u32::try_from(targets.len()).map_err(|error| error.to_string())?;
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    run(workspace, &targets, all * u32::try_from(cores).unwrap_or(1) / count)
}

/// Runs one target for this long.
pub(crate) fn run_one(
    workspace: &Workspace,
    target: &str,
    each: Duration,
) -> Result<Fuzzed, String> {
    let targets = targets(workspace)?;
    if targets.iter().any(|known| known == target) {
        return run(workspace, &[target.to_owned()], each);
    }
    Err(format!("there is no fuzz target {target}, only {}", targets.join(", ")))
}

fn run(workspace: &Workspace, targets: &[String], each: Duration) -> Result<Fuzzed, String> {
    if !has_nightly() {
        let why = "coverage feedback needs a nightly toolchain: rustup toolchain install nightly --profile minimal";
        return Ok(Fuzzed::NoNightly(why.to_owned()));
    }
    let programs = build(workspace, targets)?;
    // A target uses one core.
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let said: Result<Vec<Vec<String>>, String> = thread::scope(|scope| {
        let run_some = || {
            let mut said = Vec::new();
            while let Some(target) = targets.get(next.fetch_add(1, Relaxed)) {
                said.push(run_in_rounds(workspace, &programs, target, each)?);
            }
            Ok(said)
        };
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(run_some)).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|said| said.unwrap_or_else(|_| Err("a thread has panicked".to_owned()))).collect()
    });
    Ok(Fuzzed::Done(format!("({})", said?.concat().join(", "))))
}

fn run_in_rounds(
    workspace: &Workspace,
    programs: &Path,
    target: &str,
    each: Duration,
) -> Result<String, String> {
    let mut stats = Stats { inputs: 0, edges: 0 };
    let mut left = each;
    while !left.is_zero() {
        let round = left.min(ROUND);
        let of_round = run_target(workspace, programs, target, round)?;
        stats.inputs += of_round.inputs;
        stats.edges = stats.edges.max(of_round.edges);
        left -= round;
    }
    println!("-- {target}: {} inputs run, {} edges reached", stats.inputs, stats.edges);
    Ok(format!("{target} {} inputs", stats.inputs))
}

fn has_nightly() -> bool {
    let listed = Command::new("rustup").args(["toolchain", "list"]).capture();
    listed.is_ok_and(|listed| {
        String::from_utf8_lossy(&listed).lines().any(|line| line.starts_with("nightly"))
    })
}

/// The binaries of the fuzz package.
fn targets(workspace: &Workspace) -> Result<Vec<String>, String> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml", "--format-version", "1", "--no-deps"];
    let metadata = workspace.cargo("metadata").args(manifest).capture()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)
        .map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
    let targets = values(&metadata["packages"]).flat_map(|package| values(&package["targets"]));
    let programs = targets.filter(|target| strings(&target["kind"]).contains(&"bin"));
    let names: Vec<String> =
        programs.filter_map(|target| target["name"].as_str()).map(str::to_owned).collect();
    if names.is_empty() { Err("fuzz/ has no target".to_owned()) } else { Ok(names) }
}

/// Builds the targets and returns the directory of their programs.
fn build(workspace: &Workspace, targets: &[String]) -> Result<PathBuf, String> {
    let folder = workspace.target.join("fuzz");
    // with a target named, neither build scripts nor macros are instrumented
    let host = host()?;
    let mut command = Command::new("rustup");
    command.current_dir(&workspace.root).args([
        "run",
        "nightly",
        "cargo",
        "build",
        "--locked",
        "--release",
    ]);
    command
        .args(["--manifest-path", "fuzz/Cargo.toml", "--target", &host, "--target-dir"])
        .arg(&folder);
    for target in targets {
        command.args(["--bin", target]);
    }
    // set by the stable cargo that runs this
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command.env("RUSTFLAGS", RUSTFLAGS).run()?;
    Ok(folder.join(host).join("release"))
}

fn host() -> Result<String, String> {
    let version = Command::new("rustup").args(["run", "nightly", "rustc", "-vV"]).capture()?;
    let version = String::from_utf8_lossy(&version);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or("rustc -vV names no host".to_owned())
}

/// Runs one target from its committed seeds; what it finds is kept below the target directory for
/// the next run.
fn run_target(
    workspace: &Workspace,
    programs: &Path,
    target: &str,
    each: Duration,
) -> Result<Stats, String> {
    let seeds = workspace.root.join("fuzz/corpus").join(target);
    let found = workspace.target.join("fuzz/corpus").join(target);
    let artifacts = workspace.root.join("fuzz/artifacts").join(target);
    let log = workspace.target.join("fuzz").join(format!("{target}.log"));
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let log_file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(programs.join(target));
    command.args([&found, &seeds]).args(LIMITS);
    command.arg(format!("-max_total_time={}", each.as_secs())).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    let status = command.env("ASAN_OPTIONS", ASAN_OPTIONS).stderr(log_file).status();
    let status = status.map_err(|error| format!("{target} could not be started: {error}"))?;
    let said = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        let lines: Vec<&str> = said.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            println!("{line}");
        }
        return Err(format!("{target} failed ({status}); the input is in {}", artifacts.display()));
    }
    Stats::parse(&said)
        .ok_or(format!("{target} ran without coverage feedback; see {}", log.display()))
}

/// The statistics of a target.
#[derive(Debug, PartialEq, Eq)]
struct Stats {
    inputs: u64,
    edges: u64,
}

impl Stats {
    /// Parses libFuzzer's statistics; `None` without any input or any edge reached.
    fn parse(said: &str) -> Option<Self> {
        let after = |line: &str, word: &str| {
            line.split_once(word)?.1.split_whitespace().next()?.parse::<u64>().ok()
        };
        let inputs =
            said.lines().find_map(|line| after(line, "stat::number_of_executed_units:"))?;
        let edges = said.lines().rev().find_map(|line| after(line, " cov: "))?;
        (inputs > 0 && edges > 0).then_some(Self { inputs, edges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_figures_are_read_and_a_blind_run_is_none() {
        let said = "#2\tINITED cov: 12 ft: 13\n#99\tDONE   cov: 120 ft: 300 corp: 9/1b\nstat::number_of_executed_units: 99\n";
        assert_eq!(Stats::parse(said), Some(Stats { inputs: 99, edges: 120 }));
        assert_eq!(
            Stats::parse("#99\tDONE corp: 9/1b\nstat::number_of_executed_units: 99\n"),
            None
        );
    }
}
