//! Progress on standard error: a bar on a terminal, lines elsewhere, JSON for programs.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use super::figures;
use crate::args::ProgressMode;
use crate::exit::{self, Loudness};
use crate::{log_file, metrics_file, platform, shown};

/// The interval between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// How often the bar updates its clock while no page is committed.
const TICK: Duration = Duration::from_millis(250);

/// Shows the progress of one phase.
pub(crate) struct Progress {
    phase: &'static str,
    total: u64,
    started: Instant,
    done: u64,
    read: u64,
    /// When the log got its last line.
    logged: Instant,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    Lines { last: Instant },
    Json,
    Nothing,
}

/// The progress of a run, in counts only: it must not reveal which records matched.
#[derive(Debug, Serialize)]
pub(crate) struct Step<'a, D: Serialize> {
    /// Records done.
    pub(crate) done: u64,
    /// Records that an earlier pass read.
    #[serde(skip)]
    pub(crate) before: u64,
    /// The text after the number.
    #[serde(skip)]
    pub(crate) note: String,
    /// The details for JSON.
    #[serde(flatten)]
    pub(crate) detail: &'a D,
}

/// A phase without details.
#[derive(Debug, Serialize)]
pub(crate) struct NoDetail {}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    phase: &'a str,
    total: u64,
    elapsed_seconds: f64,
    #[serde(flatten)]
    step: &'a T,
}

impl Progress {
    pub(crate) fn start(mode: ProgressMode, phase: &'static str, total: u64) -> Self {
        let now = Instant::now();
        exit::step(&format!("{phase}: begins, {}", figures::records(total)));
        let quiet = !exit::is_as_loud_as(Loudness::Usual);
        let show = match mode {
            ProgressMode::Auto if quiet => Show::Nothing,
            // Nobody knows how many lines there are.
            ProgressMode::Auto | ProgressMode::Bar if total == 0 => Show::Lines { last: now },
            ProgressMode::Auto if io::stderr().is_terminal() => Show::Bar(bar(phase, total)),
            ProgressMode::Bar => Show::Bar(bar(phase, total)),
            ProgressMode::Auto | ProgressMode::Lines => Show::Lines { last: Instant::now() },
            ProgressMode::Json => Show::Json,
            ProgressMode::None => Show::Nothing,
        };
        Self { phase, total, started: now, done: 0, read: 0, logged: now, show }
    }

    /// Records read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    pub(crate) fn step<D: Serialize>(&mut self, step: &Step<'_, D>) {
        (self.done, self.read) = (step.done, step.done + step.before);
        metrics_file::observe(self.total.max(step.done), step.done, || {
            serde_json::to_value(step.detail).unwrap_or_default()
        });
        if self.logged.elapsed() >= BETWEEN_LINES {
            self.logged = Instant::now();
            log_file::append("progress", &self.sentence(step));
        }
        match &mut self.show {
            Show::Bar(bar) => {
                // Records may be added concurrently.
                bar.set_length(self.total.max(step.done));
                bar.set_message(step.note.clone());
                bar.set_position(step.done);
            }
            Show::Lines { last } => {
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    tell(&self.sentence(step));
                }
            }
            Show::Json => {
                let elapsed_seconds = self.started.elapsed().as_secs_f64();
                let line = Line { phase: self.phase, total: self.total, elapsed_seconds, step };
                if let Ok(line) = serde_json::to_string(&line) {
                    tell(&shown::json(&line));
                }
            }
            Show::Nothing => {}
        }
    }

    /// Prints a line without disturbing the bar.
    pub(crate) fn say(&self, sentence: &str) {
        match &self.show {
            Show::Bar(bar) => bar.suspend(|| exit::note(sentence)),
            _ => exit::note(sentence),
        }
    }

    fn sentence<D: Serialize>(&self, step: &Step<'_, D>) -> String {
        let (done, elapsed) = (figures::count(step.done), self.started.elapsed());
        let left = match left(step.done, self.total, elapsed) {
            Some(left) => format!(", about {} left", figures::about(left)),
            None => String::new(),
        };
        let (phase, total, rate) =
            (self.phase, figures::count(self.total), figures::rate(step.done, elapsed));
        let note = if step.note.is_empty() { String::new() } else { format!(", {}", step.note) };
        let of = if self.total == 0 { String::new() } else { format!(" of {total}") };
        format!("{phase}: {done}{of}, {rate} records/s{note}{left}")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
        exit::step(&format!(
            "{}: ends, {} in {}",
            self.phase,
            figures::records(self.done),
            figures::seconds(self.started.elapsed())
        ));
    }
}

/// What fits the columns of a terminal.
fn template(columns: Option<usize>) -> &'static str {
    match columns {
        Some(..60) => "{prefix} {percent} % {human_pos}/{human_len}",
        Some(60..110) => {
            "{prefix:>6} {bar:12} {percent:>3} % {human_pos}/{human_len} {mean_rate}{time_left}"
        }
        _ => {
            "{prefix:>9} {bar:28} {percent:>3} %  {human_pos}/{human_len}  {mean_rate}{time_left}  {msg}"
        }
    }
}

fn bar(phase: &'static str, total: u64) -> ProgressBar {
    let template = template(platform::columns(io::stderr()));
    let bar = ProgressBar::new(total).with_prefix(phase);
    // The templates are constants; if it were invalid, the default bar would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        let style = style
            .progress_chars("━╸─")
            .with_key("mean_rate", mean_rate)
            .with_key("time_left", time_left);
        bar.set_style(style);
    }
    keep_ticking(&bar);
    bar
}

/// Moves the bar's clock until it is finished. Where the system starts no thread, over which
/// indicatif's own ticker would panic, the bar moves with each page only.
fn keep_ticking(bar: &ProgressBar) {
    let bar = bar.downgrade();
    let thread = thread::Builder::new().name("vaultstore-bar".to_owned());
    let _ = thread.spawn(move || {
        loop {
            thread::sleep(TICK);
            match bar.upgrade() {
                Some(bar) if !bar.is_finished() => bar.tick(),
                _ => return,
            }
        }
    });
}

/// The mean since the start of the phase: pages come in bursts, and a momentary rate would jump.
fn mean_rate(state: &ProgressState, shown: &mut dyn fmt::Write) {
    // Nothing can be done if this fails.
    let _ = write!(shown, "{} records/s", figures::rate(state.pos(), state.elapsed()));
}

fn time_left(state: &ProgressState, shown: &mut dyn fmt::Write) {
    if let Some(left) = left(state.pos(), state.len().unwrap_or_default(), state.elapsed()) {
        let _ = write!(shown, "  {} left", figures::about(left));
    }
}

/// The remaining time at the mean rate so far.
fn left(done: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    let rest = total.checked_sub(done).filter(|_| done > 0)?;
    let seconds = elapsed.as_secs_f64() / figures::as_float(done) * figures::as_float(rest);
    Duration::try_from_secs_f64(seconds).ok()
}

fn tell(line: &str) {
    // If standard error is closed, there is nowhere to report to.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        assert_eq!(left(50, 100, Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(left(0, 100, Duration::from_secs(7)), None);
        assert_eq!(left(101, 100, Duration::from_secs(7)), None);
    }
}
