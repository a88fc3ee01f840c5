//! `export`: a page is read, opened by the workers, and written.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tempfile::NamedTempFile;
use vaultstore::envelope::{Envelope, OpenOutcome, OpenPolicy, Rejected, SealParams, check};
use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::store::{PageLimit, UnreadableRow};
use vaultstore::time::{Clock as _, SystemClock};
use vaultstore::{PasswordKey, Record, RecordId, Timestamp, VaultStore};
use zeroize::Zeroizing;

use super::line;
use super::pool::{self, Jobs, Results};
use super::report::Exported;
use crate::args::{ExportArgs, Source};
use crate::exit::{self, Exit, Failure};
use crate::render::progress::{Progress, Step};
use crate::render::{self, End, figures};
use crate::run::drive::{Steps, drive};
use crate::run::v2_cost::V2Costs;
use crate::run::{Context, blocking, settings};
use crate::secrets::{Passwords, Prompt, Role};
use crate::{plan, shown};

/// Records per page, and per job of a worker.
const PAGE: usize = 4096;
const PAGE_BYTES: usize = 8 * 1024 * 1024;
const JOB: usize = 64;

pub(in crate::run) async fn run(context: &Context, args: ExportArgs) -> Result<Exit, Failure> {
    let to_terminal = args.file.is_none() && io::stdout().is_terminal();
    if to_terminal && !args.to_terminal {
        return Err(Failure::usage("an export to a terminal would show every value in plain text")
            .hint("name a file with --output, or show it with --to-terminal"));
    }
    if args.output.json && args.file.is_none() {
        return Err(Failure::usage("--json needs --output: the records go to standard output")
            .hint("name a file with --output"));
    }
    let file = args.file.as_deref().map(new_file).transpose()?;
    let store = context.open_store().await?;
    let own = settings::own_v2_cost(&store, &context.limits).await?;
    let options = plan::vault_options(&args.open, own, context.limits);
    let vault = vaultstore::Vault::new(Arc::clone(&store), options.clone());
    let own_salt = match vault.stored_spec().await? {
        Some(SealParams::V3 { kdf, .. }) => Some(kdf),
        _ => None,
    };
    let sources = args.passwords.sources();
    let keys = blocking(move || read_keys(sources)).await?;
    let kib = options.open.limits.max_m_kib;
    let salts = Arc::new(Salts::new(own_salt, options.open.max_salts));
    let (keys, policy) = (Arc::<[_]>::from(keys), Arc::new(options.open));
    let make = || {
        let (keys, policy, salts) = (Arc::clone(&keys), Arc::clone(&policy), Arc::clone(&salts));
        let mut opener = Opener { keys, policy, salts, memory: KdfMemory::new() };
        move |records: Vec<Record>| {
            records.iter().map(|record| opener.open(record)).collect::<Vec<_>>()
        }
    };
    let (jobs, results) = pool::start(super::workers(&args.work, kib), make)?;
    let rate = args.pace.max_rate.map(|rate| usize::try_from(rate.get()).unwrap_or(usize::MAX));
    let mut export = Export {
        total: store.count().await?,
        store,
        page: PageLimit::new(rate.unwrap_or(PAGE).min(PAGE), PAGE_BYTES),
        after: None,
        live_at: args.live.then(|| SystemClock.now()),
        jobs,
        results,
        file,
        to_terminal,
        report: Exported::default(),
    };
    context.interrupts.leave_first_to_command();
    let end = drive(&mut export, context, args.output.progress, args.pace, "export").await?;
    let Export { file, mut report, .. } = export;
    report.complete = end == End::Complete;
    if let (Some(file), Some(path), true) = (file, &args.file, report.complete) {
        publish(file, path)?;
    }
    tell(&report, args.file.is_some(), args.output.json)?;
    if report.complete && report.exported == 0 && report.other_password > 0 {
        let costs = V2Costs::of(&**vault.store(), &args.open, context).await?;
        exit::error("no record was exported");
        exit::hint(if costs.others.is_empty() {
            "check the password"
        } else {
            "check the password; `vaultstore census` with the same passwords names the cost of v2 records"
        });
        return Ok(Exit::OtherCount);
    }
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.damaged + report.malformed + report.not_tried > 0 => Exit::Remains,
        End::Complete => Exit::Done,
    })
}

fn tell(report: &Exported, to_file: bool, json: bool) -> Result<(), Failure> {
    if json {
        render::print_json(report)?;
    } else if to_file {
        render::print_text(&report.text())?;
    }
    if report.exported > 0 && report.complete {
        exit::warn(&format!(
            "the export contains {} in plain text: anyone who can read it needs no password",
            if report.exported == 1 {
                "1 value".to_owned()
            } else {
                format!("{} values", figures::count(report.exported))
            }
        ));
    }
    if !report.complete {
        exit::warn(if to_file {
            "the export was interrupted, and its file removed"
        } else {
            "the export was interrupted: records are missing from it"
        });
    }
    if report.other_password > 0 && report.exported > 0 {
        exit::warn(&format!(
            "left out: {} that none of the passwords opens",
            figures::records(report.other_password)
        ));
    }
    for (count, why) in [
        (report.damaged + report.malformed, "damaged or malformed"),
        (report.not_tried, "that no password was tried on"),
    ] {
        if count > 0 {
            exit::error(&format!("left out: {} {why}", figures::records(count)));
            exit::hint("`vaultstore census` with the same passwords says which and why");
        }
    }
    Ok(())
}

fn read_keys(sources: Vec<Source>) -> Result<Vec<PasswordKey>, Failure> {
    let mut reader = Passwords::default();
    let mut read = |source| reader.read(source, Prompt::Known(Role::Records)).map(PasswordKey::new);
    if sources.is_empty() {
        return Ok(vec![read(None)?]);
    }
    sources.into_iter().map(|source| read(Some(source))).collect()
}

/// A file next to the one to write, which only this user can read, and which is removed unless it
/// is put in its place.
fn new_file(path: &Path) -> Result<NamedTempFile, Failure> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vaultstore-export-").tempfile_in(folder.unwrap_or(Path::new("."))).map_err(
        |error| Failure::failed(format!("{}: cannot be written", path.display())).because(error),
    )
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!("{}: exists already", path.display()))
        .hint("name a new file with --output")
}

fn publish(file: NamedTempFile, path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::failed(format!("{}: cannot be written", path.display())).because(error),
    };
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Which salts and costs besides the vault's own are tried: each costs an Argon2id per password.
struct Salts {
    own: Option<KdfSetting>,
    max: usize,
    tried: Mutex<HashSet<KdfSetting>>,
}

impl Salts {
    fn new(own: Option<KdfSetting>, max: u32) -> Self {
        Self { own, max: usize::try_from(max).unwrap_or(usize::MAX), tried: Mutex::default() }
    }

    fn admit(&self, kdf: KdfSetting) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if self.own == Some(kdf) || tried.contains(&kdf) {
            return true;
        }
        tried.len() < self.max && tried.insert(kdf)
    }
}

enum Opened {
    Line(Zeroizing<Vec<u8>>),
    OtherPassword,
    Damaged,
    Malformed,
    NotTried,
    Failed(String),
}

struct Opener {
    keys: Arc<[PasswordKey]>,
    policy: Arc<OpenPolicy>,
    salts: Arc<Salts>,
    memory: KdfMemory,
}

impl Opener {
    fn open(&mut self, record: &Record) -> Opened {
        let Ok(envelope) = Envelope::parse(&record.envelope) else { return Opened::Malformed };
        let checked = match check(&envelope, &self.policy) {
            Ok(checked) => checked,
            Err(Rejected::Damaged) => return Opened::Damaged,
            Err(Rejected::Malformed(_)) => return Opened::Malformed,
            Err(_) => return Opened::NotTried,
        };
        if checked.kdf().is_some_and(|kdf| !self.salts.admit(kdf)) {
            return Opened::NotTried;
        }
        for key in &*self.keys {
            match checked.open(key, record.bound_to(), &mut self.memory) {
                Ok(OpenOutcome::Opened(value)) => {
                    return Opened::Line(line::write(record, value.as_bytes()));
                }
                Ok(OpenOutcome::WrongPassword) => {}
                Ok(OpenOutcome::Damaged) => return Opened::Damaged,
                Ok(OpenOutcome::Malformed(_)) => return Opened::Malformed,
                Ok(OpenOutcome::NotTried(_)) => return Opened::NotTried,
                Err(error) => return Opened::Failed(error.to_string()),
            }
        }
        Opened::OtherPassword
    }
}

struct Export {
    store: Arc<dyn VaultStore>,
    total: u64,
    page: PageLimit,
    after: Option<RecordId>,
    /// If only live records are exported.
    live_at: Option<Timestamp>,
    jobs: Jobs<Vec<Record>>,
    results: Results<Vec<Opened>>,
    file: Option<NamedTempFile>,
    to_terminal: bool,
    report: Exported,
}

impl Export {
    fn write(&mut self, line: &[u8]) -> Result<(), Failure> {
        match &mut self.file {
            Some(file) => file
                .write_all(line)
                .map_err(|error| Failure::failed("the export could not be written").because(error)),
            None if self.to_terminal => {
                let text = Zeroizing::new(shown::json(&String::from_utf8_lossy(line)));
                write_out(text.as_bytes())
            }
            None => write_out(line),
        }
    }
}

/// A reader that went away has not got every record.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    render::write(bytes).map_err(|error| {
        Failure::failed("the export could not be written to standard output").because(error)
    })
}

/// For `--metrics-file` and `--progress json`.
#[derive(Serialize)]
struct Detail {
    exported: u64,
    other_password: u64,
    not_live: u64,
    damaged: u64,
    malformed: u64,
    not_tried: u64,
}

impl Steps for &mut Export {
    /// The export is incomplete anyway.
    const MAY_BE_DROPPED: bool = true;

    fn total(&self) -> u64 {
        self.total
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure> {
        let page = self.store.list(self.after.as_ref(), self.page).await?;
        self.report.malformed += page.unreadable.iter().map(UnreadableRow::rows).sum::<u64>();
        let Some(last) = page.records.last() else { return Ok(false) };
        self.after = Some(last.id.clone());
        self.report.scanned += page.records.len() as u64;
        let mut records = page.records;
        if let Some(now) = self.live_at {
            let before = records.len();
            records.retain(|record| !record.is_expired(now) && !record.is_soft_deleted(now));
            self.report.not_live += (before - records.len()) as u64;
        }
        let mut waiting = 0;
        let mut rest = records.into_iter().peekable();
        while rest.peek().is_some() {
            waiting += u32::from(self.jobs.submit(rest.by_ref().take(JOB).collect()));
        }
        for _ in 0..waiting {
            let opened = self.results.next().await?.unwrap_or_default();
            for opened in opened {
                match opened {
                    Opened::Line(line) => {
                        self.write(&line)?;
                        self.report.exported += 1;
                    }
                    Opened::OtherPassword => self.report.other_password += 1,
                    Opened::Damaged => self.report.damaged += 1,
                    Opened::Malformed => self.report.malformed += 1,
                    Opened::NotTried => self.report.not_tried += 1,
                    Opened::Failed(why) => return Err(Failure::failed(why)),
                }
            }
        }
        let Exported { exported, other_password, not_live, .. } = self.report;
        let Exported { damaged, malformed, not_tried, .. } = self.report;
        progress.step(&Step {
            done: self.report.scanned,
            before: 0,
            note: format!("{} exported", figures::count(exported)),
            detail: &Detail { exported, other_password, not_live, damaged, malformed, not_tried },
        });
        Ok(true)
    }

    async fn stop(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }
}
