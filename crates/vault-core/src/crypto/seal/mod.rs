//! The two verbs: [`seal`] a value into an envelope, and [`open`] an envelope.

mod aes;
mod batch;
mod v1;
mod v2;

use aes_gcm::aes::Aes256;
use subtle::ConstantTimeEq as _;

pub(crate) use self::{
    aes::{decrypt, encrypt},
    batch::{Candidate, check_all, committed_to, open_all, seal_all, seal_all_as_v2},
    v2::seal_as as seal_as_v2,
};
use crate::crypto::envelope::{
    Envelope, Format, Header, Malformed, NONCE_LEN, Padding, V1, V2, V2Params, V3, digest, suite_of,
};
use crate::crypto::kdf::{KdfError, KdfLimits, KdfMemory, KdfParams, KdfSetting};
use crate::crypto::key::PasswordKey;
use crate::crypto::master::{Master, Subkeys};
use crate::crypto::policy::{NotTried, OpenPolicy};
use crate::crypto::secret::Plaintext;
use vault_store::BoundTo;
use vault_store::{EnvelopeText, MAX_ENVELOPE_LEN, RecordId, RngError};

/// How to seal a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealParams {
    /// As v3, with the vault's salt and cost.
    V3 {
        /// The vault's salt and cost.
        kdf: KdfSetting,
        /// Whether the length of the value is hidden.
        padding: Padding,
    },
    /// As v2, which Go programs can read: a key of 32 bytes and a salt of 16.
    V2 {
        /// The cost, which v2 does not store.
        params: KdfParams,
    },
}

impl SealParams {
    /// Returns the Argon2id cost: paid once per password for v3, once per record for v2.
    #[must_use]
    pub fn params(&self) -> KdfParams {
        match self {
            Self::V3 { kdf, .. } => kdf.params,
            Self::V2 { params } => *params,
        }
    }
}

/// Seals a value into an envelope that opens with this key and, for v3, only for the record that it
/// is bound to.
///
/// Blocks for one Argon2id for v2, and for v3 if the key is not prepared for the salt and cost.
///
/// # Errors
/// [`SealError`]. Nothing was sealed.
pub fn seal(
    value: &[u8],
    key: &PasswordKey,
    bound_to: BoundTo<'_>,
    spec: &SealParams,
    memory: &mut KdfMemory,
) -> Result<EnvelopeText, SealError> {
    match *spec {
        SealParams::V3 { kdf, padding } => {
            let mut nonce = [0; NONCE_LEN];
            vault_store::fill_random(&mut nonce)?;
            seal_v3(value, key, bound_to, kdf, padding, nonce, memory)
        }
        SealParams::V2 { params } => v2::seal_as(value, key, &V2Params::new(params), memory),
    }
}

/// Seals as v3 with a given nonce, which must never be reused.
// format.md §3.5
pub(crate) fn seal_v3(
    value: &[u8],
    key: &PasswordKey,
    bound_to: BoundTo<'_>,
    kdf: KdfSetting,
    padding: Padding,
    nonce: [u8; NONCE_LEN],
    memory: &mut KdfMemory,
) -> Result<EnvelopeText, SealError> {
    let p = lanes_of(&kdf)?;
    let plaintext_len = plaintext_len(value, padding).ok_or(SealError::TooLarge)?;
    let suite = suite_of(padding);
    let subkeys = key.with_master(&kdf, memory, |master| master.subkeys(suite, &nonce))?;
    let header = Header { padding, kdf, p, nonce, commitment: subkeys.commitment };
    let mut envelope = encrypt_v3(value, plaintext_len, bound_to, &header, &subkeys)?;
    envelope.put_check(&digest(envelope.checked()));
    Ok(envelope.to_text())
}

/// The lanes of a cost, as stored in a header.
fn lanes_of(kdf: &KdfSetting) -> Result<u8, SealError> {
    u8::try_from(kdf.params.p_cost()).map_err(|_| SealError::Lanes { p: kdf.params.p_cost() })
}

/// Returns the length of the plaintext for a value; `None` if its envelope would be too long.
fn plaintext_len(value: &[u8], padding: Padding) -> Option<usize> {
    padding
        .plaintext_len(value.len())
        .filter(|len| V3::text_len(*len).is_some_and(|text_len| text_len <= MAX_ENVELOPE_LEN))
}

/// Creates an envelope that lacks only its checksum.
fn encrypt_v3(
    value: &[u8],
    plaintext_len: usize,
    bound_to: BoundTo<'_>,
    header: &Header,
    subkeys: &Subkeys,
) -> Result<V3, SealError> {
    V3::assemble(
        header,
        plaintext_len,
        |buffer| header.padding.append(value, buffer).ok_or(SealError::TooLarge),
        |header, plaintext| {
            let aad = additional_data(header, bound_to).ok_or(SealError::TooLarge)?;
            encrypt::<Aes256>(&*subkeys.key, &subkeys.iv, &aad, plaintext)
        },
    )
}

/// A value was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The system's random number generator failed.
    #[error(transparent)]
    Random(#[from] RngError),
    /// Argon2id could not run.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// The envelope's text would be longer than [`MAX_ENVELOPE_LEN`].
    #[error("the value is too large: its envelope would be longer than {MAX_ENVELOPE_LEN} bytes")]
    TooLarge,
    /// The cost has more lanes than a v3 header can store.
    #[error("a v3 envelope holds at most 255 lanes (p), not {p}")]
    Lanes {
        /// The lanes that were asked for.
        p: u32,
    },
}

/// The outcome of opening an envelope with a key.
#[derive(Debug)]
pub enum OpenOutcome {
    /// The key is right, and this is the value.
    Opened(Plaintext),
    /// The envelope is intact as far as its format can tell, and has another password.
    ///
    /// For v2, damage and a wrong cost look the same; for v1, damage may.
    WrongPassword,
    /// The envelope was modified after it was sealed, or belongs to another record. Only v3 can
    /// tell.
    Damaged,
    /// No password opens this text.
    Malformed(Malformed),
    /// The policy does not allow to try the key; nothing is known about the envelope.
    NotTried(NotTried),
}

/// Why no key is tried on an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Its checksum is wrong: it was modified after it was sealed.
    Damaged,
    /// Its header or form is invalid, or demands more than the limits allow.
    Malformed(Malformed),
    /// The policy does not allow to try a key.
    NotTried(NotTried),
}

impl From<Rejected> for OpenOutcome {
    fn from(unopenable: Rejected) -> Self {
        match unopenable {
            Rejected::Damaged => Self::Damaged,
            Rejected::Malformed(malformed) => Self::Malformed(malformed),
            Rejected::NotTried(why) => Self::NotTried(why),
        }
    }
}

/// Opens an envelope with a key: [`check`], then [`CheckedEnvelope::open`].
///
/// Blocks for Argon2id computations if the key [is not ready](PasswordKey::is_ready_for): for v2
/// one per cost of the policy, for v3 at most one, for v1 none.
///
/// # Errors
/// [`KdfError`] if Argon2id could not run. Nothing is known about the envelope then.
pub fn open(
    envelope: &Envelope,
    key: &PasswordKey,
    bound_to: BoundTo<'_>,
    policy: &OpenPolicy,
    memory: &mut KdfMemory,
) -> Result<OpenOutcome, KdfError> {
    Ok(open_as_present(envelope, key, bound_to, policy, memory)?.0)
}

/// As [`open`], and returns how the envelope is sealed if it opened.
pub(crate) fn open_as_present(
    envelope: &Envelope,
    key: &PasswordKey,
    bound_to: BoundTo<'_>,
    policy: &OpenPolicy,
    memory: &mut KdfMemory,
) -> Result<(OpenOutcome, Present), KdfError> {
    match check(envelope, policy) {
        Ok(checked) => {
            let (outcome, v2_cost) = checked.open_with_cost(key, bound_to, memory)?;
            Ok((outcome, checked.present(v2_cost)))
        }
        Err(unopenable) => Ok((unopenable.into(), Present::V1)),
    }
}

/// Checks everything about an envelope that needs no key, once for all keys that will be tried on
/// it.
///
/// This precedes any derivation, so that neither damage nor a forged header costs an Argon2id. For
/// v3 it takes one SHA-256 over the envelope.
///
/// # Errors
/// [`Rejected`] if no key opens it under this policy.
pub fn check<'a>(
    envelope: &'a Envelope,
    policy: &'a OpenPolicy,
) -> Result<CheckedEnvelope<'a>, Rejected> {
    match envelope {
        Envelope::V1(_) if !policy.allow_v1 => Err(Rejected::NotTried(NotTried::V1)),
        Envelope::V1(envelope) => Ok(CheckedEnvelope(Kind::V1(envelope))),
        Envelope::V2(envelope) => {
            // format.md §4.3: one flipped bit turns `v3:` into `v2:`
            if envelope.is_v3_inside() {
                return Err(Rejected::Damaged);
            }
            let costs = policy.v2_costs.as_slice();
            let all_too_short = costs.iter().all(|cost| envelope.parts(cost.salt_len()).is_none());
            // having configured no cost is not the fault of the text
            if all_too_short && !costs.is_empty() {
                return Err(Rejected::Malformed(Malformed::TooShort));
            }
            Ok(CheckedEnvelope(Kind::V2 { envelope, costs }))
        }
        Envelope::V3(envelope) => after_check(envelope, &policy.limits, envelope.check_holds()),
    }
}

// format.md §3.6, steps 2 to 4
fn after_check<'a>(
    envelope: &'a V3,
    limits: &KdfLimits,
    check_holds: bool,
) -> Result<CheckedEnvelope<'a>, Rejected> {
    if !check_holds {
        return Err(Rejected::Damaged);
    }
    let padding = envelope.padding().map_err(Rejected::Malformed)?;
    let kdf = envelope.kdf().map_err(Rejected::Malformed)?;
    limits
        .allow(&kdf.params)
        .map_err(|over| Rejected::Malformed(Malformed::CostOverLimit(over)))?;
    limits
        .floor
        .allow(&kdf.params)
        .map_err(|below| Rejected::NotTried(NotTried::BelowFloor(below)))?;
    Ok(CheckedEnvelope(Kind::V3 { envelope, kdf, padding }))
}

/// How an opened record is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    V1,
    /// With the cost that opened it.
    V2(Option<V2Params>),
    V3 {
        kdf: KdfSetting,
        padding: Padding,
    },
}

/// An envelope that some key may open, to be tried with several keys.
#[derive(Debug)]
pub struct CheckedEnvelope<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    V1(&'a V1),
    V2 { envelope: &'a V2, costs: &'a [V2Params] },
    V3 { envelope: &'a V3, kdf: KdfSetting, padding: Padding },
}

impl CheckedEnvelope<'_> {
    /// Opens the envelope with this key.
    ///
    /// For a v3 with another key this costs one HKDF block and no allocation, if the key is
    /// prepared.
    ///
    /// # Errors
    /// [`KdfError`] if Argon2id could not run. Nothing is known about the envelope then.
    pub fn open(
        &self,
        key: &PasswordKey,
        bound_to: BoundTo<'_>,
        memory: &mut KdfMemory,
    ) -> Result<OpenOutcome, KdfError> {
        Ok(self.open_with_cost(key, bound_to, memory)?.0)
    }

    /// As [`open`](Self::open), and returns for v2 which cost opened it.
    pub(crate) fn open_with_cost(
        &self,
        key: &PasswordKey,
        bound_to: BoundTo<'_>,
        memory: &mut KdfMemory,
    ) -> Result<(OpenOutcome, Option<V2Params>), KdfError> {
        let outcome = match self.0 {
            Kind::V1(envelope) => v1::open(envelope, key.v1()),
            Kind::V2 { envelope, costs } => {
                return Ok(match v2::open(envelope, costs, key, memory)? {
                    Some((cost, value)) => (OpenOutcome::Opened(value), Some(cost)),
                    None => (OpenOutcome::WrongPassword, None),
                });
            }
            Kind::V3 { envelope, kdf, padding } => key
                .with_master(&kdf, memory, |master| open_v3(envelope, padding, master, bound_to))?,
        };
        Ok((outcome, None))
    }

    /// Returns how the envelope is sealed, given the cost that opened it if it is a v2.
    pub(crate) fn present(&self, v2_cost: Option<V2Params>) -> Present {
        match self.0 {
            Kind::V1(_) => Present::V1,
            Kind::V2 { .. } => Present::V2(v2_cost),
            Kind::V3 { kdf, padding, .. } => Present::V3 { kdf, padding },
        }
    }

    /// Returns the format of the envelope.
    pub(crate) fn format(&self) -> Format {
        match self.0 {
            Kind::V1(_) => Format::V1,
            Kind::V2 { .. } => Format::V2,
            Kind::V3 { .. } => Format::V3,
        }
    }

    /// Returns the salt and cost for which opening needs a master key; `None` for v1 and v2.
    #[must_use]
    pub fn kdf(&self) -> Option<KdfSetting> {
        match self.0 {
            Kind::V3 { kdf, .. } => Some(kdf),
            Kind::V1(_) | Kind::V2 { .. } => None,
        }
    }
}

// format.md §3.6, steps 6 to 8
fn open_v3(envelope: &V3, padding: Padding, master: &Master, bound_to: BoundTo<'_>) -> OpenOutcome {
    let suite = suite_of(padding);
    let nonce = envelope.nonce();
    if !bool::from(master.commitment(suite, &nonce).ct_eq(&envelope.commitment())) {
        return OpenOutcome::WrongPassword;
    }
    decrypt_v3(envelope, padding, &master.subkeys(suite, &nonce), bound_to)
}

// format.md §3.6, steps 7 and 8
fn decrypt_v3(
    envelope: &V3,
    padding: Padding,
    subkeys: &Subkeys,
    bound_to: BoundTo<'_>,
) -> OpenOutcome {
    let decrypted = |aad: Vec<u8>| {
        let (ciphertext, tag) = (envelope.ciphertext(), envelope.tag());
        decrypt::<Aes256>(&*subkeys.key, &subkeys.iv, &aad, ciphertext, &tag)
    };
    if let Some(plaintext) = additional_data(envelope.header(), bound_to).and_then(decrypted) {
        return padding.remove(plaintext).map_or(OpenOutcome::Damaged, |value| {
            OpenOutcome::Opened(Plaintext::from_zeroizing(value))
        });
    }
    // The value is not returned: anyone who can write to the database may have changed the token.
    match before_tokens_were_bound(envelope.header(), bound_to.id).and_then(decrypted) {
        Some(_) => OpenOutcome::Malformed(Malformed::TokenNotBound),
        None => OpenOutcome::Damaged,
    }
}

/// Returns what is authenticated with the ciphertext: the header, and the id and token of the
/// record, each with its length.
// format.md §3.3
fn additional_data(header: &[u8], BoundTo { id, token }: BoundTo<'_>) -> Option<Vec<u8>> {
    let (id, token) = (id.as_bytes(), token.as_str().as_bytes());
    Some([header, &length(id)?, id, &length(token)?, token].concat())
}

/// Returns what versions before the first release authenticated instead, to recognize their
/// records.
// format.md §3.6, step 7
fn before_tokens_were_bound(header: &[u8], id: &RecordId) -> Option<Vec<u8>> {
    Some([header, &length(id.as_bytes())?, id.as_bytes()].concat())
}

fn length(field: &[u8]) -> Option<[u8; 4]> {
    u32::try_from(field.len()).ok().map(u32::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::crypto::kdf::Salt;
    use crate::crypto::secret::Password;
    use vault_store::Token;

    fn vectors(json: &str) -> Vec<Value> {
        let vectors: Vec<Value> = serde_json::from_str(json).unwrap();
        vectors.into_iter().filter(|vector| vector["origin"] == "python").collect()
    }

    fn unhex(hex: &Value) -> Vec<u8> {
        let digits: Vec<_> =
            hex.as_str().unwrap().chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    fn value(vector: &Value) -> Vec<u8> {
        let times = vector["value"]["times"].as_u64().unwrap();
        unhex(&vector["value"]["hex"]).repeat(usize::try_from(times).unwrap())
    }

    fn cost(vector: &Value) -> V2Params {
        vector["cost"].as_str().unwrap().parse().unwrap()
    }

    /// The other direction, opening, is in `tests/golden.rs`.
    #[test]
    fn sealing_v3_gives_the_bytes_of_the_second_implementation() {
        let mut memory = KdfMemory::new();
        let vectors = vectors(include_str!("../../../../../tests/golden/v3.json"));
        assert!(vectors.len() >= 40);
        for vector in vectors {
            let salt = Salt::from_bytes(unhex(&vector["salt_hex"]).try_into().unwrap());
            let kdf = KdfSetting { params: *cost(&vector).params(), salt };
            let padding = if vector["padding"] == "padme" { Padding::Padme } else { Padding::None };
            let nonce = unhex(&vector["nonce_hex"]).try_into().unwrap();
            let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
            let id = RecordId::from_stored(vector["id"].as_str().unwrap());
            let token = Token::from_stored(vector["token"].as_str().unwrap().to_owned());
            let bound_to = BoundTo { id: &id, token: &token };
            let sealed = seal_v3(&value(&vector), &key, bound_to, kdf, padding, nonce, &mut memory);
            let text = vector["text"].as_str().unwrap().as_bytes();
            assert!(sealed.unwrap().as_bytes() == Some(text), "{}", vector["name"]);
        }
    }

    #[test]
    fn sealing_v2_gives_the_bytes_of_the_second_implementation() {
        let (mut memory, mut count) = (KdfMemory::new(), 0);
        for vector in vectors(include_str!("../../../../../tests/golden/v2.json")) {
            let cost = cost(&vector);
            // what only readers accept
            if vector["canonical"] == false {
                continue;
            }
            let salt_and_iv = [unhex(&vector["salt_hex"]), unhex(&vector["iv_hex"])].concat();
            let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
            let sealed = v2::seal_with(&value(&vector), &key, &cost, &salt_and_iv, &mut memory);
            let text = vector["text"].as_str().unwrap().as_bytes();
            assert!(sealed.unwrap().as_bytes() == Some(text), "{}", vector["name"]);
            count += 1;
        }
        assert!(count >= 10);
    }
}
