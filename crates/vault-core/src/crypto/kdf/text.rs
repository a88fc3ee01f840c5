//! Costs as text: conversions, and serde with the feature `serde`.

use crate::crypto::kdf::{KdfParams, ParseKdfParamsError};

impl TryFrom<&str> for KdfParams {
    type Error = ParseKdfParamsError;

    fn try_from(text: &str) -> Result<Self, ParseKdfParamsError> {
        text.parse()
    }
}

/// Serializes as `t=3,m=65536,p=4`.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl serde::Serialize for KdfParams {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Deserializes what `FromStr` parses, which includes the names of the presets.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> serde::Deserialize<'de> for KdfParams {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_as_it_is_shown() {
        for params in
            [KdfParams::DEFAULT, KdfParams::RFC9106_FIRST, KdfParams::new(8, 1, 1).unwrap()]
        {
            assert_eq!(params.to_string().parse(), Ok(params));
            assert_eq!(KdfParams::try_from(params.to_string().as_str()), Ok(params));
        }
        for refused in ["", "t=1", "t=1,m=7,p=1", "t=0,m=8,p=1", "t=1,m=8,p=1,x=1", "cheap"] {
            assert!(KdfParams::try_from(refused).is_err(), "{refused}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_writes_and_checks_the_text() {
        let json = serde_json::to_string(&KdfParams::DEFAULT).unwrap();
        assert_eq!(json, "\"t=3,m=65536,p=4\"");
        assert_eq!(serde_json::from_str::<KdfParams>(&json).unwrap(), KdfParams::DEFAULT);
        assert_eq!(
            serde_json::from_str::<KdfParams>("\"lightweight\"").unwrap(),
            KdfParams::LIGHTWEIGHT
        );
        assert!(serde_json::from_str::<KdfParams>("\"t=1,m=7,p=1\"").is_err());
    }
}
