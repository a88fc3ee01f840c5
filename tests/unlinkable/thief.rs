//! A thief who learns on one vault which records were moved, and judges another one.
//!
//! For each feature of a record he learns, in 16 bins of equal size, how much more often moved
//! records fall into a bin than others, and then calls a record of the other vault moved where they
//! did so more often. His *advantage* is 2 x accuracy - 1 on as many moved as other records: 0 is a
//! coin, 1 is certainty. If a feature tells nothing, it is distributed around 0 with a deviation of
//! at most `sqrt(0.25 / moved + 0.25 / others)`.

/// One vault, as seen by a thief, and the truth.
pub(crate) struct Sample {
    /// By record, in the order of the ids.
    pub(crate) moved: Vec<bool>,
    /// A name, and a number for each record.
    pub(crate) features: Vec<(&'static str, Vec<f64>)>,
}

const BINS: usize = 16;

/// How many deviations a feature that tells nothing may reach: more only once in 770,000 times.
const DEVIATIONS: f64 = 4.7;

/// The feature with the greatest advantage, and that advantage.
pub(crate) fn best(learn: &Sample, judge: &Sample) -> (&'static str, f64) {
    let advantages = learn.features.iter().zip(&judge.features).map(|(learned, judged)| {
        assert_eq!(learned.0, judged.0);
        (learned.0, advantage((&learned.1, &learn.moved), (&judged.1, &judge.moved)))
    });
    advantages.max_by(|one, other| one.1.total_cmp(&other.1)).unwrap()
}

/// What no feature exceeds that tells nothing.
pub(crate) fn limit(sample: &Sample) -> f64 {
    let moved = count(sample.moved.iter().filter(|moved| **moved).count());
    let others = count(sample.moved.len()) - moved;
    DEVIATIONS * (0.25 / moved + 0.25 / others).sqrt()
}

type Seen<'a> = (&'a [f64], &'a [bool]);

fn advantage(learn: Seen<'_>, judge: Seen<'_>) -> f64 {
    let borders = borders(learn.0);
    let bin = |value: f64| borders.partition_point(|border| *border <= value);
    let mut seen = [[0.5_f64; 2]; BINS];
    let mut all = [0.0_f64; 2];
    for (value, moved) in learn.0.iter().zip(learn.1) {
        seen[bin(*value)][usize::from(*moved)] += 1.0;
        all[usize::from(*moved)] += 1.0;
    }
    let (mut right, mut of) = ([0.0_f64; 2], [0.0_f64; 2]);
    for (value, moved) in judge.0.iter().zip(judge.1) {
        let [others, of_moved] = seen[bin(*value)];
        let guess = of_moved / all[1] > others / all[0];
        right[usize::from(*moved)] += f64::from(u8::from(guess == *moved));
        of[usize::from(*moved)] += 1.0;
    }
    right[0] / of[0] + right[1] / of[1] - 1.0
}

/// Borders of bins that hold as many values each, without repetitions.
fn borders(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut borders: Vec<f64> = (1..BINS).map(|bin| sorted[bin * sorted.len() / BINS]).collect();
    borders.dedup();
    borders
}

/// A count as a number; far below what a float can hold exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

#[test]
fn what_tells_everything_is_learned_and_what_tells_nothing_is_not() {
    // splitmix64
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut sample = || {
        let moved: Vec<bool> = (0..6000).map(|_| random() % 3 == 0).collect();
        let noise = (0..6000).map(|_| count(usize::try_from(random() % 1000).unwrap())).collect();
        let told = moved.iter().map(|moved| if *moved { 7.0 } else { 3.0 }).collect();
        let weak =
            moved.iter().map(|moved| f64::from(u8::from(*moved && random() % 4 == 0))).collect();
        Sample { moved, features: vec![("noise", noise), ("told", told), ("weak", weak)] }
    };
    let (learn, judge) = (sample(), sample());
    let of = |feature: usize| {
        let (learned, judged) = (&learn.features[feature].1, &judge.features[feature].1);
        advantage((learned, &learn.moved), (judged, &judge.moved))
    };
    assert!(of(0) < limit(&judge), "{}", of(0));
    assert!(of(1) > 0.999, "{}", of(1));
    assert!(of(2) > 0.2, "{}", of(2));
    assert_eq!(best(&learn, &judge).0, "told");
}
