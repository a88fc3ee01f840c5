//! In which form a rekey writes records, and what it says before it would mark them.

use crate::v1::V1Pad;
use futures::{FutureExt, executor::block_on};
use vault_core::envelope::{
    Envelope, Format, OpenPolicy, Padding, SealParams, V2Params, check, open, seal,
};
use vault_core::kdf::{KdfLimits, KdfMemory, KdfMinimum, KdfSetting, Salt};
use vault_core::rekey::{
    Mark, MarkReason, Marking, Marks, MergeCheck, RekeyError, RekeyMode, ResumeError, RunStatus,
    WriteAs,
};
use vault_core::run::RunOptions;
use vault_core::store::{BoundTo, EnvelopeText, PageLimit};
use vault_core::{
    KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, RekeyPlan, RekeyReport,
    Timestamp, Token, Vault, VaultOptions, VaultStore,
};

fn cost(m: u32, t: u32) -> KdfParams {
    KdfParams::new(m, t, 1).unwrap()
}

fn kdf(salt: u8, params: KdfParams) -> KdfSetting {
    KdfSetting { params, salt: Salt::from_bytes([salt; Salt::LEN]) }
}

fn v3(salt: u8, params: KdfParams) -> SealParams {
    SealParams::V3 { kdf: kdf(salt, params), padding: Padding::None }
}

fn v2(params: KdfParams) -> SealParams {
    SealParams::V2 { params }
}

/// The cost of the vault's settings.
fn own() -> KdfParams {
    cost(64, 2)
}

/// Costs below this are below the floor.
fn low() -> KdfParams {
    cost(8, 1)
}

fn policy() -> OpenPolicy {
    let floor = KdfMinimum { min_m_kib: 32, min_work_kib: 32 };
    OpenPolicy::default()
        .limits(KdfLimits::default().floor(floor))
        .v2_costs([own(), low()].map(V2Params::new))
        .allow_v1(true)
}

/// A vault whose settings are v3 at [`own`], with salt 1.
struct World {
    store: MemoryStore,
    policy: OpenPolicy,
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::new();
        let settings = [("kdf", kdf(1, own()).to_string()), ("format", "v3".to_owned())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        assert!(block_on(store.init_settings(&settings)).unwrap());
        Self { store, policy: policy() }
    }

    fn put(&self, name: &str, envelope: EnvelopeText) {
        let time = Timestamp::from_micros(1);
        let record = Record {
            id: RecordId::from_stored(name),
            token: token(name),
            envelope,
            created_at: time,
            updated_at: time,
            expires_at: None,
            soft_deleted_at: None,
        };
        block_on(self.store.insert(vec![record])).unwrap();
    }

    /// Adds a record of this form for each of these passwords.
    fn add(&self, name: &str, spec: SealParams, passwords: &[&str]) {
        for password in passwords {
            let name = format!("{name}-{password}");
            self.put(&name, sealed(&name, password, &spec));
        }
    }

    fn texts(&self) -> Vec<(String, EnvelopeText)> {
        let all = PageLimit::new(usize::MAX, usize::MAX);
        let records = self.store.list(None, all).now_or_never().unwrap().unwrap().records;
        records.into_iter().map(|record| (record.id.to_string(), record.envelope)).collect()
    }

    fn vault(&self) -> Vault {
        let options = VaultOptions::default().open(self.policy.clone());
        Vault::new(self.store.clone(), options)
    }

    fn rekey(&self, plan: RekeyPlan) -> Result<RekeyReport, RekeyError> {
        block_on(async { self.vault().rekey(plan).await?.run().await })
    }

    fn marks(&self, plan: RekeyPlan) -> Vec<Mark> {
        match self.rekey(plan) {
            Err(RekeyError::Marks(Marks(marks))) => marks,
            other => panic!("{other:?}"),
        }
    }
}

fn token(name: &str) -> Token {
    Token::new(format!("tk_{name}")).unwrap()
}

fn sealed(name: &str, password: &str, spec: &SealParams) -> EnvelopeText {
    let (id, token) = (RecordId::from_stored(name), token(name));
    let key = PasswordKey::new(Password::new(password));
    seal(b"value", &key, BoundTo { id: &id, token: &token }, spec, &mut KdfMemory::new()).unwrap()
}

fn opens(name: &str, text: &EnvelopeText, password: &str, cost: V2Params) -> bool {
    let (id, token) = (RecordId::from_stored(name), token(name));
    let policy = OpenPolicy::trusting().v2_costs([cost]);
    let key = PasswordKey::new(Password::new(password));
    let envelope = Envelope::parse(text).unwrap();
    let bound_to = BoundTo { id: &id, token: &token };
    let opened = open(&envelope, &key, bound_to, &policy, &mut KdfMemory::new()).unwrap();
    matches!(opened, vault_core::envelope::OpenOutcome::Opened(_))
}

/// What anybody reads off a text.
fn form(text: &EnvelopeText) -> (Format, Option<(KdfSetting, Padding)>, usize) {
    let envelope = Envelope::parse(text).unwrap();
    let kdf = check(&envelope, &OpenPolicy::trusting()).unwrap().kdf();
    let padding = match &envelope {
        Envelope::V3(envelope) => Some(envelope.padding().unwrap()),
        _ => None,
    };
    (envelope.format(), kdf.zip(padding), text.as_bytes().unwrap().len())
}

fn plan() -> RekeyPlan {
    let options = RunOptions::default().without_threads();
    RekeyPlan::new().pair(Password::new("old"), Password::new("new")).options(options)
}

fn mark(reason: MarkReason, records: u64) -> Mark {
    Mark { reason, records }
}

const BOTH: &[&str] = &["old", "other"];

#[test]
fn each_record_keeps_its_format_suite_cost_salt_and_length() {
    let mut world = World::new();
    world.add("own", v3(1, own()), BOTH);
    world.add("lower", v3(1, cost(32, 2)), BOTH);
    world.add("higher", v3(1, cost(128, 2)), BOTH);
    world.add("merged", v3(2, own()), BOTH);
    world.add("merged higher", v3(3, cost(128, 3)), BOTH);
    world.add("padded", SealParams::V3 { kdf: kdf(1, own()), padding: Padding::Padme }, BOTH);
    world.add("v2", v2(own()), BOTH);
    let high = V2Params::new(cost(128, 2));
    world.add("v2 higher", v2(*high.params()), BOTH);
    world.policy.v2_costs = vec![V2Params::new(own()), high];
    let before = world.texts();

    let report = world.rekey(plan()).unwrap();

    assert_eq!((report.counts.rekeyed, report.end), (8, RunStatus::Complete));
    assert_eq!(report.before, report.after);
    assert!(report.marks.is_empty());
    for ((name, was), (_, is)) in before.iter().zip(&world.texts()) {
        assert_eq!(form(was), form(is), "{name}");
        let own = V2Params::new(own());
        let v2_cost = if name.starts_with("v2 higher") { high } else { own };
        let moved = name.ends_with("old");
        assert_eq!(opens(name, is, "new", v2_cost), moved, "{name}");
        assert_eq!(was == is, !moved, "{name}");
    }
}

#[test]
fn salts_beyond_the_limit_are_neither_tried_nor_written() {
    let mut world = World::new();
    world.policy.max_salts = 2;
    for salt in 2..6 {
        world.add(&format!("salt {salt}"), v3(salt, own()), BOTH);
    }
    let report = world.rekey(plan()).unwrap();
    // Two salts besides the vault's own are tried, and written; nothing is known of the others.
    assert_eq!((report.counts.rekeyed, report.counts.not_tried.other_salts), (2, 4));
    assert!(report.needs_attention());
}

#[test]
fn what_is_never_written_is_named_before_the_first_write() {
    let world = World::new();
    world.add("a", v3(1, own()), BOTH);
    world.put("v1-old", V1Pad::of(b"old").seal(b"value"));
    world.put("v1-other", V1Pad::of(b"other").seal(b"value"));
    world.add("low", v2(low()), BOTH);
    for name in ["odd-old", "odd-other"] {
        let mut text = sealed(name, &name[4..], &v2(own())).as_bytes().unwrap().to_vec();
        text.insert(10, b'\n');
        world.put(name, EnvelopeText::from_stored(text));
    }
    let before = world.texts();
    let expected =
        [MarkReason::V1, MarkReason::BelowFloor, MarkReason::Spelling].map(|why| mark(why, 1));

    for check in [MergeCheck::Fast, MergeCheck::Full, MergeCheck::Off] {
        assert_eq!(world.marks(plan().merge_check(check)), expected, "{check:?}");
        assert_eq!(world.texts(), before, "{check:?}: nothing was written");
        let dry = plan().merge_check(check).dry_run(RekeyMode::DryRun);
        let report = world.rekey(dry).unwrap();
        assert!(report.would_mark());
        assert_eq!(report.marks.0, expected, "{check:?}");
    }
    let report = world.rekey(plan().marks(Marking::Allow)).unwrap();
    assert_eq!((report.counts.rekeyed, report.marks.0.as_slice()), (4, &expected[..]));
    let own = V2Params::new(own());
    for (name, text) in world.texts().iter().filter(|(name, _)| name.ends_with("old")) {
        assert!(opens(name, text, "new", own), "{name}");
        let is_v2 = form(text).0 == Format::V2;
        assert_eq!(is_v2, name.starts_with("odd"), "{name}");
    }
}

#[test]
fn a_form_that_is_left_as_a_whole_marks_nobody() {
    let world = World::new();
    world.add("a", v3(1, own()), BOTH);
    world.put("v1-old", V1Pad::of(b"old").seal(b"value"));
    world.put("v1-older", V1Pad::of(b"older").seal(b"value"));
    let both = || plan().pair(Password::new("older"), Password::new("newer"));
    assert_eq!(world.marks(plan()), [mark(MarkReason::V1, 1)]);
    let report = world.rekey(both()).unwrap();
    assert_eq!((report.counts.rekeyed, report.marks.is_empty()), (3, true));
}

#[test]
fn what_is_asked_for_is_named_if_it_tells_records_apart() {
    let to_vault = || plan().write_as(WriteAs::Vault);
    let world = World::new();
    world.add("own", v3(1, own()), BOTH);
    // Nothing changes its form.
    assert_eq!(world.rekey(to_vault()).unwrap().counts.rekeyed, 1);

    let world = World::new();
    world.add("lower", v3(1, cost(32, 2)), BOTH);
    assert_eq!(world.marks(to_vault()), [mark(MarkReason::Asked, 1)]);
    let to_v2 = plan().write_as(v2(own()));
    assert_eq!(world.marks(to_v2), [mark(MarkReason::Asked, 1)]);
    let report = world.rekey(to_vault().marks(Marking::Allow)).unwrap();
    assert_eq!(report.marks.0, [mark(MarkReason::Asked, 1)]);

    let world = World::new();
    world.add("v2", v2(own()), BOTH);
    // Trying the old password on v2 costs an Argon2id each, which is the caller's to ask for.
    assert_eq!(world.marks(to_vault()), [mark(MarkReason::NotTried, 2)]);
    let rehearsal = world.rekey(to_vault().dry_run(RekeyMode::DryRun)).unwrap();
    assert_eq!(rehearsal.marks.0, [mark(MarkReason::NotTried, 2)]);
    let full = || to_vault().merge_check(MergeCheck::Full);
    assert_eq!(world.marks(full()), [mark(MarkReason::Asked, 1)]);
    let all = full().pair(Password::new("other"), Password::new("newer"));
    assert_eq!(world.rekey(all).unwrap().counts.rekeyed, 2);
    assert!(world.texts().iter().all(|(_, text)| form(text).0 == Format::V3));

    // Nothing matches, so nothing is marked.
    let none = RekeyPlan::new().pair(Password::new("nobody's"), Password::new("new"));
    let none = none.options(RunOptions::default().without_threads()).write_as(v2(own()));
    assert_eq!(world.rekey(none).unwrap().counts.rekeyed, 0);
}

#[test]
fn a_run_that_resumes_writes_the_same_form() {
    let world = World::new();
    for number in 0..10 {
        world.add(&number.to_string(), v3(1, own()), BOTH);
    }
    let page = RunOptions::default().without_threads().page_limit(PageLimit::new(2, 1 << 20));
    let state = block_on(async {
        let mut session = world.vault().rekey(plan().options(page)).await.unwrap();
        while session.report().counts.rekeyed == 0 {
            session.step().await.unwrap().unwrap();
        }
        session.state().unwrap()
    });
    let refused = world.rekey(plan().write_as(WriteAs::Vault).resume(state.clone()));
    assert!(matches!(refused, Err(RekeyError::State(ResumeError::OtherPlan))), "{refused:?}");
    assert_eq!(world.rekey(plan().resume(state)).unwrap().counts.rekeyed, 10);
}

fn upgrade(passwords: &[&str]) -> RekeyPlan {
    let plan = RekeyPlan::new().options(RunOptions::default().without_threads());
    passwords.iter().map(|text| Password::new(*text)).fold(plan, RekeyPlan::upgrade)
}

#[test]
fn an_upgrade_gives_all_records_one_form_and_leaves_their_passwords() {
    let world = World::new();
    world.add("own", v3(1, own()), BOTH);
    world.add("lower", v3(1, cost(32, 2)), BOTH);
    world.add("merged", v3(2, cost(128, 2)), BOTH);
    world.add("v2", v2(own()), BOTH);
    world.put("v1-old", V1Pad::of(b"old").seal(b"value"));
    let before = world.texts();

    // Of those that one password does not open, each is listed, and nothing is written.
    let mut session = block_on(world.vault().rekey(upgrade(&["old"]))).unwrap();
    let refused = loop {
        match block_on(session.step()) {
            Ok(more) => assert!(more.is_some(), "it is refused"),
            Err(refused) => break refused,
        }
    };
    assert!(
        matches!(refused, RekeyError::Marks(Marks(marks)) if marks == [mark(MarkReason::Left, 3)])
    );
    let left: Vec<_> = session.report().left.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["lower-other", "merged-other", "v2-other"]);
    assert_eq!(world.texts(), before);
    drop(session);

    let dry = world.rekey(upgrade(BOTH).dry_run(RekeyMode::DryRun)).unwrap();
    assert_eq!((dry.counts.rekeyed, world.texts() == before), (7, true));
    let report = world.rekey(upgrade(BOTH)).unwrap();
    assert_eq!((report.counts.rekeyed, report.left.len(), report.end), (7, 0, RunStatus::Complete));
    let cost = V2Params::new(own());
    let vaults = form(&sealed("x", "old", &v3(1, own())));
    for (name, text) in world.texts() {
        let owner = if name.ends_with("old") { "old" } else { "other" };
        assert!(opens(&name, &text, owner, cost), "{name}");
        assert_eq!(form(&text), vaults, "{name}");
    }
    let again = world.rekey(upgrade(BOTH)).unwrap();
    assert_eq!((again.counts.rekeyed, again.counts.already_new), (0, 9));
}

#[test]
fn what_an_upgrade_leaves_is_left_where_that_is_allowed() {
    let world = World::new();
    world.add("lower", v3(1, cost(32, 2)), BOTH);
    let report = world.rekey(upgrade(&["old"]).marks(Marking::Allow)).unwrap();
    assert_eq!(
        (report.counts.rekeyed, report.marks.0.as_slice()),
        (1, &[mark(MarkReason::Left, 1)][..])
    );
    assert_eq!(report.left.len(), 1);
}
