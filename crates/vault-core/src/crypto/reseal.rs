//! How a record that is sealed again is sealed: what it keeps of its format, cost and salt.
//!
//! A vault's settings lie in its database, so anyone who can write to it can change them. They say
//! how new records are sealed; what a record has already is only changed for the better, or where
//! the caller asks for it.

use crate::crypto::envelope::{Padding, V2Params};
use crate::crypto::kdf::{KdfLimits, KdfParams, KdfSetting};
use crate::crypto::seal::{Present, SealParams};

/// Whether a record keeps something when it is sealed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Change {
    /// It does.
    #[default]
    Kept,
    /// It gets what the caller asks for.
    Asked,
}

/// What records are sealed as, and which of it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reseal {
    pub(crate) spec: SealParams,
    pub(crate) format: Change,
    pub(crate) cost: Change,
    pub(crate) salt: Change,
}

/// What one record is sealed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Spec(SealParams),
    /// With the cost, key length and salt length that opened it, so that the program that wrote it
    /// reads it again.
    V2(V2Params),
}

impl Reseal {
    /// As the settings say, with nothing asked for.
    pub(crate) fn by_settings(spec: SealParams) -> Self {
        Self { spec, format: Change::Kept, cost: Change::Kept, salt: Change::Kept }
    }

    /// What a record becomes that was opened as this.
    pub(crate) fn target(&self, present: &Present, limits: &KdfLimits) -> Target {
        Target::Spec(match (*present, self.spec) {
            (Present::V2(Some(cost)), SealParams::V2 { .. }) if self.cost == Change::Kept => {
                return Target::V2(cost);
            }
            (Present::V2(Some(cost)), SealParams::V3 { kdf, padding }) => {
                SealParams::V3 { kdf: self.of_v2(*cost.params(), kdf, limits), padding }
            }
            (Present::V3 { kdf: own, padding: was }, SealParams::V3 { kdf, padding }) => {
                let hides = self.format == Change::Kept && was == Padding::Padme;
                let padding = if hides { was } else { padding };
                SealParams::V3 { kdf: self.of_v3(own, kdf), padding }
            }
            // v2 binds neither id nor token: no setting turns a v3 into one.
            (Present::V3 { kdf, padding }, SealParams::V2 { .. })
                if self.format == Change::Kept =>
            {
                SealParams::V3 { kdf, padding }
            }
            _ => self.spec,
        })
    }

    fn of_v3(&self, own: KdfSetting, spec: KdfSetting) -> KdfSetting {
        let salt = if self.salt == Change::Asked { spec.salt } else { own.salt };
        let params = match self.cost {
            Change::Asked => spec.params,
            // The cost of another salt is as little the record's as that salt.
            Change::Kept if salt != spec.salt => own.params,
            Change::Kept => higher(own.params, spec.params),
        };
        KdfSetting { params, salt }
    }

    /// A v2 has a salt of its own, so it takes that of the spec.
    fn of_v2(&self, own: KdfParams, spec: KdfSetting, limits: &KdfLimits) -> KdfSetting {
        let kept = higher(own, spec.params);
        let is_readable = limits.allow(&kept).is_ok() && u8::try_from(kept.p_cost()).is_ok();
        if self.cost == Change::Asked || !is_readable {
            return spec;
        }
        KdfSetting { params: kept, ..spec }
    }
}

/// The spec's cost unless it is lower than the record's.
fn higher(own: KdfParams, spec: KdfParams) -> KdfParams {
    if spec.is_lower_than(&own) { own } else { spec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kdf::Salt;

    fn kdf(params: KdfParams, salt: u8) -> KdfSetting {
        KdfSetting { params, salt: Salt::from_bytes([salt; Salt::LEN]) }
    }

    fn v3(kdf: KdfSetting) -> SealParams {
        SealParams::V3 { kdf, padding: Padding::None }
    }

    const LOW: KdfParams = KdfParams::LIGHTWEIGHT;
    const HIGH: KdfParams = KdfParams::HIGH_SECURITY;

    #[test]
    fn a_v3_keeps_its_salt_and_its_cost_is_only_raised() {
        let rule = |own, spec| {
            let present = Present::V3 { kdf: own, padding: Padding::None };
            Reseal::by_settings(v3(spec)).target(&present, &KdfLimits::default())
        };
        let same = |kdf| Target::Spec(v3(kdf));
        assert_eq!(rule(kdf(LOW, 1), kdf(HIGH, 1)), same(kdf(HIGH, 1)));
        assert_eq!(rule(kdf(HIGH, 1), kdf(LOW, 1)), same(kdf(HIGH, 1)));
        assert_eq!(rule(kdf(LOW, 1), kdf(HIGH, 2)), same(kdf(LOW, 1)));
        assert_eq!(rule(kdf(HIGH, 1), kdf(LOW, 2)), same(kdf(HIGH, 1)));
        // More memory does not make up for less work, nor the other way.
        let wide = KdfParams::new(2 * HIGH.m_cost(), 1, 1).unwrap();
        assert_eq!(rule(kdf(HIGH, 1), kdf(wide, 1)), same(kdf(HIGH, 1)));
        let long = KdfParams::new(LOW.m_cost(), 64, 1).unwrap();
        assert_eq!(rule(kdf(HIGH, 1), kdf(long, 1)), same(kdf(HIGH, 1)));
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let present = Present::V3 { kdf: kdf(HIGH, 1), padding: Padding::Padme };
        let kept = Reseal::by_settings(v3(kdf(LOW, 2)));
        let target = |reseal: Reseal| match reseal.target(&present, &KdfLimits::default()) {
            Target::Spec(SealParams::V3 { kdf, padding }) => (kdf, padding),
            other => panic!("{other:?}"),
        };
        let asked = Change::Asked;
        assert_eq!(target(kept), (kdf(HIGH, 1), Padding::Padme));
        assert_eq!(target(Reseal { cost: asked, ..kept }), (kdf(LOW, 1), Padding::Padme));
        assert_eq!(target(Reseal { salt: asked, ..kept }), (kdf(HIGH, 2), Padding::Padme));
        assert_eq!(target(Reseal { format: asked, ..kept }), (kdf(HIGH, 1), Padding::None));
        let all = Reseal { format: asked, cost: asked, salt: asked, ..kept };
        assert_eq!(target(all), (kdf(LOW, 2), Padding::None));
    }

    #[test]
    fn no_setting_turns_a_v3_into_a_v2() {
        let present = Present::V3 { kdf: kdf(LOW, 1), padding: Padding::Padme };
        let kept = Reseal::by_settings(SealParams::V2 { params: LOW });
        let target = kept.target(&present, &KdfLimits::default());
        let stays = SealParams::V3 { kdf: kdf(LOW, 1), padding: Padding::Padme };
        assert_eq!(target, Target::Spec(stays));
        let asked = Reseal { format: Change::Asked, ..kept };
        assert_eq!(asked.target(&present, &KdfLimits::default()), Target::Spec(kept.spec));
    }

    #[test]
    fn a_v2_that_becomes_v3_is_sealed_at_no_lower_cost() {
        let rule = |own: KdfParams, reseal: Reseal| {
            let present = Present::V2(Some(V2Params::new(own)));
            reseal.target(&present, &KdfLimits::default())
        };
        let kept = Reseal::by_settings(v3(kdf(LOW, 2)));
        assert_eq!(rule(HIGH, kept), Target::Spec(v3(kdf(HIGH, 2))));
        let asked = Reseal { cost: Change::Asked, ..kept };
        assert_eq!(rule(HIGH, asked), Target::Spec(v3(kdf(LOW, 2))));
        // No header is written that the same limits would refuse to read.
        assert_eq!(rule(KdfParams::RFC9106_FIRST, kept), Target::Spec(v3(kdf(LOW, 2))));
    }
}
