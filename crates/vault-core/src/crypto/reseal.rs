//! How a record that is sealed again is sealed: what it keeps of its format, cost and salt.
//!
//! A rekey writes each record as it was: a database in which the moved records have another form
//! than the others reveals which of them share a password. An owner's update follows the vault's
//! settings, which lie in the database, so anyone who can write to it can change them: they change
//! a record only for the better.

use crate::crypto::envelope::{Envelope, Padding, StoredHeader, V2Params};
use crate::crypto::kdf::{KdfLimits, KdfParams, KdfSetting};
use crate::crypto::seal::{Present, SealParams};
use vault_store::EnvelopeText;

/// What becomes of something that a record has when it is sealed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// It stays as it is.
    #[default]
    Kept,
    /// It becomes what the settings say, unless that is worse.
    Better,
    /// It becomes what the caller asks for.
    Asked,
}

/// What records are sealed as, and which of it they keep.
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
        Self { spec, format: Change::Better, cost: Change::Better, salt: Change::Kept }
    }

    /// Whether every v3 stays what it is.
    pub(crate) fn keeps_v3(&self) -> bool {
        [self.format, self.cost, self.salt] == [Change::Kept; 3]
    }

    /// What a record becomes that was opened as this.
    pub(crate) fn target(&self, present: &Present, limits: &KdfLimits) -> Target {
        match *present {
            // Never written.
            Present::V1 | Present::V2(None) => Target::Spec(self.spec),
            Present::V2(Some(cost)) => self.of_v2(cost, limits),
            Present::V3 { kdf, padding } => Target::Spec(self.of_v3(kdf, padding)),
        }
    }

    fn of_v3(&self, own: KdfSetting, was: Padding) -> SealParams {
        let (kdf, padding) = match (self.spec, self.format) {
            (SealParams::V2 { .. }, Change::Asked) => return self.spec,
            // v2 binds neither id nor token: no setting turns a v3 into one.
            (SealParams::V2 { params }, Change::Kept | Change::Better) => {
                let asked = self.cost == Change::Asked;
                (KdfSetting { params: if asked { params } else { own.params }, ..own }, was)
            }
            (SealParams::V3 { kdf, padding }, format) => {
                let hides = was == Padding::Padme;
                let is_kept = format == Change::Kept || format == Change::Better && hides;
                (self.kdf_of_v3(own, kdf), if is_kept { was } else { padding })
            }
        };
        SealParams::V3 { kdf, padding }
    }

    fn kdf_of_v3(&self, own: KdfSetting, spec: KdfSetting) -> KdfSetting {
        let salt = if self.salt == Change::Asked { spec.salt } else { own.salt };
        let params = match self.cost {
            Change::Asked => spec.params,
            // The cost of another salt is as little the record's as that salt.
            Change::Better if salt == spec.salt => higher(own.params, spec.params),
            Change::Better | Change::Kept => own.params,
        };
        KdfSetting { params, salt }
    }

    fn of_v2(&self, own: V2Params, limits: &KdfLimits) -> Target {
        // The floor is for all that is written.
        if limits.floor.allow(own.params()).is_err() {
            return Target::Spec(self.spec);
        }
        match (self.spec, self.format) {
            (SealParams::V3 { kdf, padding }, Change::Better | Change::Asked) => {
                let kdf = self.kdf_of_v2(*own.params(), kdf, limits);
                Target::Spec(SealParams::V3 { kdf, padding })
            }
            (spec, _) if self.cost == Change::Asked => {
                Target::Spec(SealParams::V2 { params: spec.params() })
            }
            _ => Target::V2(own),
        }
    }

    /// A v2 has a salt of its own, so as v3 it takes that of the spec.
    fn kdf_of_v2(&self, own: KdfParams, spec: KdfSetting, limits: &KdfLimits) -> KdfSetting {
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

/// What tells one stored record from another without any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    V1,
    V2,
    /// With line breaks or stray bits, which are read and not written.
    OddV2,
    V3 {
        kdf: KdfSetting,
        padding: Padding,
    },
}

impl Form {
    /// The form of a stored text; `None` if it is no envelope. A v3 is not checked for damage.
    pub(crate) fn of(text: &EnvelopeText) -> Option<Self> {
        if let Some(header) = StoredHeader::of(text) {
            return Some(Self::V3 { kdf: header.kdf().ok()?, padding: header.padding().ok()? });
        }
        match Envelope::parse(text).ok()? {
            Envelope::V1(_) => Some(Self::V1),
            Envelope::V2(envelope) if envelope.to_text() == *text => Some(Self::V2),
            Envelope::V2(_) => Some(Self::OddV2),
            Envelope::V3(_) => None,
        }
    }

    /// The form in which a target is written.
    pub(crate) fn written(target: &Target) -> Self {
        match target {
            Target::V2(_) | Target::Spec(SealParams::V2 { .. }) => Self::V2,
            Target::Spec(SealParams::V3 { kdf, padding }) => {
                Self::V3 { kdf: *kdf, padding: *padding }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kdf::{KdfMinimum, Salt};

    fn kdf(params: KdfParams, salt: u8) -> KdfSetting {
        KdfSetting { params, salt: Salt::from_bytes([salt; Salt::LEN]) }
    }

    fn v3(kdf: KdfSetting) -> SealParams {
        SealParams::V3 { kdf, padding: Padding::None }
    }

    fn as_it_was(spec: SealParams) -> Reseal {
        Reseal { spec, format: Change::Kept, cost: Change::Kept, salt: Change::Kept }
    }

    const LOW: KdfParams = KdfParams::LIGHTWEIGHT;
    const HIGH: KdfParams = KdfParams::HIGH_SECURITY;

    #[test]
    fn what_is_written_as_it_was_has_the_form_that_it_had() {
        let specs = [
            v3(kdf(HIGH, 1)),
            SealParams::V3 { kdf: kdf(LOW, 2), padding: Padding::Padme },
            SealParams::V2 { params: HIGH },
        ];
        for spec in specs {
            let rule = |present| as_it_was(spec).target(&present, &KdfLimits::default());
            for padding in [Padding::None, Padding::Padme] {
                for kdf in [kdf(LOW, 1), kdf(HIGH, 1), kdf(LOW, 3)] {
                    let same = Target::Spec(SealParams::V3 { kdf, padding });
                    assert_eq!(rule(Present::V3 { kdf, padding }), same);
                }
            }
            let odd = V2Params::new(LOW).with_salt_len(24).unwrap();
            for cost in [V2Params::new(LOW), V2Params::new(HIGH), odd] {
                assert_eq!(rule(Present::V2(Some(cost))), Target::V2(cost));
            }
            assert_eq!(rule(Present::V1), Target::Spec(spec));
        }
    }

    #[test]
    fn no_v2_is_written_below_the_floor() {
        let floor = KdfMinimum { min_m_kib: HIGH.m_cost(), min_work_kib: 0 };
        let limits = KdfLimits { floor, ..KdfLimits::default() };
        let spec = v3(kdf(HIGH, 1));
        let target =
            |cost| as_it_was(spec).target(&Present::V2(Some(V2Params::new(cost))), &limits);
        assert_eq!(target(LOW), Target::Spec(spec));
        assert_eq!(target(HIGH), Target::V2(V2Params::new(HIGH)));
    }

    #[test]
    fn for_an_update_a_v3_keeps_its_salt_and_its_cost_is_only_raised() {
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
        let asked = Change::Asked;
        for kept in [as_it_was(v3(kdf(LOW, 2))), Reseal::by_settings(v3(kdf(LOW, 2)))] {
            let target = |reseal: Reseal| match reseal.target(&present, &KdfLimits::default()) {
                Target::Spec(SealParams::V3 { kdf, padding }) => (kdf, padding),
                other => panic!("{other:?}"),
            };
            assert_eq!(target(kept), (kdf(HIGH, 1), Padding::Padme));
            assert_eq!(target(Reseal { cost: asked, ..kept }), (kdf(LOW, 1), Padding::Padme));
            assert_eq!(target(Reseal { salt: asked, ..kept }), (kdf(HIGH, 2), Padding::Padme));
            assert_eq!(target(Reseal { format: asked, ..kept }), (kdf(HIGH, 1), Padding::None));
            let all = Reseal { format: asked, cost: asked, salt: asked, ..kept };
            assert_eq!(target(all), (kdf(LOW, 2), Padding::None));
        }
    }

    #[test]
    fn no_setting_turns_a_v3_into_a_v2() {
        let present = Present::V3 { kdf: kdf(LOW, 1), padding: Padding::Padme };
        let stays = SealParams::V3 { kdf: kdf(LOW, 1), padding: Padding::Padme };
        let spec = SealParams::V2 { params: LOW };
        for kept in [as_it_was(spec), Reseal::by_settings(spec)] {
            assert_eq!(kept.target(&present, &KdfLimits::default()), Target::Spec(stays));
            let asked = Reseal { format: Change::Asked, ..kept };
            assert_eq!(asked.target(&present, &KdfLimits::default()), Target::Spec(spec));
        }
    }

    #[test]
    fn a_v2_that_becomes_v3_is_sealed_at_no_lower_cost() {
        let rule = |own: KdfParams, reseal: Reseal| {
            let present = Present::V2(Some(V2Params::new(own)));
            reseal.target(&present, &KdfLimits::default())
        };
        let kept = Reseal::by_settings(v3(kdf(LOW, 2)));
        assert_eq!(rule(HIGH, kept), Target::Spec(v3(kdf(HIGH, 2))));
        let to_v3 = Reseal { format: Change::Asked, ..as_it_was(kept.spec) };
        assert_eq!(rule(HIGH, to_v3), Target::Spec(v3(kdf(HIGH, 2))));
        let asked = Reseal { cost: Change::Asked, ..kept };
        assert_eq!(rule(HIGH, asked), Target::Spec(v3(kdf(LOW, 2))));
        // No header is written that the same limits would refuse to read.
        assert_eq!(rule(KdfParams::RFC9106_FIRST, kept), Target::Spec(v3(kdf(LOW, 2))));
    }

    #[test]
    fn a_v2_of_another_spelling_is_of_another_form() {
        let of = |text: &str| Form::of(&EnvelopeText::from_stored(text.as_bytes()));
        // 37 zero bytes: the last character before the padding has two bits to spare.
        let canonical = format!("v2:{}A==", "A".repeat(49));
        assert_eq!(of(&canonical), Some(Form::V2));
        assert_eq!(of(&canonical.replace("A==", "B==")), Some(Form::OddV2));
        assert_eq!(of(&canonical.replacen("v2:AAAA", "v2:AAAA\n", 1)), Some(Form::OddV2));
        assert_eq!(of("v4:AAAA"), None);
    }
}
