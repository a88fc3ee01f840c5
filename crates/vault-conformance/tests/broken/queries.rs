//! How a broken store answers queries, purges, and changes in two steps.

use std::{collections::BTreeSet, num::NonZeroUsize};

use vault_store::{
    EnvelopeText, Envelopes, Filter, Page, PageLimit, Purge, Query, Record, RecordId, RecordUpdate,
    SortKey, SortOrder, StoreError, Timestamp, VaultStore, WriteOutcome,
};

use super::{BrokenStore, Defect, contents, dawdle, yield_once};

/// The moment before.
fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_micros() - 1)
}

impl BrokenStore {
    /// The query that the defective store takes it for, and when.
    fn misread(&self, query: &Query, now: Timestamp) -> (Query, Timestamp) {
        let asked = query.clone();
        match self.defect {
            Defect::QueryShowsSoftDeleted if asked.soft_deleted_filter() == Filter::Exclude => {
                (asked.soft_deleted(Filter::Include), now)
            }
            Defect::QueryTakesNoIdsForAny if asked.ids().is_some_and(BTreeSet::is_empty) => {
                let any = contents_ids(&self.inner);
                (asked.id_in(any), now)
            }
            Defect::ExpiresAMomentLate => (asked, before(now)),
            Defect::IgnoresLimitOfQueries => (asked.page(PageLimit::new(1000, 1 << 30)), now),
            _ => (asked, now),
        }
    }

    pub(super) async fn answer(&self, query: &Query, now: Timestamp) -> Page<Record> {
        let mut unreadable = self.inner.query(query, now).await.unwrap().unreadable;
        if self.defect == Defect::QueriesHideUnreadableRows {
            unreadable.clear();
        }
        Page { records: self.answered(query, now).await, unreadable }
    }

    async fn answered(&self, query: &Query, now: Timestamp) -> Vec<Record> {
        let (query, now) = self.misread(query, now);
        let everything = query.clone().offset(0).page(PageLimit::new(usize::MAX, usize::MAX));
        let (offset, most) = (query.skipped(), query.page_limit().records.get());
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.defect {
            Defect::NeverComesFirst if query.order() == SortKey::ExpiresAt => {
                let mut all = self.inner.query(&everything, now).await.unwrap().records;
                all.sort_by_key(|record| record.expires_at.is_some());
                all.into_iter().skip(skip).take(most).collect()
            }
            Defect::DescendsByKeyAndAscendsById
                if query.direction() == SortOrder::Descending
                    && query.order() == SortKey::CreatedAt =>
            {
                let mut all = self.inner.query(&everything, now).await.unwrap().records;
                all.sort_by(|one, two| {
                    two.created_at.cmp(&one.created_at).then_with(|| one.id.cmp(&two.id))
                });
                all.into_iter().skip(skip).take(most).collect()
            }
            Defect::RepeatsThePosition if query.position().is_some() => {
                let place = query.position().unwrap().id.clone();
                let mut all = contents(&self.inner).await;
                all.retain(|record| record.id == place);
                all.extend(self.inner.query(&query, now).await.unwrap().records);
                all.truncate(most);
                all
            }
            Defect::OffsetBeforePosition if query.position().is_some() && offset > 0 => {
                self.inner.query(&query.offset(0), now).await.unwrap().records
            }
            Defect::LengthOnlyWithoutLength if query.envelopes() == Envelopes::LengthOnly => {
                let mut found = self.inner.query(&query, now).await.unwrap().records;
                for record in &mut found {
                    record.envelope = EnvelopeText::not_loaded(0);
                }
                found
            }
            _ => self.inner.query(&query, now).await.unwrap().records,
        }
    }

    pub(super) async fn counted(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let (query, now) = self.misread(query, now);
        if self.defect == Defect::CountsOnePage {
            return Ok(self.inner.query(&query, now).await?.len() as u64);
        }
        self.inner.count_matching(&query, now).await
    }

    pub(super) async fn purged(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let inner = &self.inner;
        match self.defect {
            Defect::ExpiresAMomentLate => {
                inner.purge_expired(purge, before(now), after, limit).await
            }
            Defect::PurgesWhatIsNotExpired => {
                let later = Timestamp::from_micros(now.as_micros() + 1_000_000);
                inner.purge_expired(purge, later, after, limit).await
            }
            Defect::PurgesZeroTimes => {
                for record in contents(inner).await {
                    if record.expires_at.is_some_and(|at| at.as_end().is_none()) {
                        let expire = RecordUpdate::of(record.id).expires_at(Some(now));
                        inner.update(expire).await?;
                    }
                }
                inner.purge_expired(purge, now, after, limit).await
            }
            Defect::PurgeHidesAgain if purge == Purge::SoftDelete => {
                let found = self.expired(now, after, limit).await;
                for id in &found {
                    let change =
                        RecordUpdate::of(id.clone()).soft_deleted_at(Some(now)).updated_at(now);
                    inner.update(change).await?;
                }
                Ok(found)
            }
            Defect::PurgeKeepsTokens if purge == Purge::Delete => {
                let all = contents(inner).await;
                let gone = inner.purge_expired(purge, now, after, limit).await?;
                let tokens =
                    all.into_iter().filter(|r| gone.contains(&r.id)).map(|record| record.token);
                self.ghosts.lock().unwrap().extend(tokens);
                Ok(gone)
            }
            Defect::PurgeIsUnbounded => {
                inner.purge_expired(purge, now, after, NonZeroUsize::MAX).await
            }
            Defect::PurgeBeginsAnew => inner.purge_expired(purge, now, None, limit).await,
            Defect::PurgeInTwoSteps => {
                let found = self.expired(now, after, limit).await;
                dawdle();
                for id in &found {
                    let expire = RecordUpdate::of(id.clone()).expires_at(Some(now));
                    inner.update(expire).await?;
                }
                inner.purge_expired(purge, now, after, limit).await
            }
            Defect::HalfPurgeOnDrop => {
                let half = NonZeroUsize::new(4).unwrap();
                let mut gone = inner.purge_expired(purge, now, after, half).await?;
                yield_once().await;
                gone.extend(inner.purge_expired(purge, now, gone.last(), limit).await?);
                Ok(gone)
            }
            _ => inner.purge_expired(purge, now, after, limit).await,
        }
    }

    async fn expired(
        &self,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Vec<RecordId> {
        let all = contents(&self.inner).await.into_iter();
        all.filter(|record| record.is_expired(now) && after.is_none_or(|id| record.id > *id))
            .map(|record| record.id)
            .take(limit.get())
            .collect()
    }

    /// Reads the record, and writes it back later whether or not it is still there.
    pub(super) async fn update_in_two_steps(
        &self,
        change: RecordUpdate,
    ) -> Result<WriteOutcome, StoreError> {
        let before = contents(&self.inner).await;
        let outcome = self.inner.update(change.clone()).await?;
        dawdle();
        if outcome != WriteOutcome::Applied {
            return Ok(outcome);
        }
        let mut changed = contents(&self.inner).await;
        changed.retain(|record| record.id == change.id);
        if changed.is_empty() {
            let gone = before.into_iter().filter(|record| record.id == change.id);
            self.inner.insert(gone.collect()).await?;
        }
        Ok(outcome)
    }
}

fn contents_ids(store: &vault_store::MemoryStore) -> Vec<RecordId> {
    let all = futures::executor::block_on(contents(store));
    all.into_iter().map(|record| record.id).collect()
}
