//! Which record is under which password, and its value: both are derived from its id, so that
//! nothing has to be kept.

use std::hash::{DefaultHasher, Hash, Hasher};

use vaultstore::RecordId;

#[derive(Debug)]
pub(super) struct Population {
    /// Of 2^32 records, this many are under the password to change.
    matching: u64,
    others: u64,
    value_size: usize,
}

/// The group of records under the password to change.
pub(super) const MATCHING: usize = 0;

impl Population {
    pub(super) fn new(share: f64, passwords: u32, value_size: u32) -> Self {
        Self {
            matching: of_all(share),
            others: u64::from(passwords.saturating_sub(1).max(1)),
            value_size: value_size as usize,
        }
    }

    /// Returns the number of the password of this record; [`MATCHING`] is the one to change.
    pub(super) fn group(&self, id: &RecordId) -> usize {
        let hash = hash(id);
        if hash >> 32 < self.matching {
            return MATCHING;
        }
        // Below 1,000, which every index type can hold.
        1 + usize::try_from(hash % self.others).unwrap_or(0)
    }

    /// Returns the value of this record.
    pub(super) fn value(&self, id: &RecordId) -> Vec<u8> {
        let mut state = hash(id);
        let mut value = Vec::with_capacity(self.value_size + 8);
        while value.len() < self.value_size {
            value.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        value.truncate(self.value_size);
        value
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1, and a cast saturates"
)]
fn of_all(share: f64) -> u64 {
    (share * 4_294_967_296.0).round() as u64
}

fn hash(id: &RecordId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.as_bytes().hash(&mut hasher);
    hasher.finish()
}

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): filler, not a secret.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(number: u32) -> impl Iterator<Item = RecordId> {
        (0..number).map(|number| RecordId::from_stored(format!("record {number}")))
    }

    #[test]
    fn shares_are_about_what_was_asked() {
        let population = Population::new(0.25, 4, 10);
        let mut groups = [0u32; 4];
        for id in ids(10_000) {
            groups[population.group(&id)] += 1;
        }
        assert!(groups.iter().all(|group| (2_300..2_700).contains(group)), "{groups:?}");
    }

    #[test]
    fn none_and_all_are_exact() {
        for (share, expected) in [(0.0, false), (1.0, true)] {
            let population = Population::new(share, 2, 10);
            assert!(ids(1000).all(|id| (population.group(&id) == MATCHING) == expected));
        }
    }

    #[test]
    fn values_follow_from_the_id_and_have_the_asked_length() {
        let population = Population::new(0.5, 2, 300);
        let values: Vec<_> = ids(2).map(|id| population.value(&id)).collect();
        assert_eq!(values[0].len(), 300);
        assert_ne!(values[0], values[1]);
        assert_eq!(values, ids(2).map(|id| population.value(&id)).collect::<Vec<_>>());
    }
}
