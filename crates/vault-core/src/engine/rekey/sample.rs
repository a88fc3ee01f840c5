//! Records from all over a vault, for what has to be known before the first write where no pass
//! over every record precedes it.

use std::collections::VecDeque;

use super::error::RekeyError;
use vault_store::{
    PageLimit, Query, RecordId, RngError, SealedRecord, SortKey, SortOrder, Timestamp, VaultStore,
};

/// A vault of up to this many records is read from its start to its end, as far as its bytes allow.
const FEW: u64 = 16_384;
const RECORDS_OF_FEW: usize = 1024;
const PAGES_OF_FEW: usize = 32;

/// How many pages are read at random places, and how many records in each.
const PLACES: usize = 64;
const RECORDS_AT_A_PLACE: usize = 16;
const PAGE_BYTES: usize = 1 << 20;

/// Ids are ASCII, whatever one that somebody planted may be: no place above is drawn while there is
/// one below.
const LAST_LIKELY: u32 = 'z' as u32;

/// Shows every record of a small vault once, and of a large one pages from all over it.
///
/// A page at the start alone would show what somebody planted there. So the range of ids is divided
/// at random places, each part in turn, and a page is read at each. That is a sample and no proof:
/// it depends on where ids are close together, so the pass counts all records as well.
///
/// # Errors
/// Those of the store and of the source of randomness.
pub(super) async fn sample(
    store: &dyn VaultStore,
    stored: u64,
    mut random: impl FnMut(&mut [u8]) -> Result<(), RngError>,
    mut see: impl FnMut(&[SealedRecord]),
) -> Result<(), RekeyError> {
    let at_a_place = PageLimit::new(RECORDS_AT_A_PLACE, PAGE_BYTES);
    let (at_the_start, pages) = match stored {
        0..=FEW => (PageLimit::new(RECORDS_OF_FEW, PAGE_BYTES), PAGES_OF_FEW),
        _ => (at_a_place, 1),
    };
    let mut read: Option<RecordId> = None;
    for _ in 0..pages {
        let page = store.read_page(read.as_ref(), at_the_start).await?;
        let Some(last) = page.last() else { return Ok(()) };
        see(&page);
        read = Some(last.id.clone());
    }
    let last = Query::all().without_envelopes().order_by(SortKey::Id, SortOrder::Descending);
    let last = store.query(&last.limit(1), Timestamp::from_micros(0)).await?;
    let mut parts = VecDeque::new();
    if let (Some(low), Some(high)) = (read, last.first()) {
        keep(&mut parts, Part { low, high: high.id.clone(), is_thin: false });
    }
    for _ in 0..PLACES {
        let Some(part) = parts.pop_front() else { break };
        let mut drawn = [0; 16];
        random(&mut drawn)?;
        let place = if part.is_thin { None } else { part.place(drawn) };
        // A thin part is only to become shorter from below.
        let limit = if part.is_thin { PageLimit::new(1, PAGE_BYTES) } else { at_a_place };
        let records = store.read_page(Some(place.as_ref().unwrap_or(&part.low)), limit).await?;
        let inside = records.iter().take_while(|record| record.id <= part.high).count();
        see(&records[..inside]);
        if let Some(last) = records[..inside].last() {
            keep(&mut parts, Part { low: last.id.clone(), high: part.high, is_thin: false });
        }
        if let Some(place) = place {
            keep(&mut parts, Part { low: part.low, high: place, is_thin: inside == 0 });
        }
    }
    Ok(())
}

/// The ids above `low`, up to `high`.
struct Part {
    low: RecordId,
    high: RecordId,
    /// Nothing was found behind a place in it.
    is_thin: bool,
}

fn keep(parts: &mut VecDeque<Part>, part: Part) {
    if part.low < part.high {
        parts.push_back(part);
    }
}

impl Part {
    /// A random place within it: what both ends begin with, a character between the next of each,
    /// and hexadecimal digits, which ids mostly consist of.
    fn place(&self, random: [u8; 16]) -> Option<RecordId> {
        let (low, high) = (self.low.as_str(), self.high.as_str());
        let same = low.chars().zip(high.chars()).take_while(|(low, high)| low == high);
        let common: usize = same.map(|(same, _)| same.len_utf8()).sum();
        let next = |text: &str| text[common..].chars().next().map_or(1, u32::from);
        let from = next(low);
        let to = if from < LAST_LIKELY { next(high).min(LAST_LIKELY) } else { next(high) };
        let [a, b, c, d, tail @ ..] = random;
        let width = to.checked_sub(from)?.checked_add(1)?;
        let drawn = char::from_u32(from + u32::from_be_bytes([a, b, c, d]) % width)?;
        let digit = |byte: u8| char::from_digit(u32::from(byte) % 16, 16);
        let tail = tail[..8].iter().filter_map(|byte| digit(*byte));
        let place: String = low[..common].chars().chain([drawn]).chain(tail).collect();
        let place = RecordId::from_stored(place);
        (self.low < place && place < self.high).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::executor::block_on;
    use vault_store::{EnvelopeText, MemoryStore, Record, Token};

    use super::*;

    fn store(ids: impl IntoIterator<Item = String>) -> MemoryStore {
        let (store, now) = (MemoryStore::new(), Timestamp::from_micros(0));
        let record = |id: String| Record {
            token: Token::from_stored(format!("tk_{id}")),
            id: RecordId::from_stored(id),
            envelope: EnvelopeText::from_stored(*b"envelope"),
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        };
        block_on(store.insert(ids.into_iter().map(record).collect())).unwrap();
        store
    }

    /// A sample whose random bytes follow from a seed.
    fn sampled(store: &MemoryStore, seed: u64) -> Vec<String> {
        let mut ids = Vec::new();
        let total = block_on(store.count()).unwrap();
        let see = |page: &[SealedRecord]| ids.extend(page.iter().map(|it| it.id.to_string()));
        let mut state = seed;
        let random = |bytes: &mut [u8]| {
            for byte in bytes {
                // Knuth's MMIX, whose high bits are random enough.
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                *byte = state.to_be_bytes()[0];
            }
            Ok(())
        };
        block_on(sample(store, total, random, see)).unwrap();
        ids
    }

    /// Ids as `RecordId::generate` makes them, seven hours apart.
    fn generated(count: u64) -> impl Iterator<Item = String> {
        (0..count).map(|number| {
            let millis = 1_700_000_000_000 + number * 25_000_000;
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (high, low, end) = (millis >> 16, millis & 0xffff, random >> 16);
            format!("{high:08x}-{low:04x}-7{:03x}-8000-{end:012x}", random & 0xfff)
        })
    }

    #[test]
    fn every_record_of_a_small_vault_is_seen_once() {
        for count in [0, 1, 2, 1024, 1500, FEW] {
            let seen = sampled(&store(generated(count)), 1);
            assert_eq!(seen.len() as u64, count);
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len() as u64, count);
        }
    }

    #[test]
    fn records_from_all_over_a_large_vault_are_seen_and_none_twice() {
        let all: Vec<String> = generated(FEW + 616).collect();
        let store = store(all.iter().cloned());
        let mut tenths = BTreeSet::new();
        for seed in 0..10 {
            let seen = sampled(&store, seed);
            assert!(
                (300..=RECORDS_AT_A_PLACE * (PLACES + 1)).contains(&seen.len()),
                "{}",
                seen.len()
            );
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
            let place = |id| all.binary_search(id).unwrap() / (all.len() / 10);
            tenths.extend(seen.iter().map(place));
        }
        assert!(tenths.len() >= 10, "{tenths:?}");
    }

    #[test]
    fn what_was_planted_at_one_place_is_not_the_most_of_what_is_seen() {
        let at_the_start = |number: u32| format!("0000{number:04}");
        let in_the_midst = |number: u32| format!("018c0000-{number:04}");
        let plans: [fn(u32) -> String; 2] = [at_the_start, in_the_midst];
        for plan in plans {
            let planted: BTreeSet<String> = (0..1500).map(plan).collect();
            let store = store(generated(FEW).chain(planted.iter().cloned()));
            for seed in 0..50 {
                let seen = sampled(&store, seed);
                let of_others = seen.iter().filter(|id| planted.contains(*id)).count();
                assert!(2 * of_others < seen.len(), "{of_others} of {}, seed {seed}", seen.len());
            }
        }
    }
}
