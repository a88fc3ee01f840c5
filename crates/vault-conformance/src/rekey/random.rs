//! Random vaults, rekeyed by random plans with random faults and a concurrent writer.

use std::{num::NonZeroUsize, sync::Arc};

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy},
    prop_oneof,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use vault_core::rekey::{EarlierRun, MergeCheck, RekeyState, RunStatus, Shard};
use vault_core::{RekeyPlan, RekeyReport, Vault};
use vault_store::{EnvelopeText, PageLimit, Record, StoreErrorKind, VaultStore};

use super::{
    ledger::{self, LEGACY_VALUE, Ledger, Move, Moved, Owner},
    options, reopen,
};
use crate::samples::seconds;
use crate::{Fault, FaultPlan, FaultyStore, StoreUnderTest};

/// How often a run may fail before the faults stop.
const FAULTY_RUNS: usize = 3;

/// The possible moves; the last two chain.
const PLANS: [&[Move]; 6] = [
    &[(Owner::Old, Owner::New)],
    &[(Owner::Old, Owner::New), (Owner::Foreign, Owner::Rival), (Owner::Legacy, Owner::New)],
    &[(Owner::Foreign, Owner::New), (Owner::Old, Owner::New)],
    &[(Owner::Legacy, Owner::Rival)],
    &[(Owner::Old, Owner::New), (Owner::New, Owner::Old)],
    &[(Owner::Old, Owner::New), (Owner::New, Owner::Rival), (Owner::Legacy, Owner::Old)],
];

/// For any vault (passwords, formats, costs, value sizes, soft-deleted, expired and broken
/// records), plan (pairs, chained pairs, shards, page limits, workers), faults of the store and
/// writes between two steps: once a rekey has run undisturbed, every record is what a model of the
/// plan says, and each report is true.
///
/// [`StoreUnderTest::histories`] says how many vaults; one that fails is shrunk and printed.
pub fn random_rekeys_end_as_a_model_does<S: StoreUnderTest>(subject: &S) {
    let config = Config {
        failure_persistence: None, // the printed vault is enough to repeat a failure
        ..Config::with_cases(subject.histories())
    };
    let result = TestRunner::new(config).run(&history(), |history| {
        subject.block_on(play(subject, history));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[derive(Clone, Debug)]
struct History {
    records: Vec<Made>,
    moves: &'static [Move],
    /// Only one rekeyer moves chained pairs.
    shards: u64,
    page: PageLimit,
    workers: NonZeroUsize,
    fault: Option<(FaultPlan, Fault)>,
    /// One after each step of the first shard, while there are any.
    writes: Vec<(Index, Owner)>,
}

#[derive(Clone, Debug)]
struct Made {
    owner: Owner,
    form: Form,
    value_len: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    V3,
    V2,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Shown,
    SoftDeleted,
    Expired,
}

impl History {
    fn chains(&self) -> bool {
        self.moves.iter().any(|(_, new)| self.moves.iter().any(|(old, _)| old == new))
    }

    fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        let count = if self.chains() { 1 } else { self.shards };
        (0..count).map(move |index| Shard::new(index, count).unwrap())
    }

    fn plan(&self, shard: Shard, state: Option<RekeyState>) -> RekeyPlan {
        let run = options(1).page_limit(self.page).workers(self.workers).parallel_threshold(0);
        let plan = RekeyPlan::new().merge_check(MergeCheck::Off).shard(shard).options(run);
        // A small vault may look as if its pairs had been moved before.
        let plan = plan.earlier_run(EarlierRun::None);
        let pair = |plan: RekeyPlan, (old, new): &Move| plan.pair(old.password(), new.password());
        let plan = self.moves.iter().fold(plan, pair);
        match state {
            Some(state) => plan.resume(state),
            None => plan,
        }
    }
}

async fn play<S: StoreUnderTest>(subject: &S, history: History) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    fill(&store, &ledger, &history.records).await;
    let chains = history.chains();
    let mut writes = history.writes.clone();
    let (mut rekeyed, mut scanned, mut left_open) = (0, 0, 0);
    for shard in history.shards() {
        let counts = rekey_at_last(&store, &ledger, &history, shard, &mut writes).await.counts;
        (rekeyed, scanned) = (rekeyed + counts.rekeyed, scanned + counts.scanned);
        left_open += counts.failed + counts.conflict;
    }
    if history.fault.is_none() && (chains || history.writes.is_empty()) {
        let due = history.moves.iter().map(|(old, _)| ledger.count(*old)).sum::<u64>();
        assert_eq!((rekeyed, scanned), (due, history.records.len() as u64));
    }
    // What was moved by a plan that chains would be moved on by another one.
    let again = history.shards().filter(|_| !chains);
    for shard in again {
        let (report, _) = run(Arc::clone(&store), history.plan(shard, None), async || ()).await;
        let counts = report.unwrap().counts;
        assert_eq!(counts.failed + counts.conflict, 0);
    }
    let store = reopen(subject, store).await;
    let moved = if chains && left_open > 0 { Moved::Some } else { Moved::All };
    ledger.check_moves(&*store, history.moves, moved).await;
}

/// Resumes until a run finishes, whose report covers them all.
async fn rekey_at_last(
    store: &Arc<impl VaultStore + 'static>,
    ledger: &Ledger,
    history: &History,
    shard: Shard,
    writes: &mut Vec<(Index, Owner)>,
) -> RekeyReport {
    let mut state = None;
    for number in 0..=FAULTY_RUNS {
        let (plan, fault) = match history.fault {
            Some(fault) if number < FAULTY_RUNS => fault,
            _ => (FaultPlan::Nth(0), Fault::Delay(0)),
        };
        let faulty = FaultyStore::new(Arc::clone(store), plan, fault);
        let (report, kept) = run(faulty, history.plan(shard, state.clone()), async || {
            if !history.chains()
                && let Some((which, owner)) = writes.pop()
            {
                write(store, ledger, which, owner).await;
            }
        })
        .await;
        state = kept.or(state);
        let Some(report) = report else { continue };
        assert_eq!(report.counts.scanned, report.counts.total());
        if report.end == RunStatus::Complete {
            return report;
        }
    }
    panic!("a rekey without faults does not come to its end");
}

/// One run, with a write after each step. Returns its report, if it started, and the state to
/// resume from.
async fn run(
    store: impl VaultStore + 'static,
    plan: RekeyPlan,
    mut deed: impl AsyncFnMut(),
) -> (Option<RekeyReport>, Option<RekeyState>) {
    let started = Vault::new(store, ledger::options()).rekey(plan).await;
    let Ok(mut session) = started else { return (None, None) };
    let mut state = None;
    while let Ok(Some(_)) = session.step().await {
        state = Some(session.state().unwrap());
        deed().await;
    }
    (Some(session.report().clone()), state)
}

async fn write(store: &Arc<impl VaultStore>, ledger: &Ledger, which: Index, owner: Owner) {
    let ids: Vec<_> = [Owner::Old, Owner::New, Owner::Foreign, Owner::Legacy, Owner::Nobody]
        .into_iter()
        .flat_map(|owner| ledger.ids(owner))
        .collect();
    if !ids.is_empty() {
        // The rekey may have intervened, which is reported as a conflict.
        ledger.rewrite(&**store, which.get(&ids), owner, b"written meanwhile").await;
    }
}

async fn fill(store: &Arc<impl VaultStore>, ledger: &Ledger, records: &[Made]) {
    for (number, made) in records.iter().enumerate() {
        let id = format!("{number:02}");
        let value = match made.owner {
            Owner::Legacy => LEGACY_VALUE.to_vec(),
            _ => vec![0; made.value_len],
        };
        let record = match (made.owner, made.form) {
            (Owner::Legacy, _) => ledger.legacy_record(&id),
            (Owner::Nobody, form) => spoiled(&ledger.record(&id, Owner::Old, &value), form),
            (owner, Form::V3) => ledger.record(&id, owner, &value),
            (owner, Form::V2) => ledger.v2_record(&id, owner, &value),
        };
        let record = match made.state {
            State::Shown => record,
            State::SoftDeleted => {
                Record { soft_deleted_at: Some(seconds(1_700_000_200)), ..record }
            }
            State::Expired => Record { expires_at: Some(seconds(1_700_000_300)), ..record },
        };
        ledger.insert(&**store, made.owner, &value, record).await;
    }
}

/// No password opens it: its last bit is flipped, or it is truncated.
fn spoiled(record: &Record, form: Form) -> Record {
    let mut text = record.envelope.as_bytes().unwrap().to_vec();
    match form {
        Form::V3 => text[140] = if text[140] == b'A' { b'B' } else { b'A' },
        Form::V2 => text.truncate(100),
    }
    Record { envelope: EnvelopeText::from_stored(text), ..record.clone() }
}

fn history() -> impl Strategy<Value = History> {
    let page = (1usize..9, 1usize..8000).prop_map(|(most, bytes)| PageLimit::new(most, bytes));
    let workers = (1usize..4).prop_map(|workers| NonZeroUsize::new(workers).unwrap());
    let how = (select(&PLANS[..]), 1u64..4, page, workers);
    let written = select(vec![Owner::Old, Owner::New, Owner::Foreign]);
    let writes = vec((proptest::arbitrary::any::<Index>(), written), 0..5);
    (vec(made(), 0..16), how, option::of(fault()), writes).prop_map(
        |(records, (moves, shards, page, workers), fault, writes)| History {
            records,
            moves,
            shards,
            page,
            workers,
            fault,
            writes,
        },
    )
}

fn made() -> impl Strategy<Value = Made> {
    let owner = prop_oneof![
        4 => Just(Owner::Old),
        2 => Just(Owner::New),
        2 => Just(Owner::Foreign),
        1 => Just(Owner::Legacy),
        1 => Just(Owner::Nobody),
    ];
    let form = prop_oneof![2 => Just(Form::V3), 1 => Just(Form::V2)];
    let value_len = prop_oneof![40 => Just(0usize), 400 => 1usize..3000, 1 => Just(1 << 20)];
    let state = select(vec![State::Shown, State::Shown, State::SoftDeleted, State::Expired]);
    (owner, form, value_len, state).prop_map(|(owner, form, value_len, state)| Made {
        owner,
        form,
        value_len,
        state,
    })
}

fn fault() -> impl Strategy<Value = (FaultPlan, Fault)> {
    let plan = (0u64..1000, 2u64..9).prop_map(|(seed, one_in)| FaultPlan::Seeded { seed, one_in });
    let kind = || {
        select(vec![
            StoreErrorKind::Retryable,
            StoreErrorKind::UnknownOutcome,
            StoreErrorKind::Other,
            StoreErrorKind::Full,
        ])
    };
    let fault = prop_oneof![
        kind().prop_map(Fault::ErrorBefore),
        Just(Fault::ReplyLost),
        Just(Fault::Delay(3)),
        (0usize..3).prop_map(Fault::DroppedAfter),
        (1usize..4, kind()).prop_map(|(first, kind)| Fault::Torn { first, kind }),
    ];
    (plan, fault)
}
