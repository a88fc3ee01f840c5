//! How a broken store keeps and replaces envelopes.

use vault_store::{
    Change, EnvelopeText, RecordId, RecordSink, RecordSource, RecordUpdate, Replacement,
    StoreError, Timestamp, VaultStore, WriteOutcome,
};

use super::{BrokenStore, Defect, refusal, text, yield_once};

impl BrokenStore {
    /// The envelope as the store would keep it, or why not.
    pub(super) fn kept(&self, envelope: &EnvelopeText) -> Result<EnvelopeText, StoreError> {
        let odd = envelope
            .as_bytes()
            .is_none_or(|bytes| bytes.contains(&0) || std::str::from_utf8(bytes).is_err());
        match self.defect {
            Defect::RefusesOddValues | Defect::PrefixOnError | Defect::PrefixInsertOnError
                if odd =>
            {
                Err(refusal())
            }
            Defect::RefusesWhatIsNoEnvelope if !text(envelope).starts_with('v') => Err(refusal()),
            Defect::CutsLargeEnvelopes if !odd => {
                let bytes = envelope.as_bytes().unwrap();
                Ok(EnvelopeText::from_stored(&bytes[..bytes.len().min(65_535)]))
            }
            Defect::TrimsEnvelopes if !odd => {
                Ok(EnvelopeText::from_stored(text(envelope).trim().as_bytes()))
            }
            _ => Ok(envelope.clone()),
        }
    }

    async fn stored(&self, id: &RecordId) -> Option<EnvelopeText> {
        let mut read = self.inner.read_records(std::slice::from_ref(id)).await.unwrap();
        read.remove(0).map(|record| record.envelope)
    }

    /// Replaces without comparing.
    async fn force(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut forced = batch.to_vec();
        for replacement in &mut forced {
            if let Some(stored) = self.stored(&replacement.id).await {
                replacement.expected = stored;
            }
        }
        self.inner.swap_batch(forced.into()).await.unwrap()
    }

    /// Compares now and replaces later.
    async fn check_then_write(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut outcomes = Vec::new();
        for replacement in batch {
            outcomes.push(match self.stored(&replacement.id).await {
                None => WriteOutcome::Missing,
                Some(stored) if stored == replacement.expected => WriteOutcome::Applied,
                Some(_) => WriteOutcome::Conflict,
            });
        }
        yield_once().await;
        for (replacement, outcome) in batch.iter().zip(&outcomes) {
            if *outcome == WriteOutcome::Applied {
                self.force(std::slice::from_ref(replacement)).await;
            }
        }
        outcomes
    }

    pub(super) async fn write(&self, mut batch: Vec<Replacement>) -> Vec<WriteOutcome> {
        match self.defect {
            Defect::LastWriteWins => return self.force(&batch).await,
            Defect::ChecksAndWritesInTwoSteps => return self.check_then_write(&batch).await,
            Defect::PrefixOnDrop => {
                let rest = batch.split_off(batch.len() / 2);
                let mut outcomes = self.inner.swap_batch(batch.into()).await.unwrap();
                yield_once().await;
                outcomes.extend(self.inner.swap_batch(rest.into()).await.unwrap());
                return outcomes;
            }
            Defect::ComparesWithoutCase => {
                for replacement in &mut batch {
                    let stored = self.stored(&replacement.id).await;
                    let lower = |envelope| text(envelope).to_lowercase();
                    if let Some(stored) = stored
                        && lower(&stored) == lower(&replacement.expected)
                    {
                        replacement.expected = stored;
                    }
                }
            }
            _ => {}
        }
        let mut outcomes = self.inner.swap_batch(batch.clone().into()).await.unwrap();
        match self.defect {
            Defect::ConflictOverwrites => drop(self.force(&batch).await),
            Defect::OutcomesInOrderOfIds => {
                let mut by_id: Vec<_> =
                    batch.iter().map(|replacement| &replacement.id).zip(outcomes).collect();
                by_id.sort_by_key(|(id, _)| *id);
                outcomes = by_id.into_iter().map(|(_, outcome)| outcome).collect();
            }
            Defect::OutcomeLeftOutForMissing => {
                outcomes.retain(|outcome| *outcome != WriteOutcome::Missing);
            }
            Defect::BumpsUpdatedAt | Defect::RestoresOnWrite => {
                for replacement in batch {
                    self.touch(replacement.id).await;
                }
            }
            _ => {}
        }
        outcomes
    }

    /// Changes a column that a rekey must not change.
    async fn touch(&self, id: RecordId) {
        let mut change = RecordUpdate::of(id);
        if self.defect == Defect::BumpsUpdatedAt {
            change.updated_at = Some(Timestamp::from_micros(1_900_000_000_000_000));
        } else {
            change.soft_deleted_at = Change::Clear;
        }
        self.inner.update(change).await.unwrap();
    }
}
