//! `leaks`.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use vaultstore::envelope::{Envelope, OpenOutcome, OpenPolicy, open};
use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::store::PageLimit;
use vaultstore::{PasswordKey, Record, RecordId, VaultStore};

use super::census::Named;
use super::{Context, blocking, settings};
use crate::args::LeaksArgs;
use crate::exit::{Exit, Failure};
use crate::leaks::{Feature, Kind, Shape, Verdict, find, judge_alone, judge_group, key_of};
use crate::plan;
use crate::render::{
    self,
    leaks::{Group, Judged, Report},
};
use crate::secrets::Passwords;

/// Exit code 3 if anything tells records apart; nothing is written.
pub(super) async fn run(context: &Context, args: LeaksArgs) -> Result<Exit, Failure> {
    let store = context.open_store().await?;
    let own = settings::own_v2_cost(&*store, &context.limits).await?;
    let policy = plan::vault_options(&args.open, own, context.limits).open;
    let sources = args.passwords.sources();
    let given = blocking(move || Named::read(&mut Passwords::default(), sources, "--")).await?;
    let names = given.names.clone();
    let (looked, opener) = look(&*store, given, policy).await?;

    let mut features = looked.features();
    let (of_storage, not_looked_at) = storage(context, &*store, &looked).await?;
    features.extend(of_storage);
    let halves: Vec<bool> = looked.ids.iter().map(half).collect();
    let mut judged = Vec::new();
    for feature in &features {
        let (verdict, parts) = judge_alone(feature);
        judged.push(Judged::alone(feature, verdict, parts));
        for (password, name) in names.iter().enumerate() {
            let group: Vec<bool> = opener.iter().map(|by| *by == Some(password)).collect();
            let advantage = judge_group(&feature.values, &group, &halves);
            judged.push(Judged::with(feature, name, advantage));
        }
    }
    let groups = names.iter().enumerate().map(|(password, name)| Group {
        password: name,
        records: opener.iter().filter(|by| **by == Some(password)).count(),
    });
    let report = Report {
        vault: context.url.to_string(),
        records: looked.ids.len(),
        groups: groups.collect(),
        features: judged,
        not_looked_at,
    };
    if args.json {
        render::print_json(&report.json())?;
    } else {
        render::print_text(&report.text())?;
    }
    let tells = |feature: &Judged<'_>| matches!(feature.verdict, Verdict::Leak | Verdict::Mark);
    Ok(if report.features.iter().any(tells) { Exit::Remains } else { Exit::Done })
}

/// Which half of the records one belongs to; no order of the vault has anything to do with it.
fn half(id: &RecordId) -> bool {
    Sha256::digest(id.as_bytes()).first().is_some_and(|byte| byte % 2 == 0)
}

/// What each record shows, in the order of the ids.
#[derive(Default)]
struct Looked {
    ids: Vec<RecordId>,
    formats: Vec<i64>,
    kdfs: Vec<i64>,
    suites: Vec<i64>,
    spellings: Vec<i64>,
    lengths: Vec<i64>,
    rewritten: Vec<i64>,
    keys: Vec<Option<u64>>,
    /// The number of each salt and cost.
    known_kdfs: HashMap<KdfSetting, i64>,
}

impl Looked {
    fn take(&mut self, record: &Record) {
        let envelope = Envelope::parse(&record.envelope).ok();
        let (format, kdf, suite) = match &envelope {
            Some(Envelope::V1(_)) => (1, None, 0),
            Some(Envelope::V2(_)) => (2, None, 0),
            Some(Envelope::V3(v3)) => {
                let padded =
                    v3.padding().is_ok_and(|it| it == vaultstore::envelope::Padding::Padme);
                (3, v3.kdf().ok(), if padded { 2 } else { 1 })
            }
            _ => (0, None, 0),
        };
        let next = i64::try_from(self.known_kdfs.len()).unwrap_or(i64::MAX).saturating_add(1);
        let kdf = kdf.map_or(0, |kdf| *self.known_kdfs.entry(kdf).or_insert(next));
        let is_odd = matches!(&envelope, Some(Envelope::V2(_)))
            && envelope
                .as_ref()
                .and_then(Envelope::to_text)
                .is_some_and(|it| it != record.envelope);
        self.ids.push(record.id.clone());
        self.formats.push(format);
        self.kdfs.push(kdf);
        self.suites.push(suite);
        self.spellings.push(i64::from(is_odd));
        self.lengths.push(i64::try_from(record.envelope.len()).unwrap_or(i64::MAX));
        self.rewritten.push(i64::from(record.updated_at != record.created_at));
        self.keys.push(record.envelope.as_bytes().and_then(key_of));
    }

    fn features(&self) -> Vec<Feature> {
        let of = |name, text: &str, kind, values: &[i64]| Feature {
            tier: "columns",
            name,
            text: text.to_owned(),
            kind,
            values: values.to_vec(),
        };
        vec![
            of("format", "the format of a record", Kind::Class, &self.formats),
            of("kdf", "the salt and cost of a record", Kind::Class, &self.kdfs),
            of("suite", "whether a record is padded", Kind::Class, &self.suites),
            of("spelling", "the spelling of a record's text", Kind::Class, &self.spellings),
            of("length", "the length of a record", Kind::Figure, &self.lengths),
            of("updated", "whether a record was ever updated", Kind::Figure, &self.rewritten),
        ]
    }
}

/// Reads every record, and tries the passwords on it: which of them opens it, by its number.
async fn look(
    store: &dyn VaultStore,
    given: Named,
    policy: OpenPolicy,
) -> Result<(Looked, Vec<Option<usize>>), Failure> {
    let limit = PageLimit::new(4096, 8 << 20);
    let keys = given.into_keys();
    let (mut looked, mut opener, mut after) = (Looked::default(), Vec::new(), None);
    let mut salts = HashSet::new();
    loop {
        let page = store.list(after.as_ref(), limit).await?;
        let Some(last) = page.last() else { return Ok((looked, opener)) };
        after = Some(last.id.clone());
        let records: Vec<Record> = page.into_iter().collect();
        for record in &records {
            looked.take(record);
        }
        if keys.is_empty() {
            opener.extend(records.iter().map(|_| None));
            continue;
        }
        let (keys, policy) = (keys.clone(), policy.clone());
        let (openers, known) = blocking(move || {
            let mut memory = KdfMemory::new();
            let mut openers = Vec::with_capacity(records.len());
            for record in &records {
                openers.push(opener_of(record, &keys, &policy, &mut salts, &mut memory)?);
            }
            Ok((openers, salts))
        })
        .await?;
        opener.extend(openers);
        salts = known;
    }
}

/// The first password that opens a record.
fn opener_of(
    record: &Record,
    keys: &[std::sync::Arc<PasswordKey>],
    policy: &OpenPolicy,
    salts: &mut HashSet<KdfSetting>,
    memory: &mut KdfMemory,
) -> Result<Option<usize>, Failure> {
    let Ok(envelope) = Envelope::parse(&record.envelope) else { return Ok(None) };
    if let Envelope::V3(v3) = &envelope {
        let Ok(kdf) = v3.kdf() else { return Ok(None) };
        // The vault's own, and as many others as a rekey would try.
        let most = usize::try_from(policy.max_salts).unwrap_or(usize::MAX).saturating_add(1);
        if !salts.contains(&kdf) && salts.len() >= most {
            return Ok(None);
        }
        salts.insert(kdf);
    }
    for (number, key) in keys.iter().enumerate() {
        let outcome = open(&envelope, key, record.bound_to(), policy, memory)
            .map_err(vaultstore::VaultError::from)?;
        if let OpenOutcome::Opened(_) = outcome {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// What the storage tells, and what was not looked at.
async fn storage(
    context: &Context,
    store: &dyn VaultStore,
    looked: &Looked,
) -> Result<(Vec<Feature>, Vec<&'static str>), Failure> {
    let mut features = Vec::new();
    let Some(path) = context.url.file().map(Path::to_owned) else {
        for trace in store.traces().await? {
            let values: HashMap<RecordId, i64> = trace.values.into_iter().collect();
            let values = looked.ids.iter().map(|id| values.get(id).copied().unwrap_or(-1));
            let kind = if trace.is_order { Kind::Order } else { Kind::Class };
            let values = values.collect();
            features.push(Feature {
                tier: "session",
                name: trace.name,
                text: trace.what,
                kind,
                values,
            });
        }
        let not =
            vec!["pages and TOAST values", "the server's write-ahead log", "replicas", "backups"];
        return Ok((features, not));
    };
    let known = looked.keys.iter().enumerate();
    let known = known.filter_map(|(number, key)| Some(((*key)?, number))).collect();
    let shape = Shape { known };
    let (places, old) = blocking(move || files(&path, &shape)).await?;
    let count = looked.ids.len();
    let at = |number: usize| places.get(&number).copied().unwrap_or(-1);
    let place: Vec<i64> = (0..count).map(at).collect();
    let jump = (0..count).map(|number| at(number) - if number == 0 { 0 } else { at(number - 1) });
    let text = |text: &str| text.to_owned();
    features.push(Feature {
        tier: "file",
        name: "place",
        text: text("where a record lies in the file"),
        // A B-tree in the order of coming has no order of ids to keep.
        kind: Kind::Figure,
        values: place,
    });
    features.push(Feature {
        tier: "file",
        name: "jump",
        text: text("how far a record lies from the one before it"),
        kind: Kind::Figure,
        values: jump.collect(),
    });
    let mut residue = vec![0; count];
    if let Some(first) = residue.first_mut() {
        *first = i64::try_from(old).unwrap_or(i64::MAX);
    }
    features.push(Feature {
        tier: "file",
        name: "residue",
        text: format!("old envelopes in the file and its log ({old})"),
        kind: Kind::Class,
        values: residue,
    });
    Ok((features, vec!["blocks that the file system has put aside", "snapshots", "backups"]))
}

/// Looks through the file, and through the log or journal next to it.
fn files(path: &Path, shape: &Shape) -> Result<(HashMap<usize, i64>, u64), Failure> {
    let sibling = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (mut places, mut old) = (HashMap::new(), 0);
    for path in [path.to_owned(), sibling("-journal"), sibling("-wal")] {
        let found = find(&path, shape).map_err(|error| {
            Failure::failed(format!("{}: cannot be read", path.display())).because(error)
        })?;
        // A log counts its places from its own beginning, which tells what was written last.
        places.extend(found.places);
        old += found.old;
    }
    Ok((places, old))
}
