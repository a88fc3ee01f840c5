//! What the rekeyers of a history are to do.

use vault_core::RekeyPlan;
use vault_core::rekey::{BodyCheck, EarlierRun, Marking, MergeCheck, Shard, WriteAs};

use crate::chance::Chance;
use crate::counters::{Counters, add};
use crate::world::{Move, Owner, v2, v3};

/// What one rekeyer is to do.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) pairs: Vec<Move>,
    pub(crate) shard: Shard,
    pub(crate) merge: MergeCheck,
    pub(crate) write: WriteAs,
    pub(crate) bodies: BodyCheck,
}

impl Plan {
    pub(crate) fn new(pairs: &[Move], write: WriteAs) -> Self {
        let (shard, merge, bodies) = (Shard::WHOLE, MergeCheck::Off, BodyCheck::Matching);
        Self { pairs: pairs.to_vec(), shard, merge, write, bodies }
    }

    /// The plan as the engine takes it.
    pub(crate) fn begin(&self) -> RekeyPlan {
        let plan = RekeyPlan::new()
            .write_as(self.write)
            .shard(self.shard)
            .merge_check(self.merge)
            .body_check(self.bodies);
        // A small world may look as if its pairs had been moved before, and has each form seldom.
        let plan = plan.earlier_run(EarlierRun::None).marks(Marking::Allow);
        let add = |plan: RekeyPlan, (old, new): &Move| plan.pair(old.password(), new.password());
        self.pairs.iter().fold(plan, add)
    }

    /// Whether two pairs have one new password.
    fn merges(&self) -> bool {
        let mut pairs = self.pairs.iter().enumerate();
        pairs.any(|(number, (_, new))| self.pairs[..number].iter().any(|(_, other)| other == new))
    }

    /// Whether a new password is an old one as well.
    pub(crate) fn chains(&self) -> bool {
        self.pairs.iter().any(|(_, new)| self.pairs.iter().any(|(old, _)| old == new))
    }
}

/// The plans of a history, a rekeyer each, and how many of these rekeyers it takes to move
/// everything.
pub(crate) fn of_a_history(chance: &mut Chance, counters: &Counters) -> (Vec<Plan>, usize) {
    use Owner::{Foreign, New, Old, Rival};
    let as_it_was = WriteAs::AsItWas;
    let write =
        chance.pick(&[as_it_was, as_it_was, as_it_was, WriteAs::Vault, v3().into(), v2().into()]);
    let merge = chance.pick(&[MergeCheck::Off, MergeCheck::Off, MergeCheck::Fast]);
    let (mut plans, takes) = match chance.below(12) {
        0 => {
            add(&counters.histories_of_several_pairs, 1);
            let plans: [&[Move]; 2] =
                [&[(Old, New), (Foreign, Rival)], &[(Foreign, New), (Old, New)]];
            (vec![Plan::new(chance.pick(&plans), write); 1 + chance.below(2)], 1)
        }
        1 => {
            add(&counters.histories_of_shards, 1);
            let count = 2 + chance.below(2);
            let shard = |index| Shard::new(index as u64, count as u64).unwrap();
            let plan = Plan::new(&[(Old, New)], write);
            let plans = (0..count).map(|index| Plan { shard: shard(index), ..plan.clone() });
            (plans.collect(), count)
        }
        _ => {
            let targets: &[Owner] = chance.pick(&[
                &[New][..],
                &[New, New],
                &[New, Rival],
                &[New, New, New],
                &[New, Rival, New],
                &[New, Rival, Foreign],
            ]);
            if targets.len() > 1 {
                let same = targets.iter().all(|target| *target == New);
                let counter = if same {
                    &counters.histories_to_one_target
                } else {
                    &counters.histories_to_several_targets
                };
                add(counter, 1);
            }
            (targets.iter().map(|target| Plan::new(&[(Old, *target)], write)).collect(), 1)
        }
    };
    let bodies = chance.pick(&[BodyCheck::Matching, BodyCheck::Matching, BodyCheck::All]);
    for plan in &mut plans {
        plan.bodies = bodies;
        if !plan.merges() {
            plan.merge = merge;
        }
    }
    (plans, takes)
}
