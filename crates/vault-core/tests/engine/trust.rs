//! What an attacker who can write to the database but knows no password gains from rows and
//! settings of their own: nothing.

use std::collections::HashSet;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::v1::V1Pad;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::executor::block_on;
use vault_core::census::{CensusPlan, CensusReport};
use vault_core::envelope::{Envelope, NotTried, OpenPolicy, Padding, SealParams, check, seal};
use vault_core::kdf::{KdfMemory, KdfMinimum, KdfSetting, Salt};
use vault_core::rekey::{Marking, MergeCheck, RekeyMode, RunStatus, WriteAs};
use vault_core::run::RunOptions;
use vault_core::settings::SettingsError;
use vault_core::store::{BoundTo, EnvelopeText, PageLimit, PutSetting};
use vault_core::time::Clock;
use vault_core::{
    CreateOptions, InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId,
    RekeyPlan, RekeyReport, Timestamp, Token, Vault, VaultError, VaultOptions, VaultStore,
    WriteFormat,
};

/// The floor of these tests, so that a derivation takes microseconds.
const FLOOR: KdfMinimum = KdfMinimum { min_m_kib: 64, min_work_kib: 128 };

fn cost(m_cost: u32, t: u32) -> KdfParams {
    KdfParams::new(m_cost, t, 1).unwrap()
}

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

struct World {
    store: MemoryStore,
    vault: Vault,
    clock: Arc<Hand>,
}

impl World {
    /// A vault at t=4, m=64 with the floor above.
    fn new() -> Self {
        Self::with(OpenPolicy::default())
    }

    fn with(mut open: OpenPolicy) -> Self {
        open.limits = open.limits.floor(FLOOR);
        let (store, clock) = (MemoryStore::new(), Arc::new(Hand(AtomicI64::new(1_000_000))));
        let options = VaultOptions::default().open(open).clock(clock.clone());
        let new = InitOptions::default().cost(cost(64, 4));
        let vault = block_on(Vault::init(store.clone(), new, options)).unwrap();
        Self { store, vault, clock }
    }

    /// The same store, opened with other options.
    fn reopened(&self, mut open: OpenPolicy) -> Vault {
        open.limits = open.limits.floor(FLOOR);
        Vault::new(self.store.clone(), VaultOptions::default().open(open))
    }

    fn own(&self) -> KdfSetting {
        match block_on(self.vault.seal_spec()).unwrap() {
            SealParams::V3 { kdf, .. } => kdf,
            SealParams::V2 { .. } => panic!("a v3 vault"),
        }
    }

    fn key(&self, password: &str) -> Arc<PasswordKey> {
        block_on(self.vault.derive_key(Password::new(password))).unwrap()
    }

    fn create(&self, password: &str, count: usize) -> Vec<Token> {
        let key = self.key(password);
        let create = |_| block_on(self.vault.create(b"value", &key, CreateOptions::default()));
        (0..count).map(|number| create(number).unwrap()).collect()
    }

    /// A row as an attacker inserts it.
    fn plant(&self, name: &str, envelope: EnvelopeText) -> Token {
        let token = token(name);
        let record = Record {
            id: RecordId::from_stored(name),
            token: token.clone(),
            envelope,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            expires_at: None,
            soft_deleted_at: None,
        };
        block_on(self.store.insert(vec![record])).unwrap();
        token
    }

    /// A row under a password, a salt and a cost that are the attacker's.
    fn plant_v3(&self, name: &str, password: &str, kdf: KdfSetting) -> Token {
        self.plant(name, sealed(name, password, &SealParams::V3 { kdf, padding: Padding::None }))
    }

    fn set(&self, name: &str, value: &str) {
        block_on(self.store.put_setting(name, value, PutSetting::Always)).unwrap();
    }

    fn envelopes(&self) -> Vec<(RecordId, EnvelopeText)> {
        let records = block_on(self.store.list(None, PageLimit::new(usize::MAX, usize::MAX)));
        records.unwrap().into_iter().map(|record| (record.id, record.envelope)).collect()
    }

    fn kdfs(&self) -> Vec<KdfSetting> {
        let of = |(_, text): (RecordId, EnvelopeText)| {
            let envelope = Envelope::parse(&text).unwrap();
            check(&envelope, &OpenPolicy::trusting()).unwrap().kdf().unwrap()
        };
        self.envelopes().into_iter().map(of).collect()
    }
}

fn token(name: &str) -> Token {
    Token::new(format!("tk_{name}")).unwrap()
}

fn sealed(name: &str, password: &str, spec: &SealParams) -> EnvelopeText {
    let (id, token) = (RecordId::from_stored(name), token(name));
    let key = PasswordKey::new(Password::new(password));
    seal(b"planted", &key, BoundTo { id: &id, token: &token }, spec, &mut KdfMemory::new()).unwrap()
}

fn other_salt(number: u8, params: KdfParams) -> KdfSetting {
    KdfSetting { params, salt: Salt::from_bytes([number; Salt::LEN]) }
}

fn plan() -> RekeyPlan {
    let options = RunOptions::default().without_threads();
    RekeyPlan::new().pair(Password::new("old"), Password::new("new")).options(options)
}

fn rekey(vault: &Vault, plan: RekeyPlan) -> RekeyReport {
    block_on(async { vault.rekey(plan).await.unwrap().run().await.unwrap() })
}

fn census(vault: &Vault, passwords: &[&str]) -> CensusReport {
    let keys = passwords.iter().map(|text| Arc::new(PasswordKey::new(Password::new(*text))));
    let plan = keys.fold(CensusPlan::new(), CensusPlan::key);
    block_on(async { vault.census(plan).await.unwrap().run().await.unwrap() })
}

#[test]
fn v1_is_opened_only_where_the_caller_allows_it() {
    let world = World::new();
    world.create("old", 3);
    // One opens under the old password, one under the new one: as a forger can make them for any.
    let planted = world.plant("1", V1Pad::of(b"old").seal(b"value"));
    world.plant("2", V1Pad::of(b"new").seal(b"value"));
    let before = world.envelopes();
    let key = world.key("old");
    let refused = block_on(world.vault.read(&planted, &key));
    assert!(matches!(refused, Err(VaultError::NotTried(NotTried::V1))), "{refused:?}");
    let refused = block_on(world.vault.update(&planted, b"x", &key));
    assert!(matches!(refused, Err(VaultError::NotTried(NotTried::V1))), "{refused:?}");
    assert!(block_on(world.vault.read_or_none(&planted, &key)).unwrap().is_none());

    let counted = census(&world.vault, &["old", "new"]);
    assert_eq!((counted.not_tried.v1, counted.unopened, counted.unchecked), (2, 2, 2));
    assert_eq!(census(&world.vault, &[]).not_tried.total(), 0);

    for mode in [RekeyMode::DryRun, RekeyMode::Apply] {
        let report = rekey(&world.vault, plan().dry_run(mode));
        assert_eq!((report.counts.rekeyed, report.counts.not_tried.v1), (3, 2), "{mode:?}");
        assert_eq!(report.counts.total(), report.counts.scanned);
        assert!(report.needs_attention());
        assert_eq!(report.end, RunStatus::Complete);
    }
    let now = world.envelopes();
    let kept: Vec<_> = before.iter().zip(&now).map(|(was, is)| was == is).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "the planted ones");

    let allowed = world.reopened(OpenPolicy::default().allow_v1(true));
    assert_eq!(block_on(allowed.read(&planted, &key)).unwrap().as_bytes(), b"value");
    let report = rekey(&allowed, plan().merge_check(MergeCheck::Off).marks(Marking::Allow));
    assert_eq!((report.counts.rekeyed, report.counts.not_tried.total()), (1, 0));
}

#[test]
fn a_finished_job_without_v1_is_no_job_with_v1() {
    let world = World::new();
    world.plant("1", V1Pad::of(b"old").seal(b"value"));
    let (report, state) = block_on(async {
        let mut session = world.vault.rekey(plan()).await.unwrap();
        while session.step().await.unwrap().is_some() {}
        (session.report().clone(), session.state().unwrap())
    });
    assert_eq!((report.counts.rekeyed, report.counts.not_tried.v1), (0, 1));
    let allowed = world.reopened(OpenPolicy::default().allow_v1(true));
    let report = rekey(&allowed, plan().resume(state));
    assert_eq!((report.counts.rekeyed, report.counts.scanned), (1, 1));
}

#[test]
fn no_password_is_tried_below_the_floor() {
    let world = World::new();
    world.create("old", 2);
    // Each is a guess that costs nearly nothing; one is right.
    let cheap = other_salt(1, cost(8, 1));
    let planted = world.plant_v3("guess", "old", cheap);
    world.plant_v3("other guess", "new", cheap);
    // Its memory is above the floor, and its work below.
    world.plant_v3("thin", "old", other_salt(2, cost(64, 1)));
    let before = world.envelopes();

    let key = world.key("old");
    let refused = block_on(world.vault.read(&planted, &key));
    let is_below = |refused: &Result<_, _>| matches!(refused, Err(VaultError::NotTried(NotTried::BelowFloor(below))) if below.floor == FLOOR);
    assert!(is_below(&refused), "{refused:?}");
    assert!(!key.is_prepared(&cheap));
    // What the old password opens is not tried with the other one.
    for (passwords, derivations) in [(&[][..], 0), (&["old", "new"][..], 1)] {
        let counted = census(&world.vault, passwords);
        assert_eq!((counted.not_tried.below_floor, counted.derivations), (3, derivations));
    }
    for mode in [RekeyMode::DryRun, RekeyMode::Apply] {
        let report = rekey(&world.vault, plan().dry_run(mode));
        assert_eq!((report.counts.rekeyed, report.counts.not_tried.below_floor), (2, 3));
        assert!(report.needs_attention() && report.derivations <= 3);
    }
    let now = world.envelopes();
    let same = before.iter().zip(&now).filter(|(was, is)| was == is).count();
    assert_eq!(same, 3, "no planted row tells which guess was right");
}

#[test]
fn planted_salts_cost_a_bounded_number_of_derivations() {
    let world = World::with(OpenPolicy::default().max_salts(4));
    let honest = world.create("old", 2);
    let mut planted = Vec::new();
    for number in 0..20 {
        let kdf = other_salt(number, cost(64, 2));
        planted.push(world.plant_v3(&format!("{number:02}"), "of the attacker", kdf));
    }
    let report = rekey(&world.vault, plan());
    assert_eq!((report.counts.rekeyed, report.counts.not_tried.other_salts), (2, 16));
    // The old password and the new one, and the new one twice under the vault's own salt.
    assert!(report.derivations <= 3 + 2 * 4, "{}", report.derivations);
    let counted = census(&world.vault, &["old"]);
    assert_eq!((counted.not_tried.other_salts, counted.derivations), (16, 1 + 4));

    let key = world.key("new");
    let read = |tokens: &[Token]| block_on(world.vault.read_many(tokens, &key)).unwrap();
    let refused = |answers: &[Result<_, VaultError>]| {
        let of_salt =
            |answer: &&Result<_, _>| matches!(answer, Err(VaultError::NotTried(NotTried::Salt)));
        answers.iter().filter(of_salt).count()
    };
    let all = [&planted[..], &honest].concat();
    let answers = read(&all);
    assert_eq!(refused(&answers), 16);
    assert!(answers[20..].iter().all(Result::is_ok), "the vault's own salt is not bounded");
    let single = block_on(world.vault.read(&planted[10], &key));
    assert!(matches!(single, Err(VaultError::NotTried(NotTried::Salt))), "{single:?}");
    world.clock.0.fetch_add(60_000_000, Ordering::Relaxed);
    assert_eq!(refused(&read(&all)), 12, "four more in the next minute");
}

/// Salt and cost as the attacker sets them, each at or above the floor.
fn changed_settings(own: KdfSetting) -> [KdfSetting; 3] {
    let attackers = Salt::from_bytes([7; Salt::LEN]);
    [
        KdfSetting { params: cost(64, 2), ..own },
        KdfSetting { salt: attackers, ..own },
        KdfSetting { params: cost(64, 2), salt: attackers },
    ]
}

#[test]
fn a_changed_setting_neither_lowers_a_cost_nor_moves_a_salt_and_is_reported_before_the_first_write()
{
    for (number, check) in (0..3).flat_map(|n| [(n, MergeCheck::Fast), (n, MergeCheck::Off)]) {
        let world = World::new();
        world.create("old", 5);
        let own = world.own();
        let setting = changed_settings(own)[number];
        world.set("kdf", &setting.to_string());
        let vault = world.reopened(OpenPolicy::default());

        let rehearsal = rekey(&vault, plan().dry_run(RekeyMode::DryRun));
        let doubt = rehearsal.kdf_doubt.unwrap();
        assert_eq!((doubt.setting, doubt.most, doubt.records, doubt.of), (setting, own, 5, 5));
        assert_eq!(rehearsal.before, rehearsal.after);

        let before = world.envelopes();
        let mut session = block_on(vault.rekey(plan().merge_check(check))).unwrap();
        while session.report().kdf_doubt.is_none() {
            assert!(block_on(session.step()).unwrap().is_some(), "it ends without a word");
        }
        assert_eq!(world.envelopes(), before, "nothing is written before");
        let report = block_on(session.run()).unwrap();
        assert_eq!(report.counts.rekeyed, 5);
        assert_eq!(report.kdf_doubt.unwrap().setting, setting);
        assert_eq!(world.kdfs(), [own; 5]);
        assert_eq!(report.before, report.after);
    }
}

/// Somebody who changes the setting plants records that fit it where a page at the start finds
/// them.
#[test]
fn records_planted_at_the_start_do_not_make_a_changed_setting_fit() {
    let world = World::new();
    world.create("old", 1500);
    let own = world.own();
    let setting = changed_settings(own)[2];
    world.set("kdf", &setting.to_string());
    let spec = SealParams::V3 { kdf: setting, padding: Padding::None };
    let planted = sealed("0", "of the attacker", &spec);
    for number in 0..1200 {
        world.plant(&format!("{number:06}"), planted.clone());
    }
    let vault = world.reopened(OpenPolicy::default());
    let mut session = block_on(vault.rekey(plan().merge_check(MergeCheck::Off))).unwrap();
    let before_the_first_write = session.report().kdf_doubt.unwrap();
    assert_eq!((before_the_first_write.records, before_the_first_write.of), (1500, 2700));
    while block_on(session.step()).unwrap().is_some() {}
    let report = session.report();
    let counted = report.kdf_doubt.unwrap();
    assert_eq!((report.counts.rekeyed, counted.most, counted.records), (1500, own, 1500));
}

#[test]
fn a_setting_that_raises_the_cost_is_followed_and_one_that_is_asked_for_as_well() {
    let world = World::new();
    world.create("old", 3);
    let own = world.own();
    let higher = KdfSetting { params: cost(128, 4), ..own };
    world.set("kdf", &higher.to_string());
    let vault = world.reopened(OpenPolicy::default());
    let there = RekeyPlan::new().pair(Password::new("old"), Password::new("then"));
    assert_eq!(rekey(&vault, there).counts.rekeyed, 3);
    assert_eq!(world.kdfs(), [own; 3], "not without being asked");
    let plan = RekeyPlan::new().pair(Password::new("then"), Password::new("new"));
    let report = rekey(&vault, plan.write_as(WriteAs::Vault));
    assert_eq!((report.counts.rekeyed, report.kdf_doubt), (3, None));
    assert_eq!(world.kdfs(), [higher; 3]);

    let asked = other_salt(9, cost(64, 2));
    let back = RekeyPlan::new().pair(Password::new("new"), Password::new("newer"));
    let spec = SealParams::V3 { kdf: asked, padding: Padding::None };
    rekey(&vault, back.write_as(spec));
    assert_eq!(world.kdfs(), [asked; 3]);
}

#[test]
fn an_update_keeps_what_a_rekey_keeps() {
    let world = World::new();
    let tokens = world.create("old", 1);
    let own = world.own();
    world.set("kdf", &changed_settings(own)[2].to_string());
    world.set("format", &WriteFormat::V2.to_string());
    let vault = world.reopened(OpenPolicy::default());
    let key = Arc::new(PasswordKey::new(Password::new("old")));
    block_on(vault.update(&tokens[0], b"newer", &key)).unwrap();
    assert_eq!(world.kdfs(), [own]);
    assert_eq!(rekey(&vault, plan()).counts.rekeyed, 1);
    assert_eq!(world.kdfs(), [own], "and no setting makes a v2 of a v3");
}

#[test]
fn a_setting_over_the_ceiling_is_refused_and_never_derived_under() {
    let world = World::new();
    let own = world.own();
    world.set("kdf", &KdfSetting { params: KdfParams::RFC9106_FIRST, ..own }.to_string());
    let vault = world.reopened(OpenPolicy::default());
    let refused = block_on(vault.derive_key(Password::new("old")));
    assert!(matches!(refused, Err(VaultError::Settings(_))), "{refused:?}");
}

#[test]
fn a_setting_below_the_minimum_seals_nothing() {
    let world = World::new();
    let token = world.create("old", 1).remove(0);
    let own = world.own();
    world.set("kdf", &KdfSetting { params: cost(8, 1), ..own }.to_string());
    let vault = world.reopened(OpenPolicy::default());
    let key = Arc::new(PasswordKey::new(Password::new("old")));
    let below = |refused: &VaultError| {
        matches!(refused, VaultError::Settings(SettingsError::StoredCost { name: "kdf", .. }))
    };
    let refused = block_on(vault.create(b"new", &key, CreateOptions::default())).unwrap_err();
    assert!(below(&refused), "{refused:?}");
    let refused = block_on(vault.update(&token, b"new", &key)).unwrap_err();
    assert!(below(&refused), "{refused:?}");
    assert!(block_on(vault.rekey(plan())).is_err());
    assert_eq!(world.kdfs(), [own]);
}

/// Where salt and cost end in a v3 envelope: what follows is the nonce's or depends on it.
const OF_THE_VAULT: usize = 26;

/// The bytes of each envelope, by id.
fn sealed_bytes(world: &World) -> Vec<(RecordId, Vec<u8>)> {
    let bytes = |text: EnvelopeText| {
        URL_SAFE_NO_PAD.decode(text.as_bytes().unwrap().strip_prefix(b"v3:").unwrap()).unwrap()
    };
    world.envelopes().into_iter().map(|(id, text)| (id, bytes(text))).collect()
}

/// No eight bytes of any record occur in another one, except those that all have.
fn assert_nothing_links(envelopes: &[(RecordId, Vec<u8>)]) {
    let mut seen = HashSet::new();
    for (_, envelope) in envelopes {
        assert_eq!(envelope[..OF_THE_VAULT], envelopes[0].1[..OF_THE_VAULT]);
        assert_eq!(envelope.len(), envelopes[0].1.len());
        let own: HashSet<_> = envelope[OF_THE_VAULT..].windows(8).collect();
        assert!(own.iter().all(|bytes| seen.insert(*bytes)), "two records have bytes in common");
    }
}

#[test]
fn nothing_stored_tells_which_records_share_a_password_before_or_after_a_rekey() {
    let world = World::new();
    world.create("old", 20);
    world.create("another", 20);
    let everything = |world: &World| {
        let records = block_on(world.store.list(None, PageLimit::new(usize::MAX, usize::MAX)));
        records
            .unwrap()
            .into_iter()
            .map(|record| {
                (
                    record.envelope.len(),
                    Record { envelope: EnvelopeText::from_stored(*b""), ..record },
                )
            })
            .collect::<Vec<_>>()
    };
    let settings = block_on(world.store.settings()).unwrap();
    let names: Vec<_> = settings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["format", "kdf"]);
    let (before, records) = (sealed_bytes(&world), everything(&world));
    assert_nothing_links(&before);
    assert_eq!(rekey(&world.vault, plan()).counts.rekeyed, 20);
    let after = sealed_bytes(&world);
    assert_nothing_links(&after);
    // Nothing but envelopes has changed, and these in nothing that all have.
    assert_eq!(everything(&world), records);
    assert_eq!(block_on(world.store.settings()).unwrap(), settings);
    assert_eq!(after[0].1[..OF_THE_VAULT], before[0].1[..OF_THE_VAULT]);
    let changed = before.iter().zip(&after).filter(|(was, is)| was != is).count();
    assert_eq!(changed, 20);
}
