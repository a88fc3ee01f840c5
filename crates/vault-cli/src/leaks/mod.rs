//! What a thief of the database could group records by: one number per record and feature, and how
//! well it tells which records share a password.

mod file;

pub(crate) use self::file::{Shape, find, key_of};

use std::collections::{HashMap, HashSet};

/// Below this many records in a group, or outside of it, chance is too large to tell anything.
const FEWEST: usize = 200;

/// How many intervals a figure with many values is divided into.
const BINS: usize = 16;

/// A figure with at most this many different values is taken as it is.
const CATEGORIES: usize = 64;

/// How a feature is judged without any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two values or more divide the vault.
    Class,
    /// In id order, the numbers ascend but for one in a hundred.
    Order,
    /// Only with passwords.
    Figure,
}

/// What is known of each record by one feature, in the order of the ids.
#[derive(Clone, Debug)]
pub(crate) struct Feature {
    pub(crate) tier: &'static str,
    pub(crate) name: &'static str,
    /// What it is, in words.
    pub(crate) text: String,
    pub(crate) kind: Kind,
    pub(crate) values: Vec<i64>,
}

/// What a feature tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    /// It tells which records are under a password.
    Leak,
    /// It divides the vault, and may tell.
    Mark,
    /// There are too few records.
    TooFew,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Leak => "leak",
            Self::Mark => "mark",
            Self::TooFew => "too_few",
        }
    }
}

/// How well a feature tells the records of a group: twice the share of right guesses, less one, if
/// as many records are in it as not. 0 is a coin, 1 is certainty.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the field of that name is the measure itself")]
pub(crate) struct Advantage {
    pub(crate) advantage: f64,
    /// The standard deviation of what chance makes of it.
    pub(crate) sigma: f64,
    /// Above this it is no chance: 0.01 and four standard deviations.
    pub(crate) limit: f64,
}

/// Judges a feature without passwords; the number is that of the parts it divides the vault into,
/// or of the records out of order.
pub(crate) fn judge_alone(feature: &Feature) -> (Verdict, usize) {
    match feature.kind {
        Kind::Class => {
            let classes = feature.values.iter().collect::<HashSet<_>>().len();
            (if classes > 1 { Verdict::Mark } else { Verdict::Ok }, classes)
        }
        Kind::Order => {
            let out = feature.values.len() - longest_ascent(&feature.values);
            let is_mark = out * 100 > feature.values.len();
            (if is_mark { Verdict::Mark } else { Verdict::Ok }, out)
        }
        Kind::Figure => (Verdict::Ok, 0),
    }
}

/// Judges how a feature tells the records of a group: learned on one half of the records, judged on
/// the other, and the other way round. `None` if there are too few.
pub(crate) fn judge_group(values: &[i64], group: &[bool], half: &[bool]) -> Option<Advantage> {
    let inside = group.iter().filter(|is| **is).count();
    let outside = group.len() - inside;
    if inside < FEWEST || outside < FEWEST {
        return None;
    }
    let mut right = [0.0; 2];
    for learned in [true, false] {
        let bins = Bins::of(values, half, learned);
        let mut seen: HashMap<usize, [f64; 2]> = HashMap::new();
        let mut sums = [1.0_f64; 2];
        for ((value, is), _) in values.iter().zip(group).zip(half).filter(|(_, h)| **h == learned) {
            seen.entry(bins.bin(*value)).or_default()[usize::from(*is)] += 1.0;
            sums[usize::from(*is)] += 1.0;
        }
        for ((value, is), _) in values.iter().zip(group).zip(half).filter(|(_, h)| **h != learned) {
            let [out, inn] = seen.get(&bins.bin(*value)).copied().unwrap_or_default();
            let guess = (inn + 0.5) / sums[1] > (out + 0.5) / sums[0];
            if guess == *is {
                right[usize::from(*is)] += 1.0;
            }
        }
    }
    let (inside, outside) = (float(inside), float(outside));
    let advantage = right[1] / inside + right[0] / outside - 1.0;
    let sigma = (0.25 / inside + 0.25 / outside).sqrt();
    Some(Advantage { advantage, sigma, limit: 0.01 + 4.0 * sigma })
}

#[expect(clippy::cast_precision_loss, reason = "a share of records needs no more digits")]
fn float(number: usize) -> f64 {
    number as f64
}

/// The intervals that hold as many records each, or the values themselves.
enum Bins {
    Values(Vec<i64>),
    Bounds(Vec<i64>),
}

impl Bins {
    fn of(values: &[i64], half: &[bool], learned: bool) -> Self {
        let of_half = values.iter().zip(half).filter(|(_, half)| **half == learned);
        let mut sorted: Vec<i64> = of_half.map(|(value, _)| *value).collect();
        sorted.sort_unstable();
        let mut distinct = sorted.clone();
        distinct.dedup();
        if distinct.len() <= CATEGORIES {
            return Self::Values(distinct);
        }
        Self::Bounds((1..BINS).map(|bin| sorted[bin * sorted.len() / BINS]).collect())
    }

    fn bin(&self, value: i64) -> usize {
        match self {
            Self::Values(values) => values.binary_search(&value).unwrap_or(values.len()),
            Self::Bounds(bounds) => bounds.partition_point(|bound| *bound <= value),
        }
    }
}

/// How many of these numbers the longest ascending selection has.
fn longest_ascent(values: &[i64]) -> usize {
    let mut ends: Vec<i64> = Vec::new();
    for value in values {
        let place = ends.partition_point(|end| end < value);
        match ends.get_mut(place) {
            Some(end) => *end = *value,
            None => ends.push(*value),
        }
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(number: usize) -> u64 {
        let mut z = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn number(number: u64) -> i64 {
        i64::try_from(number % 100_000).unwrap()
    }

    #[test]
    fn what_tells_is_told_from_what_does_not() {
        let group: Vec<bool> = (0..6000).map(|record| noise(record).is_multiple_of(3)).collect();
        let half: Vec<bool> =
            (0..6000).map(|record| noise(record + 100_000).is_multiple_of(2)).collect();
        let judged = |values: Vec<i64>| judge_group(&values, &group, &half).unwrap();
        let chance = judged((0..6000).map(|record| number(noise(record + 7_000))).collect());
        assert!(chance.advantage.abs() < chance.limit, "{chance:?}");
        let certain = judged(group.iter().map(|is| i64::from(*is)).collect());
        assert!((certain.advantage - 1.0).abs() < 1e-9, "{certain:?}");
        // One record in five of the group lies elsewhere.
        let weak = judged(
            (0..6000)
                .map(|record| {
                    let moved = group[record] && noise(record + 9).is_multiple_of(5);
                    number(noise(record + 7_000)) + if moved { 200_000 } else { 0 }
                })
                .collect(),
        );
        assert!(weak.advantage > weak.limit, "{weak:?}");
        let few: Vec<bool> = (0..6000).map(|record| record < 100).collect();
        assert!(judge_group(&vec![0; 6000], &few, &half).is_none());
    }

    #[test]
    fn order_is_counted_by_what_is_out_of_it() {
        assert_eq!(longest_ascent(&[1, 2, 9, 3, 4, 5]), 5);
        let feature = |kind, values| Feature {
            tier: "storage",
            name: "place",
            text: String::new(),
            kind,
            values,
        };
        assert_eq!(judge_alone(&feature(Kind::Order, (0..500).collect())), (Verdict::Ok, 0));
        assert_eq!(judge_alone(&feature(Kind::Order, vec![2, 1, 0])), (Verdict::Mark, 2));
        assert_eq!(judge_alone(&feature(Kind::Class, vec![2, 2, 2])), (Verdict::Ok, 1));
        assert_eq!(judge_alone(&feature(Kind::Class, vec![2, 2, 1])), (Verdict::Mark, 2));
        assert_eq!(judge_alone(&feature(Kind::Figure, vec![2, 1])), (Verdict::Ok, 0));
    }
}
