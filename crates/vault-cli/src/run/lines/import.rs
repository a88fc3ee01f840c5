//! `import`: a reader, workers that seal, and inserts in the order of the lines.

use std::path::Path;
use std::sync::{Arc, mpsc};

use vaultstore::envelope::{Envelope, OpenOutcome, OpenPolicy, SealParams, V2Params, check, seal};
use vaultstore::kdf::KdfMemory;
use vaultstore::password::PasswordPolicy;
use vaultstore::store::{BoundTo, EnvelopeText, InsertOutcome};
use vaultstore::time::{Clock as _, SystemClock};
use vaultstore::{PasswordKey, Record, RecordId, Vault};

use super::budget::{Budget, Share};
use super::line::{self, Line};
use super::pool::{self, Results};
use super::reader::{self, Chunk};
use super::report::Imported;
use crate::args::ImportArgs;
use crate::exit::{Exit, Failure};
use crate::render;
use crate::render::End;
use crate::render::progress::{Progress, Step};
use crate::run::drive::{Steps, drive};
use crate::run::{Context, blocking, settings};
use crate::secrets::{Passwords, Prompt, Role};

/// The most bytes of lines on the way; more than the longest line and a batch.
const ON_THE_WAY: usize = reader::MAX_LINE + 2 * BATCH_BYTES;

/// A batch is inserted once it has this many records, or was made of this many bytes.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(in crate::run) async fn run(context: &Context, args: ImportArgs) -> Result<Exit, Failure> {
    let file = reader::open(&args.file)?;
    let vault = context.open().await?;
    if !args.dry_run {
        settings::settle_format(&vault, args.format.format).await?;
    }
    let mut passwords = if args.file == Path::new("-") {
        Passwords::with_value_on_stdin()
    } else {
        Passwords::default()
    };
    let source = args.password.source();
    let password = blocking(move || passwords.read(source, Prompt::New(Role::Records))).await?;
    PasswordPolicy::default()
        .allow(&password)
        .map_err(|violation| Failure::usage(violation.to_string()))?;
    let key = vault.derive_key(password).await?;
    let spec =
        if args.dry_run { vault.stored_spec().await? } else { Some(vault.seal_spec().await?) };
    if let Some(SealParams::V3 { kdf, .. }) = spec.filter(|_| !args.dry_run) {
        let key = Arc::clone(&key);
        blocking(move || {
            key.verify_prepared(&kdf, &mut KdfMemory::new())
                .map_err(|error| Failure::failed(error.to_string()))
        })
        .await?;
    }
    let kib = spec.as_ref().map_or(0, |spec| spec.params().m_cost());
    let spec = spec.filter(|_| !args.dry_run);
    let make = || {
        let mut sealer = Sealer { key: Arc::clone(&key), spec, memory: KdfMemory::new() };
        move |chunk| sealer.seal(chunk)
    };
    let (jobs, results) = pool::start(super::workers(&args.work, kib), make)?;
    let budget = Budget::new(ON_THE_WAY);
    let input = reader::start(file, args.from_line.get(), budget.clone(), jobs)?;
    context.interrupts.leave_first_to_command();
    let rate = args.pace.max_rate.map(|rate| usize::try_from(rate.get()).unwrap_or(usize::MAX));
    let mut import = Import {
        vault: &vault,
        context,
        results,
        input,
        budget,
        batch: rate.unwrap_or(BATCH).min(BATCH),
        skip_existing: args.skip_existing,
        report: Imported {
            dry_run: args.dry_run,
            next_line: args.from_line.get(),
            ..Imported::default()
        },
    };
    let end = drive(&mut import, context, args.output.progress, args.pace, "import").await;
    import.budget.close();
    let mut report = import.report;
    report.complete = matches!(end, Ok(End::Complete));
    if args.output.json {
        render::print_json(&report)?;
    } else {
        render::print_text(&report.text())?;
    }
    let rest = format!(
        "every line before {0} was dealt with: continue with --from-line {0}",
        report.next_line
    );
    match end {
        Err(failure) if !report.dry_run => Err(failure.after_a_change().and_hint(&rest)),
        Err(failure) => Err(failure),
        Ok(End::Stopped) => {
            crate::exit::hint(&rest);
            Ok(Exit::Interrupted)
        }
        Ok(End::Complete) if report.failed > 0 => Ok(Exit::Remains),
        Ok(End::Complete) => Ok(Exit::Done),
    }
}

/// A record to insert, or why there is none.
type Sealed = (u64, Result<Record, String>);

struct SealedChunk {
    records: Vec<Sealed>,
    last: u64,
    share: Share,
}

struct Sealer {
    key: Arc<PasswordKey>,
    /// None for a dry run.
    spec: Option<SealParams>,
    memory: KdfMemory,
}

impl Sealer {
    fn seal(&mut self, chunk: Chunk) -> SealedChunk {
        let Chunk { lines, share, last } = chunk;
        let records = lines
            .into_iter()
            .map(|(number, text)| {
                let too_long =
                    || format!("it is longer than {} MiB", reader::MAX_LINE / 1024 / 1024);
                let line = text.ok_or_else(too_long).and_then(|text| line::parse(&text));
                (number, line.and_then(|line| self.seal_line(line)))
            })
            .collect();
        SealedChunk { records, last, share }
    }

    fn seal_line(&mut self, line: Line) -> Result<Record, String> {
        let now = SystemClock.now();
        let id = line.id.map_or_else(|| RecordId::generate(now), Ok);
        let id = id.map_err(|error| error.to_string())?;
        let bound_to = BoundTo { id: &id, token: &line.token };
        let envelope = match self.spec {
            Some(spec) => {
                let sealed =
                    seal(line.value.as_bytes(), &self.key, bound_to, &spec, &mut self.memory)
                        .map_err(|error| error.to_string())?;
                self.check(&sealed, line.value.as_bytes(), bound_to, &spec)?;
                sealed
            }
            None => EnvelopeText::from_stored(*b""),
        };
        Ok(Record {
            envelope,
            created_at: line.created_at.unwrap_or(now),
            updated_at: line.updated_at.or(line.created_at).unwrap_or(now),
            expires_at: line.expires_at,
            soft_deleted_at: line.soft_deleted_at,
            token: line.token,
            id,
        })
    }

    /// Opens what was sealed: the file may be removed after the import.
    fn check(
        &mut self,
        sealed: &EnvelopeText,
        value: &[u8],
        bound_to: BoundTo<'_>,
        spec: &SealParams,
    ) -> Result<(), String> {
        let mut policy = OpenPolicy::trusting();
        policy.v2_costs = vec![V2Params::new(spec.params())];
        let envelope = Envelope::parse(sealed).map_err(|error| error.to_string())?;
        let opened = check(&envelope, &policy)
            .map_err(|_| "it was sealed wrongly".to_owned())?
            .open(&self.key, bound_to, &mut self.memory)
            .map_err(|error| error.to_string())?;
        match opened {
            OpenOutcome::Opened(opened) if opened.as_bytes() == value => Ok(()),
            _ => {
                Err("what was sealed does not open again: this computer's memory is faulty".into())
            }
        }
    }
}

struct Import<'a> {
    vault: &'a Vault,
    context: &'a Context,
    results: Results<SealedChunk>,
    /// How reading ended.
    input: mpsc::Receiver<std::io::Result<()>>,
    budget: Budget,
    batch: usize,
    skip_existing: bool,
    report: Imported,
}

impl Import<'_> {
    async fn insert(&mut self, sealed: Vec<Sealed>) -> Result<(), Failure> {
        let (mut lines, mut records) = (Vec::new(), Vec::new());
        for (line, record) in sealed {
            self.report.lines += 1;
            match record {
                Ok(record) => {
                    lines.push(line);
                    records.push(record);
                }
                Err(reason) => self.report.fail(line, reason),
            }
        }
        let store = self.vault.store();
        let tokens: Vec<_> = records.iter().map(|record| record.token.clone()).collect();
        let mut outcomes = if self.report.dry_run || records.is_empty() {
            vec![InsertOutcome::Inserted; records.len()]
        } else {
            store.insert(records).await?
        };
        // A record that was imported before has its id and its token.
        if self.report.dry_run || outcomes.contains(&InsertOutcome::IdTaken) {
            let unsure =
                if self.report.dry_run { InsertOutcome::Inserted } else { InsertOutcome::IdTaken };
            let found = store.find(&tokens).await?;
            for (outcome, found) in outcomes.iter_mut().zip(found) {
                if *outcome == unsure && found.is_some() {
                    *outcome = InsertOutcome::TokenTaken;
                }
            }
        }
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            match outcome {
                InsertOutcome::Inserted => self.report.imported += 1,
                InsertOutcome::TokenTaken if self.skip_existing => self.report.skipped += 1,
                InsertOutcome::TokenTaken => {
                    self.report.fail(line, "a record of the vault has its token".to_owned());
                }
                InsertOutcome::IdTaken => {
                    self.report.fail(line, "a record of the vault has its id".to_owned());
                }
            }
        }
        self.report.problems.sort_by_key(|problem| problem.line);
        Ok(())
    }
}

/// For `--metrics-file` and `--progress json`.
#[derive(serde::Serialize)]
struct Detail {
    imported: u64,
    skipped: u64,
    failed: u64,
}

impl Steps for &mut Import<'_> {
    /// An insert is waited for, so that the report is right.
    const MAY_BE_DROPPED: bool = false;

    fn total(&self) -> u64 {
        0
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure> {
        let (mut sealed, mut shares, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut last = self.report.next_line - 1;
        let mut more = true;
        while sealed.len() < self.batch && bytes < BATCH_BYTES {
            let chunk = tokio::select! {
                biased;
                // What is sealed already is dropped, and nothing is lost.
                () = self.context.interrupts.first() => return Ok(true),
                chunk = self.results.next() => chunk?,
            };
            let Some(chunk) = chunk else {
                more = false;
                break;
            };
            bytes += chunk.share.bytes();
            last = chunk.last;
            sealed.extend(chunk.records);
            shares.push(chunk.share);
        }
        self.insert(sealed).await?;
        drop(shares);
        self.report.next_line = last + 1;
        let Imported { lines, imported, skipped, failed, .. } = self.report;
        progress.step(&Step {
            done: lines,
            before: 0,
            note: format!("{} imported", render::figures::count(imported)),
            detail: &Detail { imported, skipped, failed },
        });
        if !more {
            match self.input.recv() {
                Ok(Err(error)) => {
                    return Err(
                        Failure::failed("the file could not be read to its end").because(error)
                    );
                }
                Ok(Ok(())) => {}
                Err(gone) => {
                    return Err(Failure::failed("the thread that reads ended too early")
                        .hint("this is a bug in vaultstore; please report it")
                        .because(gone));
                }
            }
        }
        Ok(more)
    }

    async fn stop(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }
}
