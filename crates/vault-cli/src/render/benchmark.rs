//! The output of `benchmark-rekey`.

use std::{fmt::Write as _, time::Duration};

use serde::{Serialize, Serializer};

use vaultstore::StoreUrl;

use super::figures;
use crate::args::BenchmarkArgs;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) records: u64,
    pub(crate) format: String,
    pub(crate) kdf: String,
    pub(crate) value_bytes: u32,
    pub(crate) passwords: u32,
    pub(crate) workers: usize,
    #[serde(rename = "fill_seconds", serialize_with = "in_seconds")]
    pub(crate) fill: Duration,
    #[serde(rename = "floor_before_seconds", serialize_with = "in_seconds")]
    pub(crate) floor_before: Duration,
    #[serde(rename = "rekey_seconds", serialize_with = "in_seconds")]
    pub(crate) rekey: Duration,
    #[serde(rename = "merge_check_seconds", serialize_with = "in_seconds")]
    pub(crate) merge_check: Duration,
    #[serde(rename = "catch_up_seconds", serialize_with = "in_seconds")]
    pub(crate) catch_up: Duration,
    #[serde(rename = "read_seconds", serialize_with = "in_seconds")]
    pub(crate) read: Duration,
    #[serde(rename = "crypto_cpu_seconds", serialize_with = "in_seconds")]
    pub(crate) crypto: Duration,
    #[serde(rename = "commit_seconds", serialize_with = "in_seconds")]
    pub(crate) commit: Duration,
    #[serde(rename = "floor_after_seconds", serialize_with = "in_seconds")]
    pub(crate) floor_after: Duration,
    #[serde(rename = "verify_seconds", serialize_with = "in_seconds")]
    pub(crate) verify: Duration,
    pub(crate) rekeyed: u64,
    pub(crate) other_password: u64,
    pub(crate) derivations: u64,
    pub(crate) pages: u64,
    /// v2 only: Argon2id per second of one thread alone.
    pub(crate) alone_per_second: Option<f64>,
    #[serde(flatten)]
    pub(crate) memory: PeakMemory,
    /// If the vault is a file.
    pub(crate) file_bytes: Option<u64>,
    /// Whether every record is as expected.
    pub(crate) correct: bool,
}

/// Peak resident memory in bytes, if the system reports it.
#[derive(Debug, Serialize)]
pub(crate) struct PeakMemory {
    #[serde(rename = "rekey_peak_memory_bytes")]
    pub(crate) of_rekey: Option<u64>,
    #[serde(rename = "run_peak_memory_bytes")]
    pub(crate) of_run: Option<u64>,
}

/// The figures and values derived from them.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    rekey_records_per_second: f64,
    /// Rekey time over the mean of both floors.
    floor_ratio: f64,
    /// v2 only: the achieved Argon2id rate divided by that of one thread alone times the workers.
    kdf_efficiency: Option<f64>,
}

impl Figures {
    pub(crate) fn json(&self) -> Report<'_> {
        Report {
            figures: self,
            rekey_records_per_second: figures::per_second(self.records, self.rekey),
            floor_ratio: ratio(self.rekey, self.mean_floor()),
            kdf_efficiency: self.kdf_efficiency(),
        }
    }

    fn mean_floor(&self) -> Duration {
        (self.floor_before + self.floor_after) / 2
    }

    fn kdf_efficiency(&self) -> Option<f64> {
        let reached = figures::per_second(self.derivations, self.rekey);
        self.alone_per_second
            .map(|alone| reached / (alone * figures::as_float(self.workers as u64)))
    }
}

/// Announces what will happen.
pub(crate) fn heading(args: &BenchmarkArgs, vault: &StoreUrl) -> String {
    let records = figures::count(args.records.get());
    let share = args.matching * 100.0;
    format!(
        "Bulk rekey of {vault}\n{records} records of {} bytes, {}, Argon2id {}\n{} passwords, one of them to be \
         changed, which {share:.4} % of the records are under\n\n",
        args.value_size, args.format, args.kdf, args.passwords,
    )
    .replace(".0000 %", " %")
}

/// The figures, aligned.
pub(crate) fn text(figures: &Figures) -> String {
    let mut text = String::new();
    let [merge_check, catch_up] = [figures.merge_check, figures.catch_up].map(figures::seconds);
    let passes =
        format!("{merge_check} of it asking before the first write, {catch_up} catching up");
    for (name, time, note) in [
        ("fill", figures.fill, ""),
        (
            "storage floor",
            figures.floor_before,
            "same pages read, same rows rewritten, no cryptography",
        ),
        ("rekey", figures.rekey, &passes),
        ("storage floor", figures.floor_after, "once more, after the rekey"),
        ("verify", figures.verify, "every record opened and compared"),
    ] {
        let rate = format!("{} records/s", figures::rate(figures.records, time));
        line(&mut text, name, &figures::seconds(time), &format!("{rate:>20}   {note}"));
    }
    text.push('\n');
    line(&mut text, "rekeyed", &figures::count(figures.rekeyed), "records");
    line(
        &mut text,
        "left alone",
        &figures::count(figures.other_password),
        "records under other passwords",
    );
    let workers = format!("with {} worker(s)", figures.workers);
    line(&mut text, "Argon2id calls", &figures::count(figures.derivations), &workers);
    efficiency(&mut text, figures);
    let of_run = format!("during the rekey; {} in the whole run", known(figures.memory.of_run));
    line(&mut text, "peak memory", &known(figures.memory.of_rekey), &of_run);
    if let Some(bytes) = figures.file_bytes {
        line(&mut text, "file size", &figures::bytes(bytes), "");
    }
    let [mean, before, after] = [figures.mean_floor(), figures.floor_before, figures.floor_after]
        .map(|floor| figures::times(ratio(figures.rekey, floor)));
    let parts = format!("times the storage floor ({before} before, {after} after)");
    line(&mut text, "rekey took", &mean, &parts);
    text.push_str(if figures.correct {
        "\nEvery record is under the right password with the right value, and none under the old one.\n"
    } else {
        "\nThe vault is NOT as it must be.\n"
    });
    text
}

fn efficiency(text: &mut String, figures: &Figures) {
    if let (Some(alone), Some(efficiency)) = (figures.alone_per_second, figures.kdf_efficiency()) {
        let reached = figures::rate(figures.derivations, figures.rekey);
        line(text, "all workers", &reached, "Argon2id per second");
        line(
            text,
            "one thread alone",
            &format!("{alone:.2}"),
            "Argon2id per second, memory reused",
        );
        line(text, "efficiency", &format!("{efficiency:.2}"), "of workers × one thread alone");
    }
}

fn line(text: &mut String, name: &str, value: &str, note: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{}", format!("  {name:<16} {value:>14}  {note}").trim_end());
}

fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not known".to_owned(), figures::bytes)
}

fn ratio(time: Duration, floor: Duration) -> f64 {
    if floor.is_zero() { 0.0 } else { time.as_secs_f64() / floor.as_secs_f64() }
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
