//! [`check`], [`seal()`](super::seal) and [`CheckedEnvelope::open`] for a few records at a time.
//!
//! SHA-256 for v3 is computed for all of them at once. The results are the same as for one record
//! after another, which is how the other formats are processed.

use std::{iter, mem, sync::Arc};

use subtle::ConstantTimeEq as _;

use super::{
    CheckedEnvelope, Kind, OpenOutcome, Rejected, SealError, SealParams, after_check, check,
    decrypt_v3, encrypt_v3, lanes_of, plaintext_len, seal, seal_as_v2,
};
use crate::crypto::envelope::{
    Envelope, Header, KEY_LEN, Malformed, NONCE_LEN, Padding, StoredHeader, V2Params, V3, suite_of,
};
use crate::crypto::kdf::{KdfError, KdfMemory, KdfSetting};
use crate::crypto::key::PasswordKey;
use crate::crypto::master::{Master, Write, commitments, subkeys};
use crate::crypto::policy::NotTried;
use crate::crypto::salts::RunPolicy;
use sha256_lanes::{Message, digests};
use vault_store::BoundTo;
use vault_store::EnvelopeText;

/// An envelope of a batch that some key may open.
pub(crate) struct Candidate<'a> {
    /// Its index among the parsed records.
    pub(crate) index: usize,
    pub(crate) bound_to: BoundTo<'a>,
    pub(crate) checked: CheckedEnvelope<'a>,
    /// The cost that opened it, if it is a v2.
    pub(crate) v2_cost: Option<V2Params>,
}

/// Applies [`check`] to each envelope, and returns the candidates and the verdicts on the others. A
/// salt and cost that the run does not try rejects an envelope, too.
pub(crate) fn check_all<'a>(
    parsed: &'a [Result<Envelope, Malformed>],
    bound: impl Iterator<Item = BoundTo<'a>>,
    run: &'a RunPolicy,
) -> (Vec<Candidate<'a>>, Vec<(usize, Rejected)>) {
    let messages: Vec<_> = v3_of(parsed).map(|envelope| Message::new(envelope.checked())).collect();
    let digests = digests(&messages);
    let (mut digests, policy) = (digests.iter(), run.policy());
    let (mut candidates, mut unopenable) = (Vec::with_capacity(parsed.len()), Vec::new());
    for (index, (parsed, bound_to)) in parsed.iter().zip(bound).enumerate() {
        let checked = match parsed {
            Err(malformed) => Err(Rejected::Malformed(*malformed)),
            Ok(Envelope::V3(envelope)) => {
                let holds = digests.next().is_some_and(|digest| envelope.is_check(digest));
                after_check(envelope, &policy.limits, holds)
            }
            Ok(envelope) => check(envelope, policy),
        };
        let tried =
            |checked: &CheckedEnvelope<'_>| checked.kdf().is_none_or(|kdf| run.admits(&kdf));
        match checked {
            Ok(checked) if !tried(&checked) => {
                unopenable.push((index, Rejected::NotTried(NotTried::Salt)));
            }
            Ok(checked) => {
                candidates.push(Candidate { index, bound_to, checked, v2_cost: None });
            }
            Err(why) => unopenable.push((index, why)),
        }
    }
    (candidates, unopenable)
}

fn v3_of(parsed: &[Result<Envelope, Malformed>]) -> impl Iterator<Item = &V3> {
    parsed.iter().filter_map(|parsed| match parsed {
        Ok(Envelope::V3(envelope)) => Some(envelope),
        _ => None,
    })
}

/// Applies [`CheckedEnvelope::open`] to each candidate with this key. Those of another password
/// stay candidates.
pub(crate) fn open_all<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    key: &PasswordKey,
    memory: &mut KdfMemory,
) -> Result<Vec<(Candidate<'a>, OpenOutcome)>, KdfError> {
    let mut masters = Masters { key, used: Vec::new() };
    let mut outcomes = Vec::with_capacity(candidates.len());
    let mut tries = Vec::new();
    for (place, Candidate { bound_to, checked, v2_cost, .. }) in candidates.iter_mut().enumerate() {
        outcomes.push(match checked.0 {
            Kind::V3 { envelope, kdf, padding } => {
                let master = masters.place_of(&kdf, memory)?;
                tries.push(Try { place, envelope, padding, bound_to: *bound_to, master });
                // unless the commitment shows otherwise
                OpenOutcome::WrongPassword
            }
            Kind::V1(_) | Kind::V2 { .. } => {
                let (outcome, cost) = checked.open_with_cost(key, *bound_to, memory)?;
                *v2_cost = cost;
                outcome
            }
        });
    }
    for (place, outcome) in open_v3(tries, &masters) {
        outcomes[place] = outcome;
    }
    let mut answered = Vec::new();
    for (candidate, outcome) in mem::take(candidates).into_iter().zip(outcomes) {
        match outcome {
            OpenOutcome::WrongPassword => candidates.push(candidate),
            outcome => answered.push((candidate, outcome)),
        }
    }
    Ok(answered)
}

/// Returns whether each of these headers was created under this key, according to its commitment.
/// Checksum and limits are not checked, so their salts must be ones that the key is
/// [prepared](PasswordKey::is_prepared) for.
pub(crate) fn committed_to(
    headers: &[StoredHeader],
    key: &PasswordKey,
    memory: &mut KdfMemory,
) -> Result<Vec<bool>, KdfError> {
    let mut masters = Masters { key, used: Vec::new() };
    let mut places = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        if let (Ok(kdf), Ok(padding)) = (header.kdf(), header.padding()) {
            places.push((index, masters.place_of(&kdf, memory)?, suite_of(padding)));
        }
    }
    let writes: Vec<_> = places
        .iter()
        .map(|(index, master, suite)| Write {
            master: &masters.used[*master].1,
            suite: *suite,
            nonce: headers[*index].nonce(),
        })
        .collect();
    let mut committed = vec![false; headers.len()];
    for ((index, ..), commitment) in places.iter().zip(commitments(&writes).iter()) {
        committed[*index] = is_same(commitment, &headers[*index].commitment());
    }
    Ok(committed)
}

struct Try<'a> {
    place: usize,
    envelope: &'a V3,
    padding: Padding,
    bound_to: BoundTo<'a>,
    /// Its index among the master keys.
    master: usize,
}

impl Try<'_> {
    fn write<'m>(&self, masters: &'m Masters<'_>) -> Write<'m> {
        let master = &masters.used[self.master].1;
        Write { master, suite: suite_of(self.padding), nonce: self.envelope.nonce() }
    }
}

/// Returns the outcomes for those whose commitment matches.
// format.md §3.6, steps 6 to 8
fn open_v3(mut tries: Vec<Try<'_>>, masters: &Masters<'_>) -> Vec<(usize, OpenOutcome)> {
    let mut writes: Vec<_> = tries.iter().map(|r#try| r#try.write(masters)).collect();
    let mut all = commitments(&writes);
    let fits: Vec<bool> = tries
        .iter()
        .zip(all.iter())
        .map(|(r#try, commitment)| is_same(commitment, &r#try.envelope.commitment()))
        .collect();
    retain(&mut tries, &fits);
    retain(&mut writes, &fits);
    retain(&mut all, &fits);
    let subkeys = subkeys(&writes, &all);
    let opened = tries.iter().zip(&subkeys);
    opened
        .map(|(r#try, subkeys)| {
            (r#try.place, decrypt_v3(r#try.envelope, r#try.padding, subkeys, r#try.bound_to))
        })
        .collect()
}

/// Compares in a time that does not depend on the bytes. By words, because `subtle` processes each
/// item with a separate barrier.
fn is_same(a: &[u8; KEY_LEN], b: &[u8; KEY_LEN]) -> bool {
    let words = |bytes: &[u8; KEY_LEN]| {
        let mut words = [0; KEY_LEN / size_of::<u64>()];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    };
    words(a).ct_eq(&words(b)).into()
}

fn retain<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().copied().unwrap_or_default());
}

/// The master keys of one key that a few records use, each looked up once; there is almost always
/// just one.
struct Masters<'a> {
    key: &'a PasswordKey,
    used: Vec<(KdfSetting, Arc<Master>)>,
}

impl Masters<'_> {
    fn place_of(&mut self, kdf: &KdfSetting, memory: &mut KdfMemory) -> Result<usize, KdfError> {
        if let Some(place) = self.used.iter().position(|(used, _)| used == kdf) {
            return Ok(place);
        }
        self.used.push((*kdf, self.key.master(kdf, memory)?));
        Ok(self.used.len() - 1)
    }
}

/// Applies [`seal()`](super::seal) to each value under one key; `None` for a value that is too
/// large.
pub(crate) fn seal_all(
    values: &[(&[u8], BoundTo<'_>)],
    key: &PasswordKey,
    spec: &SealParams,
    memory: &mut KdfMemory,
) -> Result<Vec<Option<EnvelopeText>>, SealError> {
    if let SealParams::V3 { kdf, padding } = *spec {
        return seal_all_v3(values, key, kdf, padding, memory);
    }
    let seal = |(value, bound_to): &(&[u8], BoundTo<'_>)| {
        unless_too_large(seal(value, key, *bound_to, spec, memory))
    };
    values.iter().map(seal).collect()
}

/// As [`seal_all`], for v2 with all parameters that v2 does not store.
pub(crate) fn seal_all_as_v2(
    values: &[(&[u8], BoundTo<'_>)],
    key: &PasswordKey,
    params: &V2Params,
    memory: &mut KdfMemory,
) -> Result<Vec<Option<EnvelopeText>>, SealError> {
    let seal = |(value, _): &(&[u8], BoundTo<'_>)| {
        unless_too_large(seal_as_v2(value, key, params, memory))
    };
    values.iter().map(seal).collect()
}

fn unless_too_large(
    sealed: Result<EnvelopeText, SealError>,
) -> Result<Option<EnvelopeText>, SealError> {
    match sealed {
        Ok(sealed) => Ok(Some(sealed)),
        Err(SealError::TooLarge) => Ok(None),
        Err(error) => Err(error),
    }
}

// format.md §3.5
fn seal_all_v3(
    values: &[(&[u8], BoundTo<'_>)],
    key: &PasswordKey,
    kdf: KdfSetting,
    padding: Padding,
    memory: &mut KdfMemory,
) -> Result<Vec<Option<EnvelopeText>>, SealError> {
    let p = lanes_of(&kdf)?;
    let mut nonces = vec![[0; NONCE_LEN]; values.len()];
    vault_store::fill_random(nonces.as_flattened_mut())?;
    let master = key.master(&kdf, memory)?;
    let suite = suite_of(padding);
    let writes: Vec<_> =
        nonces.into_iter().map(|nonce| Write { master: &master, suite, nonce }).collect();
    let subkeys = subkeys(&writes, &commitments(&writes));
    let mut sealed = Vec::with_capacity(values.len());
    for (((value, bound_to), write), subkeys) in values.iter().zip(&writes).zip(&subkeys) {
        sealed.push(match plaintext_len(value, padding) {
            Some(len) => {
                let (nonce, commitment) = (write.nonce, subkeys.commitment);
                let header = Header { padding, kdf, p, nonce, commitment };
                Some(encrypt_v3(value, len, *bound_to, &header, subkeys)?)
            }
            None => None,
        });
    }
    let messages: Vec<_> =
        sealed.iter().flatten().map(|envelope| Message::new(envelope.checked())).collect();
    let digests = digests(&messages);
    drop(messages);
    for (envelope, digest) in iter::zip(sealed.iter_mut().flatten(), digests.iter()) {
        envelope.put_check(digest);
    }
    Ok(sealed.iter().map(|envelope| envelope.as_ref().map(V3::to_text)).collect())
}
