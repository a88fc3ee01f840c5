//! Writers at full speed during a rekey.

use std::{
    collections::BTreeMap,
    mem,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vaultstore::rekey::{MergeCheck, RunStatus};
use vaultstore::store::{DeleteOutcome, InsertOutcome, RecordUpdate, WriteOutcome};
use vaultstore::{
    Password, RecordId, RekeyPlan, StoreError, Timestamp, Vault, VaultOptions, VaultStore,
};

use crate::process::report;
use crate::records::{Due, Sealer};
use crate::rounds::{Chances, figures, run, seconds};
use crate::scene::{Scene, postgres, redb, sqlite};

/// How many writers there are; each has records of its own, which only a rekey changes as well.
const WRITERS: usize = 3;

/// Whom the records are of at first.
const OWNERS: [&str; 4] = ["old", "old", "other", "new"];

/// How long it may take until a conflict was seen.
const PATIENCE: Duration = Duration::from_mins(10);

#[test]
fn writers_at_full_speed_lose_nothing_on_redb() {
    run(at_full_speed("redb", redb, RekeyBy::Library));
}

#[test]
fn writers_at_full_speed_lose_nothing_on_sqlite() {
    run(at_full_speed("sqlite", sqlite, RekeyBy::Command));
}

#[test]
fn writers_at_full_speed_lose_nothing_on_postgres() {
    run(at_full_speed("postgres", postgres, RekeyBy::Command));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RekeyBy {
    Command,
    /// In the writers' process, where a file has only one.
    Library,
}

/// What the rekeys did.
#[derive(Default)]
struct Done {
    rekeys: u64,
    moved: u64,
    settled: u64,
    passes: u64,
}

/// Rekeys one after the other while the writers write under the old, the new and another password;
/// then the writers stop, and the last one leaves nothing under the old password.
async fn at_full_speed(backend: &str, url: fn(&TempDir) -> String, by: RekeyBy) {
    let (records, time) = match seconds() {
        None => (6_000, Duration::from_secs(5)),
        Some(seconds) => (100_000, Duration::from_secs(seconds.max(30))),
    };
    let mut scene = Scene::at(url).await;
    scene.fill(records, &OWNERS).await;
    let shared = match by {
        RekeyBy::Library => Some(scene.open().await),
        RekeyBy::Command => None,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = shares(mem::take(&mut scene.ledger))
        .into_iter()
        .enumerate()
        .map(|(number, mine)| {
            let (url, sealer, stop) = (scene.url.clone(), scene.sealer.clone(), Arc::clone(&stop));
            let shared = shared.clone();
            thread::spawn(move || {
                run(async {
                    let store = match shared {
                        Some(store) => store,
                        None => url.parse::<vaultstore::StoreUrl>().unwrap().open().await.unwrap(),
                    };
                    Writer::new(number, store, sealer, mine).write_until(&stop).await
                })
            })
        })
        .collect();

    let (started, mut done) = (Instant::now(), Done::default());
    while started.elapsed() < time || done.settled == 0 {
        assert!(started.elapsed() < time + PATIENCE, "no conflict was seen");
        let complete = rekey(&scene, shared.as_ref(), &mut done).await;
        assert!(complete || done.rekeys > 0);
    }
    stop.store(true, Relaxed);
    let mut counts = [0; 5];
    for writer in writers {
        let writer = writer.join().unwrap();
        scene.ledger.extend(writer.mine);
        for (sum, count) in counts.iter_mut().zip(writer.done) {
            *sum += count;
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(rekey(&scene, shared.as_ref(), &mut done).await, "no writer is left");
    if let Some(store) = shared {
        store.close().await;
    }
    let under = scene.check(&[("old", "new")]).await;
    assert_eq!(under["old"], 0);
    let [creates, updates, renewals, hidden, deletes] = counts;
    let Done { rekeys, moved, settled, passes } = done;
    figures(
        &format!(
            "writers at full speed for {} s during rekeys of {records} v3 records on {backend}",
            time.as_secs()
        ),
        &format!(
            "{creates} creates, {updates} updates, {renewals} renewals, {hidden} soft deletes, {deletes} deletes \
             acknowledged; {rekeys} rekeys moved {moved} records, {settled} conflicts settled, {passes} catch-up \
             passes; {} records checked",
            scene.checked
        ),
    );
}

/// The records of each writer.
fn shares(ledger: BTreeMap<RecordId, Due>) -> Vec<BTreeMap<RecordId, Due>> {
    let mut shares = vec![BTreeMap::new(); WRITERS];
    for (number, (id, due)) in ledger.into_iter().enumerate() {
        shares[number % WRITERS].insert(id, due);
    }
    shares
}

/// One rekey to its end; whether its last pass found nothing.
async fn rekey(scene: &Scene, shared: Option<&Arc<dyn VaultStore>>, done: &mut Done) -> bool {
    done.rekeys += 1;
    let Some(store) = shared else {
        let output = scene.merge("old", "new", &["--allow-zero"]).output().unwrap();
        return told(&output, done);
    };
    let vault = Vault::new(Arc::clone(store), VaultOptions::default());
    let password = |name| Password::new(format!("the password {name}"));
    let plan = RekeyPlan::new().pair(password("old"), password("new")).merge_check(MergeCheck::Off);
    let report = vault.rekey(plan).await.unwrap().run().await.unwrap();
    assert_eq!(report.counts.failed, 0);
    done.moved += report.counts.rekeyed;
    done.settled += report.conflicts_settled;
    done.passes += u64::from(report.catch_up_passes);
    report.end == RunStatus::Complete && report.counts.conflict == 0
}

fn told(output: &Output, done: &mut Done) -> bool {
    let complete = output.status.code() == Some(0);
    // A writer still writes under the old password, or all the time to the same record.
    let report = report(output, if complete { 0 } else { 3 });
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("failed"), 0);
    // The same command resumes where the last one ended, and counts the whole job.
    let before = report["earlier"]["rekeyed"].as_u64().unwrap_or(0);
    done.moved += count("rekeyed") - before;
    done.settled += count("conflicts_settled");
    done.passes += count("catch_up_passes");
    complete
}

struct Writer {
    number: usize,
    store: Arc<dyn VaultStore>,
    sealer: Sealer,
    mine: BTreeMap<RecordId, Due>,
    /// Those of the above, and some that are gone.
    ids: Vec<RecordId>,
    chances: Chances,
    /// Creates, updates, renewals, soft deletes and deletes that were acknowledged.
    done: [u64; 5],
}

impl Writer {
    fn new(
        number: usize,
        store: Arc<dyn VaultStore>,
        sealer: Sealer,
        mine: BTreeMap<RecordId, Due>,
    ) -> Self {
        let ids = mine.keys().cloned().collect();
        let chances = Chances::of(number as u64);
        Self { number, store, sealer, mine, ids, chances, done: [0; 5] }
    }

    async fn write_until(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Relaxed) {
            let deed = match self.chances.below(12) {
                0 => self.create().await,
                1 => self.delete().await,
                2 => self.hide().await,
                3 => self.renew().await,
                _ => self.update().await,
            };
            self.done[deed] += 1;
        }
        self
    }

    /// Before and behind the cursor alike.
    async fn create(&mut self) -> usize {
        let (write, owner) = (self.done.iter().sum::<u64>(), self.owner());
        let id = format!("{:07}-{}-{write}", self.chances.below(1_000_000), self.number);
        let due = self.sealer.due(&id, owner, format!("created {write}").as_bytes());
        let records = || vec![due.record.clone()];
        let outcomes = again(|| self.store.insert(records())).await;
        assert_eq!(outcomes, [InsertOutcome::Inserted]);
        self.ids.push(due.record.id.clone());
        self.mine.insert(due.record.id.clone(), due);
        0
    }

    async fn update(&mut self) -> usize {
        let (write, owner) = (self.done.iter().sum::<u64>(), self.owner());
        let mut due = self.any();
        let value = format!("update {write}").into_bytes();
        let id = due.record.id.clone();
        let envelope = self.sealer.due(id.as_str(), owner, &value).record.envelope;
        let updated_at = Timestamp::from_micros(due.record.updated_at.as_micros() + 1_000_000);
        let update = RecordUpdate::of(id.clone()).envelope(envelope.clone());
        self.change(update.updated_at(updated_at)).await;
        (due.name, due.value) = (owner, value);
        (due.record.envelope, due.record.updated_at) = (envelope, updated_at);
        self.mine.insert(id, due);
        1
    }

    async fn renew(&mut self) -> usize {
        let mut due = self.any();
        let id = due.record.id.clone();
        let seconds = i64::try_from(self.chances.below(1_000_000)).unwrap();
        due.record.expires_at = Some(Timestamp::from_micros((1_600_000_000 + seconds) * 1_000_000));
        self.change(RecordUpdate::of(id.clone()).expires_at(due.record.expires_at)).await;
        self.mine.insert(id, due);
        2
    }

    async fn hide(&mut self) -> usize {
        let mut due = self.any();
        let id = due.record.id.clone();
        due.record.soft_deleted_at = Some(Timestamp::from_micros(1_650_000_000_000_000));
        self.change(RecordUpdate::of(id.clone()).soft_deleted_at(due.record.soft_deleted_at)).await;
        self.mine.insert(id, due);
        3
    }

    async fn delete(&mut self) -> usize {
        let id = self.any().record.id;
        let outcome = again(|| self.store.delete(&id)).await;
        assert_eq!(outcome, DeleteOutcome::Deleted);
        self.mine.remove(&id);
        4
    }

    async fn change(&self, change: RecordUpdate) {
        let outcome = again(|| self.store.update(change.clone())).await;
        assert_eq!(outcome, WriteOutcome::Applied);
    }

    fn owner(&mut self) -> &'static str {
        OWNERS[usize::try_from(self.chances.below(4)).unwrap()]
    }

    fn any(&mut self) -> Due {
        loop {
            let at = usize::try_from(self.chances.below(self.ids.len() as u64)).unwrap();
            if let Some(due) = self.mine.get(&self.ids[at]) {
                return due.clone();
            }
            self.ids.swap_remove(at);
        }
    }
}

/// What the store says can be tried again has changed nothing.
async fn again<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(error.kind() == vaultstore::StoreErrorKind::Retryable, "{error}"),
        }
    }
}
