//! The file of `--metrics-file`: figures about the last run, in Prometheus' text format, for the
//! textfile collector of its node exporter.
//!
//! It is written next to its place and renamed, so that a reader never sees half of it. It contains
//! counts only.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use vaultstore::Timestamp;
use vaultstore::time::{Clock as _, SystemClock};

use crate::own_file::{self, Trouble};
use crate::shown;

/// The first line of every such file.
const MAGIC: &str = "# metrics of vaultstore\n";

/// How often the file is written during a run.
const INTERVAL: Duration = Duration::from_secs(5);

static METRICS: Mutex<Option<Metrics>> = Mutex::new(None);

struct Metrics {
    path: PathBuf,
    labels: String,
    started: (Timestamp, Instant),
    written: Instant,
    total: u64,
    done: u64,
    outcomes: BTreeMap<String, u64>,
}

/// Begins the file of this process.
pub(crate) fn begin(path: &Path, command: &str, vault: &str) -> Result<(), Trouble> {
    own_file::check(path, MAGIC.as_bytes())?;
    let now = Instant::now();
    let metrics = Metrics {
        path: path.to_owned(),
        labels: format!("command=\"{}\",vault=\"{}\"", label(command), label(vault)),
        started: (SystemClock.now(), now),
        written: now,
        total: 0,
        done: 0,
        outcomes: BTreeMap::new(),
    };
    metrics.write(None)?;
    *lock() = Some(metrics);
    Ok(())
}

/// Takes the figures of a step, by outcome.
pub(crate) fn observe(total: u64, done: u64, outcomes: impl FnOnce() -> Value) {
    let mut metrics = lock();
    let Some(metrics) = metrics.as_mut() else { return };
    (metrics.total, metrics.done) = (total, done);
    if let Value::Object(outcomes) = outcomes() {
        let counts = outcomes.into_iter().filter_map(|(name, n)| Some((name, n.as_u64()?)));
        metrics.outcomes.extend(counts.filter(|(name, _)| name != "scanned"));
    }
    if metrics.written.elapsed() >= INTERVAL {
        metrics.written = Instant::now();
        // The end of the run reports a file that cannot be written.
        let _ = metrics.write(None);
    }
}

/// Writes the file for the last time. Returns its path if that fails.
pub(crate) fn end(exit_code: u8) -> Result<(), (PathBuf, Trouble)> {
    match lock().take() {
        Some(metrics) => {
            metrics.write(Some(exit_code)).map_err(|trouble| (metrics.path.clone(), trouble))
        }
        None => Ok(()),
    }
}

fn lock() -> MutexGuard<'static, Option<Metrics>> {
    METRICS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a label, as the text format escapes it.
fn label(text: &str) -> String {
    shown::line(text).replace('\\', "\\\\").replace('"', "\\\"")
}

impl Metrics {
    fn text(&self, exit_code: Option<u8>, now: Timestamp) -> String {
        let mut text = MAGIC.to_owned();
        let labels = &self.labels;
        let mut gauge = |name: &str, help: &str, values: &[(String, String)]| {
            // Writing into a String cannot fail.
            let _ =
                writeln!(text, "# HELP vaultstore_{name} {help}\n# TYPE vaultstore_{name} gauge");
            for (more, value) in values {
                let _ = writeln!(text, "vaultstore_{name}{{{labels}{more}}} {value}");
            }
        };
        let one = |value: String| [(String::new(), value)];
        gauge("run_start_time_seconds", "When the run began.", &one(seconds(self.started.0)));
        gauge(
            "run_duration_seconds",
            "How long the run has taken.",
            &one(format!("{:.3}", self.started.1.elapsed().as_secs_f64())),
        );
        gauge("run_records", "Records to go through.", &one(self.total.to_string()));
        gauge("run_done", "Records gone through.", &one(self.done.to_string()));
        let outcome = |(name, n): (&String, &u64)| (format!(",outcome=\"{name}\""), n.to_string());
        let outcomes: Vec<_> = self.outcomes.iter().map(outcome).collect();
        if !outcomes.is_empty() {
            gauge("run_outcomes", "Records by outcome.", &outcomes);
        }
        let running = u8::from(exit_code.is_none()).to_string();
        gauge("run_running", "Whether the run has not ended.", &one(running));
        if let Some(code) = exit_code {
            gauge("run_end_time_seconds", "When the run ended.", &one(seconds(now)));
            gauge("run_exit_code", "The exit code of the run.", &one(code.to_string()));
        }
        text
    }

    fn write(&self, exit_code: Option<u8>) -> Result<(), Trouble> {
        own_file::check(&self.path, MAGIC.as_bytes())?;
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        // The collector reads only names that end with .prom, so never this one, and runs as
        // another user.
        let mut fresh = own_file::readable_by_all(".vaultstore-metrics-", folder)?;
        fresh.write_all(self.text(exit_code, SystemClock.now()).as_bytes())?;
        fresh.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn seconds(time: Timestamp) -> String {
    let micros = time.as_micros();
    format!("{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_text_format() {
        let metrics = Metrics {
            path: PathBuf::new(),
            labels: format!("vault=\"{}\"", label("redb:a\"b\\c\n")),
            started: (Timestamp::from_micros(1_500_000), Instant::now()),
            written: Instant::now(),
            total: 7,
            done: 5,
            outcomes: [("rekeyed".to_owned(), 3)].into(),
        };
        let text = metrics.text(Some(4), Timestamp::from_micros(2_000_001));
        let labels = r#"vault="redb:a\"b\\c\\n""#;
        for line in [
            format!("vaultstore_run_start_time_seconds{{{labels}}} 1.500000"),
            format!("vaultstore_run_outcomes{{{labels},outcome=\"rekeyed\"}} 3"),
            format!("vaultstore_run_end_time_seconds{{{labels}}} 2.000001"),
            format!("vaultstore_run_exit_code{{{labels}}} 4"),
            format!("vaultstore_run_running{{{labels}}} 0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!metrics.text(None, Timestamp::from_micros(0)).contains("exit_code"));
    }
}
