//! A part of a vault, as machines share one.

use std::{fmt, num::NonZeroU64, str::FromStr};

use sha2::{Digest as _, Sha256};
use vault_store::RecordId;

/// One of several parts of a vault: the records whose id hashes to `index` modulo `count`.
///
/// The parts are disjoint and together cover the vault, so that machines can share the work without
/// communicating. The hash is the first 8 bytes of SHA-256 of the id, big-endian. The text form is
/// `index/count`, counted from 0: `0/4` to `3/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u64,
    count: NonZeroU64,
}

impl Shard {
    /// All records.
    pub const WHOLE: Self = Self { index: 0, count: NonZeroU64::MIN };

    /// Creates one of several parts, counted from 0.
    ///
    /// # Errors
    /// [`ParseShardError`] if there is no such part.
    pub fn new(index: u64, count: u64) -> Result<Self, ParseShardError> {
        let count = NonZeroU64::new(count).filter(|count| index < count.get());
        count.map(|count| Self { index, count }).ok_or(ParseShardError)
    }

    /// Returns whether the record is in this part.
    #[must_use]
    pub fn holds(&self, id: &RecordId) -> bool {
        if self.count == NonZeroU64::MIN {
            return true;
        }
        let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        let first = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
        first % self.count == self.index
    }

    /// Returns the approximate number of records in this part, given the total.
    pub(super) fn share(&self, records: u64) -> u64 {
        records.div_ceil(self.count.get())
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, ParseShardError> {
        let (index, count) = text.split_once('/').ok_or(ParseShardError)?;
        let number = |text: &str| text.parse().map_err(|_| ParseShardError);
        Self::new(number(index)?, number(count)?)
    }
}

/// A text or numbers that are not a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid shard: expected `i/n` with `i < n`, e.g. `0/4`")]
pub struct ParseShardError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_in_exactly_one_shard() {
        let shards: Vec<_> = (0..7).map(|index| Shard::new(index, 7).unwrap()).collect();
        let mut held = [0; 7];
        for number in 0..7000 {
            let id = RecordId::from_stored(format!("record {number}"));
            let of: Vec<_> = (0..7).filter(|index| shards[*index].holds(&id)).collect();
            assert_eq!(of.len(), 1);
            held[of[0]] += 1;
            assert!(Shard::WHOLE.holds(&id));
        }
        assert!(held.iter().all(|held| (800..1200).contains(held)), "{held:?}");
    }

    #[test]
    fn the_hash_of_a_shard_is_the_documented_one() {
        // `printf abc | sha256sum` starts with ba7816bf8f01cfea, which is 2 modulo 4
        assert_eq!(0xba78_16bf_8f01_cfea_u64 % 4, 2);
        assert!(Shard::new(2, 4).unwrap().holds(&RecordId::from_stored("abc")));
    }

    #[test]
    fn a_shard_is_counted_from_zero() {
        assert_eq!("3/4".parse(), Shard::new(3, 4));
        assert_eq!(Shard::new(3, 4).unwrap().to_string(), "3/4");
        for text in ["4/4", "0/0", "1", "a/b", "-1/2", "1/2/3", ""] {
            assert_eq!(text.parse::<Shard>(), Err(ParseShardError), "{text}");
        }
    }
}
