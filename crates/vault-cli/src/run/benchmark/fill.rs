//! Fills the vault: separate threads seal records, which are inserted in large batches.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use vaultstore::envelope::{SealParams, seal};
use vaultstore::kdf::KdfMemory;
use vaultstore::store::BoundTo;
use vaultstore::store::InsertOutcome;
use vaultstore::time::{Clock, SystemClock};
use vaultstore::token::TokenLength;
use vaultstore::{PasswordKey, Record, RecordId, Token, VaultStore};

use super::population::Population;
use crate::exit::Failure;
use crate::render::progress::{NoDetail, Progress, Step};

/// Records per insert: as many as a page of the rekey.
const BATCH: usize = 16_384;

/// How many records a thread passes on at a time, or as many as it seals within [`CHUNK_TIME`].
const CHUNK: usize = 2_048;
const CHUNK_TIME: Duration = Duration::from_secs(1);

/// What to fill the vault with.
#[derive(Clone)]
pub(super) struct Filling {
    pub(super) records: u64,
    pub(super) threads: NonZeroUsize,
    pub(super) spec: SealParams,
    pub(super) population: Arc<Population>,
    pub(super) keys: Arc<[Arc<PasswordKey>]>,
}

pub(super) struct Filled {
    /// The number of records per password.
    pub(super) counts: Vec<u64>,
    pub(super) elapsed: Duration,
}

type Chunk = Result<Vec<Record>, Failure>;

pub(super) async fn fill(
    store: &dyn VaultStore,
    filling: Filling,
    progress: &mut Progress,
) -> Result<Filled, Failure> {
    let started = Instant::now();
    let mut chunks = start_threads(&filling)?;
    let mut counts = vec![0; filling.keys.len()];
    let mut batch = Vec::with_capacity(BATCH + CHUNK);
    let mut done = 0;
    while let Some(chunk) = chunks.recv().await {
        batch.extend(chunk?);
        if batch.len() >= BATCH {
            done +=
                insert(store, std::mem::take(&mut batch), &filling.population, &mut counts).await?;
        }
        progress.step(&Step {
            done: done + batch.len() as u64,
            before: 0,
            note: String::new(),
            detail: &NoDetail {},
        });
    }
    done += insert(store, batch, &filling.population, &mut counts).await?;
    if done != filling.records {
        return Err(Failure::failed("a thread that fills the vault ended too early")
            .hint("this is a bug in vaultstore; please report it"));
    }
    Ok(Filled { counts, elapsed: started.elapsed() })
}

fn start_threads(filling: &Filling) -> Result<mpsc::Receiver<Chunk>, Failure> {
    let threads = filling.threads.get() as u64;
    let (sender, receiver) = mpsc::channel(2 * filling.threads.get());
    for number in 0..threads {
        let share = filling.records / threads + u64::from(number < filling.records % threads);
        let (filling, sender) = (filling.clone(), sender.clone());
        let thread = thread::Builder::new().name(format!("vaultstore-fill-{number}"));
        thread.spawn(move || seal_share(share, &filling, &sender)).map_err(|error| {
            Failure::failed("no thread could be started").hint("lower --workers").because(error)
        })?;
    }
    Ok(receiver)
}

/// Seals this many records; ends early if no one receives them any more.
fn seal_share(share: u64, filling: &Filling, sender: &mpsc::Sender<Chunk>) {
    let mut memory = KdfMemory::new();
    let mut left = share;
    while left > 0 {
        let chunk = seal_chunk(left, filling, &mut memory);
        let sealed = chunk.as_ref().map_or(left, |chunk| chunk.len() as u64);
        left -= sealed;
        if sender.blocking_send(chunk).is_err() {
            return;
        }
    }
}

fn seal_chunk(most: u64, filling: &Filling, memory: &mut KdfMemory) -> Chunk {
    let started = Instant::now();
    let mut chunk = Vec::new();
    while (chunk.len() as u64) < most && chunk.len() < CHUNK && started.elapsed() < CHUNK_TIME {
        let now = SystemClock.now();
        let id = RecordId::generate(now)?;
        let key = &filling.keys[filling.population.group(&id)];
        let token = Token::generate(TokenLength::default())?;
        let (value, bound_to) = (filling.population.value(&id), BoundTo { id: &id, token: &token });
        let envelope = seal(&value, key, bound_to, &filling.spec, memory)
            .map_err(|error| Failure::failed(error.to_string()))?;
        chunk.push(Record {
            id,
            token,
            envelope,
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        });
    }
    Ok(chunk)
}

/// Inserts one batch, and counts by group what was inserted.
async fn insert(
    store: &dyn VaultStore,
    batch: Vec<Record>,
    population: &Population,
    counts: &mut [u64],
) -> Result<u64, Failure> {
    let groups: Vec<usize> = batch.iter().map(|record| population.group(&record.id)).collect();
    let outcomes = store.insert(batch).await?;
    if outcomes.iter().any(|outcome| *outcome != InsertOutcome::Inserted) {
        return Err(Failure::failed(
            "a fresh random id or token was already taken, which is as good as impossible",
        )
        .hint("check this machine's memory"));
    }
    for group in &groups {
        counts[*group] += 1;
    }
    Ok(groups.len() as u64)
}
