//! What was already tried: one mechanism for resuming, for catching up and for detecting that a
//! rekey is done.
//!
//! Trying a password on a v2 record costs an Argon2id computation, and reading it costs next to
//! nothing in comparison. So a run keeps a tag of every v2 record that did not open, and skips
//! tagged records. A modified record has a different tag and is tried again, whatever any clock
//! says. v3 needs no tags: trying costs a microsecond.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use vault_store::{EnvelopeText, RecordId, RngError, fill_random};

/// The length of the key of the tags, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// 64 keyed bits of a question, an id and an envelope.
///
/// Among ten million records, two share a tag once in 200,000 runs. The key is random per run, so
/// an attacker who controls the database can only guess.
pub(super) type RecordTag = u64;

/// What a tag says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// No old password opens it, or this run wrote it.
    Old = 1,
    /// No new password opened it before the first write.
    New = 2,
    /// No password of chained pairs opened it.
    Chain = 3,
}

/// The tags of a run. They take about 16 bytes each, and each costs an Argon2id or a written
/// record: no one can plant more of them than the run has paid for.
pub(super) struct TriedSet {
    key: [u8; KEY_LEN],
    mac: Hmac<Sha256>,
    marks: RwLock<HashSet<RecordTag>>,
}

impl TriedSet {
    pub(super) fn new() -> Result<Self, RngError> {
        let mut key = [0; KEY_LEN];
        fill_random(&mut key)?;
        Ok(Self::restored(key, HashSet::new()))
    }

    pub(super) fn restored(key: [u8; KEY_LEN], marks: HashSet<RecordTag>) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        Self { key, mac, marks: RwLock::new(marks) }
    }

    pub(super) fn mark(&self, question: Question, id: &RecordId, text: &EnvelopeText) -> RecordTag {
        let mut mac = self.mac.clone();
        mac.update(&[question as u8]);
        mac.update(&(id.as_bytes().len() as u64).to_be_bytes());
        mac.update(id.as_bytes());
        mac.update(text.as_bytes().unwrap_or_default());
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        tag.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    pub(super) fn holds(&self, mark: RecordTag) -> bool {
        self.marks.read().unwrap_or_else(PoisonError::into_inner).contains(&mark)
    }

    pub(super) fn insert(&self, marks: impl IntoIterator<Item = RecordTag>) {
        self.marks.write().unwrap_or_else(PoisonError::into_inner).extend(marks);
    }

    /// Passes the key and all tags to a serializer.
    pub(super) fn with_all<T>(
        &self,
        write: impl FnOnce(&[u8; KEY_LEN], &HashSet<RecordTag>) -> T,
    ) -> T {
        write(&self.key, &self.marks.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> EnvelopeText {
        EnvelopeText::from_stored(text.as_bytes())
    }

    #[test]
    fn a_mark_is_of_one_question_one_id_one_envelope_and_one_run() {
        let tested = TriedSet::new().unwrap();
        let (id, other) = (RecordId::from_stored("id"), RecordId::from_stored("idv"));
        let mark = tested.mark(Question::Old, &id, &text("v2:abc"));
        assert_eq!(mark, tested.mark(Question::Old, &id, &text("v2:abc")));
        let others = [
            tested.mark(Question::New, &id, &text("v2:abc")),
            tested.mark(Question::Old, &other, &text("2:abc")),
            tested.mark(Question::Old, &id, &text("v2:abd")),
            TriedSet::new().unwrap().mark(Question::Old, &id, &text("v2:abc")),
        ];
        tested.insert([mark]);
        assert!(tested.holds(mark));
        assert!(others.iter().all(|other| !tested.holds(*other)));
    }

    #[test]
    fn what_was_written_down_holds_the_same_marks() {
        let tested = TriedSet::new().unwrap();
        let mark = tested.mark(Question::Old, &RecordId::from_stored("id"), &text("v2:abc"));
        tested.insert([mark]);
        let restored = tested.with_all(|key, marks| TriedSet::restored(*key, marks.clone()));
        assert!(restored.holds(restored.mark(
            Question::Old,
            &RecordId::from_stored("id"),
            &text("v2:abc")
        )));
    }
}
