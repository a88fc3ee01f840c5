//! The file of `--report`: what a rekey did, for managers and auditors.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use vaultstore::time::{Clock as _, SystemClock};
use vaultstore::{RekeyReport, Timestamp};

use crate::args::RekeyArgs;
use crate::exit::Failure;
use crate::own_file::{self, Trouble};
use crate::plan;
use crate::render::evidence::{Evidence, HTML_MAGIC, JSON_MAGIC};
use crate::render::figures;
use crate::render::headline::Wording;
use crate::render::rekey;

/// A report to write at the end of a run.
pub(super) struct ReportFile {
    path: PathBuf,
    is_html: bool,
    vault: String,
    options: Vec<(&'static str, String)>,
    started_at: Timestamp,
}

impl ReportFile {
    /// Checks, before anything is done, that the file can be written.
    pub(super) fn of(args: &RekeyArgs, vault: String) -> Result<Option<Self>, Failure> {
        let Some(path) = &args.report else { return Ok(None) };
        let is_html = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => true,
            Some("json") => false,
            _ => {
                return Err(Failure::usage("--report: the name must end with .html or .json")
                    .hint("the ending says which kind of report to write"));
            }
        };
        let report = Self {
            path: path.clone(),
            is_html,
            vault,
            options: options(args),
            started_at: SystemClock.now(),
        };
        report.check()?;
        Ok(Some(report))
    }

    fn check(&self) -> Result<(), Failure> {
        let magic = if self.is_html { HTML_MAGIC } else { JSON_MAGIC };
        own_file::check(&self.path, magic.as_bytes()).map_err(|trouble| match trouble {
            Trouble::Io(error) => self.unwritable(error),
            other => Failure::usage(format!("{}: {other}", self.path.display()))
                .hint("name a new file, or an earlier report, with --report"),
        })
    }

    fn unwritable(&self, error: std::io::Error) -> Failure {
        Failure::failed(format!("{}: the report cannot be written", self.path.display()))
            .because(error)
    }

    /// Writes the report next to its place, and renames it.
    pub(super) fn write(
        &self,
        report: &RekeyReport,
        wording: &Wording,
        exit_code: u8,
    ) -> Result<(), Failure> {
        self.check()?;
        let evidence = Evidence {
            report: "vaultstore rekey",
            program: concat!("vaultstore ", env!("CARGO_PKG_VERSION")),
            vault: self.vault.clone(),
            started_at: self.started_at.to_string(),
            ended_at: SystemClock.now().to_string(),
            options: self.options.clone(),
            exit_code,
            figures: rekey::figures(report, wording),
            not_checked: not_checked(report),
            next_steps: next_steps(report, wording, exit_code),
        };
        let text = if self.is_html {
            evidence.html()
        } else {
            evidence.json().map_err(|error| self.unwritable(error.into()))?
        };
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let written =
            own_file::readable_by_all(".vaultstore-report-", folder).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(&self.path).map_err(|error| error.error)
            });
        written.map(drop).map_err(|error| self.unwritable(error))
    }
}

fn options(args: &RekeyArgs) -> Vec<(&'static str, String)> {
    let flags = [
        ("--dry-run", args.dry_run),
        ("--allow-marks", args.allow_marks),
        ("--vault-salt", args.vault_salt),
        ("--allow-triggers", args.allow_triggers),
        ("--rebuild", args.rebuild),
        ("--restart", args.restart),
        ("--allow-zero", args.allow_zero),
        ("--pairs", args.pairs.is_some()),
        ("--allow-v1", args.open.allow_v1),
    ];
    let given = flags.into_iter().filter(|(_, given)| *given);
    let mut options: Vec<_> = given.map(|(name, _)| (name, "given".to_owned())).collect();
    options.push(("--merge-check", format!("{:?}", plan::merge_check(args)).to_lowercase()));
    for (name, value) in [
        ("--format", args.format.map(|format| format.to_string())),
        ("--kdf", args.kdf.map(|cost| cost.to_string())),
        ("--expect-count", args.expect_count.map(|count| count.to_string())),
        ("--max-rate", args.pace.max_rate.map(|rate| rate.to_string())),
    ] {
        options.extend(value.map(|value| (name, value)));
    }
    let shard = args.shard.to_string();
    if shard != vaultstore::rekey::Shard::WHOLE.to_string() {
        options.push(("--shard", shard));
    }
    options
}

fn not_checked(report: &RekeyReport) -> Vec<String> {
    let counts = &report.counts.not_tried;
    let mut sentences = Vec::new();
    for (count, why) in [
        (counts.v1, "of v1, on which no password was tried"),
        (
            counts.below_floor,
            "whose Argon2id cost is too low to be genuine, and which were not tried",
        ),
        (
            counts.other_salts,
            "with more salts and costs than --max-salts allows, which were not tried",
        ),
        (report.not_checkable(), "of v2 that only their own password can tell to be intact"),
        (report.merge.unasked, "that were not checked for the new password"),
    ] {
        if count > 0 {
            sentences.push(format!("{} {why}", figures::records(count)));
        }
    }
    sentences.push(
        "Copies and backups of the database: they still open under the old password.".to_owned(),
    );
    sentences.push(
        "What the values mean: whether a value is the right one only its owner knows.".to_owned(),
    );
    sentences
}

fn next_steps(report: &RekeyReport, wording: &Wording, exit_code: u8) -> Vec<String> {
    if report.dry_run {
        return vec!["This was a rehearsal: run the same command without --dry-run.".to_owned()];
    }
    let mut steps = Vec::new();
    if exit_code != 0 {
        steps.push("Read what the command printed: it did not end with exit code 0.".to_owned());
    }
    steps.push(
        "Check that the old password opens nothing: vaultstore verify --absent-password-file FILE"
            .to_owned(),
    );
    if let Some(traces) = &wording.traces {
        steps.push(format!("Remove the traces of the rekey from the storage: {}", traces.remedy));
    }
    steps.push(
        "Give the new password to its programs, and replace the backups that were made before."
            .to_owned(),
    );
    steps
}
