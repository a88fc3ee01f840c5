//! How a broken store reads pages.

use vault_store::{
    EnvelopeHead, EnvelopeText, HEAD_LEN, HasWeight as _, MAX_ENVELOPE_LEN, Page, PageLimit,
    Record, RecordHead, RecordId, RecordSource as _, Timestamp, UnreadableRow, VaultStore as _,
};

use super::{BrokenStore, Defect, Scan, contents, text};

impl BrokenStore {
    pub(super) async fn page(&self, after: Option<&RecordId>, limit: PageLimit) -> Page<Record> {
        let rest = self.rest(contents(&self.inner).await, after);
        let mut page = self.cut(rest, limit);
        if self.defect == Defect::RepeatsTheLastRecord && page.len() > 1 {
            page.extend(page.last().cloned());
        }
        self.scan.lock().unwrap().given += page.len();
        let unreadable = self.unreadable(after, &mut page).await;
        Page { records: page, unreadable }
    }

    pub(super) async fn heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Page<RecordHead> {
        let limit = match self.defect {
            Defect::HeadsIgnoreLimits => PageLimit::new(usize::MAX, usize::MAX),
            _ => limit,
        };
        let mut page = self.page(after, limit).await.map(|record| self.head(&record));
        match (self.defect, after) {
            (Defect::HeadsHideUnreadableRows, _) => page.unreadable.clear(),
            (Defect::HeadsInclusiveCursor, Some(after)) => {
                let ids = std::slice::from_ref(after);
                let again = self.inner.read_records(ids).await.unwrap().into_iter().flatten();
                page.records.splice(..0, again.map(RecordHead::from));
            }
            (Defect::LeavesOutHeadsOfTooLong, _) => {
                page.records.retain(|head| head.head.len() <= MAX_ENVELOPE_LEN as u64);
            }
            _ => {}
        }
        page
    }

    fn head(&self, record: &Record) -> RecordHead {
        let (text, len) = (&record.envelope, record.envelope.len());
        let bytes = text.as_bytes().unwrap_or_default();
        let mut head = EnvelopeHead::from(text);
        match self.defect {
            Defect::CutsHeadsShort => {
                head = EnvelopeHead::from_stored(&bytes[..bytes.len().min(HEAD_LEN - 1)], len);
            }
            Defect::CutsHeadsByCharacters => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD_LEN)]);
                head = EnvelopeHead::from_stored(text.trim_end_matches('\u{fffd}').as_bytes(), len);
            }
            Defect::HeadsWithoutTheirLength => {
                head = EnvelopeHead::from_stored(bytes, len.min(HEAD_LEN as u64));
            }
            Defect::KeepsFirstHeads => {
                let mut heads = self.heads.lock().unwrap();
                head = heads.entry(record.id.clone()).or_insert(head).clone();
            }
            _ => {}
        }
        RecordHead { id: record.id.clone(), head }
    }

    /// The unreadable rows before the last record of a page.
    async fn unreadable(
        &self,
        after: Option<&RecordId>,
        page: &mut Vec<Record>,
    ) -> Vec<UnreadableRow> {
        let same = if page.is_empty() { usize::MAX } else { page.len() };
        let same = self.inner.list(after, PageLimit::new(same, usize::MAX)).await.unwrap();
        let mut rows = same.unreadable;
        match self.defect {
            Defect::HidesUnreadableRows => rows.clear(),
            Defect::NamesUnreadableRowsTwice => rows.extend(rows.clone()),
            Defect::StopsAtUnreadableRows => {
                page.truncate(rows.first().map_or(page.len(), |row| row.position));
            }
            _ => {}
        }
        rows
    }

    /// What follows the cursor.
    fn rest(&self, all: Vec<Record>, after: Option<&RecordId>) -> Vec<Record> {
        let mut scan = self.scan.lock().unwrap();
        if after.is_none() {
            *scan = Scan { given: 0, snapshot: all.clone() };
        }
        let follows = |record: &Record| after.is_none_or(|after| record.id > *after);
        let lower = |id: &RecordId| id.as_str().to_lowercase();
        let now = Timestamp::from_micros(1_900_000_000_000_000);
        let mut rest = all;
        match self.defect {
            Defect::InclusiveCursor => {
                rest.retain(|record| after.is_none_or(|after| record.id >= *after));
            }
            Defect::OffsetPaging => drop(rest.drain(..scan.given.min(rest.len()))),
            Defect::SnapshotAcrossPages => {
                rest = scan.snapshot.iter().filter(|record| follows(record)).cloned().collect();
            }
            Defect::CaseInsensitiveOrder => {
                rest.retain(|record| after.is_none_or(|after| lower(&record.id) > lower(after)));
                rest.sort_by_key(|record| lower(&record.id));
            }
            _ => rest.retain(follows),
        }
        match self.defect {
            Defect::HidesSoftDeletedFromScan => rest.retain(|record| !record.is_soft_deleted(now)),
            Defect::HidesExpiredFromScan => rest.retain(|record| !record.is_expired(now)),
            Defect::StopsAfterAThousand if scan.given >= 1000 => rest.clear(),
            Defect::DropsLastRecordOfAll => drop(rest.pop()),
            Defect::EmptyPageInTheMiddle if rest.len() == 5 => rest.clear(),
            Defect::LoadsTooLongAsEmpty => {
                for record in rest.iter_mut().filter(|r| r.envelope.as_bytes().is_none()) {
                    record.envelope = EnvelopeText::from_stored([]);
                }
            }
            _ => {}
        }
        rest
    }

    fn cut(&self, rest: Vec<Record>, limit: PageLimit) -> Vec<Record> {
        let (mut most_records, mut most_bytes) = (limit.records.get(), limit.bytes.get());
        match self.defect {
            Defect::IgnoresLimitInRecords => most_records = usize::MAX,
            Defect::IgnoresLimitInBytes => most_bytes = usize::MAX,
            _ => {}
        }
        let mut bytes = 0;
        let mut page = Vec::new();
        for record in rest.into_iter().take(most_records) {
            bytes += match self.defect {
                Defect::CountsCharactersAsBytes => text(&record.envelope).chars().count(),
                Defect::CountsEnvelopesOnly => record.envelope.loaded_len(),
                _ => record.weight(),
            };
            let first = page.is_empty() && self.defect != Defect::NothingBeyondTheBytes;
            if bytes > most_bytes && !first {
                break;
            }
            page.push(record);
        }
        page
    }
}
