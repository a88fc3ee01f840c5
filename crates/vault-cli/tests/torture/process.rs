//! A rekey in a process of its own, which can be held between two pages.

use std::{
    io::{BufRead as _, BufReader, Lines, PipeReader, Read as _, pipe},
    process::{Child, Command, ExitStatus, Output},
    thread,
};

use serde_json::Value;

/// A rekey that reports every page on a narrow pipe. While that is not read, it waits before its
/// next page, some pages further on at most, and with no lock of a store in its hands.
pub(crate) struct Rekey {
    child: Child,
    lines: Lines<BufReader<PipeReader>>,
    /// What it said that is not progress.
    said: String,
}

impl Rekey {
    pub(crate) fn begin(mut command: Command) -> Self {
        let (reader, writer) = pipe().unwrap();
        narrow(&reader);
        command.args(["--progress", "json"]).stderr(writer);
        let child = command.spawn().unwrap();
        // With the command goes our end for writing: what is left is the child's.
        drop(command);
        let lines = BufReader::with_capacity(64, reader).lines();
        Self { child, lines, said: String::new() }
    }

    /// Lets it continue until it has rekeyed that many records, earlier runs included; whether it
    /// came that far.
    pub(crate) fn until(&mut self, rekeyed: u64) -> bool {
        while let Some(step) = self.step() {
            if step["rekeyed"].as_u64() >= Some(rekeyed) {
                return true;
            }
        }
        false
    }

    /// Lets it continue until it has rekeyed that many records, which it must come to.
    pub(crate) fn reach(&mut self, rekeyed: u64) {
        let reached = self.until(rekeyed);
        assert!(reached, "{:?} before {rekeyed} records: {}", self.child.wait(), self.said);
    }

    /// The next line's progress, or null when it says something else; none when it has ended.
    fn step(&mut self) -> Option<Value> {
        let line = self.lines.next()?.unwrap();
        let step: Value = serde_json::from_str(&line).unwrap_or_default();
        if step.is_null() {
            self.said.extend([&line, "\n"]);
        }
        Some(step)
    }

    pub(crate) fn id(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Lets it run to its end.
    pub(crate) fn finish(mut self) -> Output {
        while self.step().is_some() {}
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        Output { status, stdout, stderr: std::mem::take(&mut self.said).into_bytes() }
    }

    /// Lets all of them run to their ends at once.
    pub(crate) fn finish_all(all: Vec<Self>) -> Vec<Output> {
        let ends: Vec<_> = all.into_iter().map(|one| thread::spawn(move || one.finish())).collect();
        ends.into_iter().map(|end| end.join().unwrap()).collect()
    }
}

/// Leaves nothing running when a test fails.
impl Drop for Rekey {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As narrow as the system makes it: some fifteen lines. Elsewhere a pipe holds a few hundred.
#[cfg(target_os = "linux")]
fn narrow(pipe: &PipeReader) {
    rustix::pipe::fcntl_setpipe_size(pipe, 4096).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn narrow(_: &PipeReader) {}

/// What a scanned record can be.
const OUTCOMES: [&str; 11] = [
    "rekeyed",
    "other_password",
    "already_new",
    "damaged",
    "malformed",
    "conflict",
    "missing",
    "failed",
    "v1_not_tried",
    "below_floor",
    "other_salts",
];

/// The report of a rekey that ended with this code. Every record that was scanned is one thing.
pub(crate) fn report(output: &Output, code: i32) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = OUTCOMES.iter().map(|outcome| report[outcome].as_u64().unwrap()).sum::<u64>();
    assert_eq!(report["scanned"].as_u64(), Some(sum), "{report}");
    report
}
