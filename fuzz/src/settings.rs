//! Settings come from the store, costs from the caller: neither panics, and what is
//! understood is written back so that it is understood the same.

use std::{fmt::Display, str::FromStr};

use vault_core::envelope::V2Params;
use vault_core::kdf::KdfSetting;
use vault_core::{KdfParams, Token, WriteFormat};

/// Every type with a text of its own reads any text.
pub fn settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // one spelling only
    if let Some(kdf) = round_trip::<KdfSetting>(text) {
        assert_eq!(kdf.to_string(), text);
    }
    if let Some(format) = round_trip::<WriteFormat>(text) {
        assert_eq!(format.to_string(), text);
    }
    // any order of the fields, and names
    if let Some(params) = round_trip::<KdfParams>(text) {
        assert!(
            params.t_cost() >= 1
                && params.p_cost() >= 1
                && u64::from(params.m_cost()) >= 8 * u64::from(params.p_cost())
        );
    }
    if let Some(cost) = round_trip::<V2Params>(text) {
        assert!((V2Params::MIN_SALT_LEN..=V2Params::MAX_SALT_LEN).contains(&cost.salt_len()));
    }
    if let Ok(token) = Token::new(text) {
        assert_eq!(token.as_str(), text);
        assert!((1..=255).contains(&text.len()));
    }
}

/// Parses a text, and again what that displays as.
fn round_trip<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert!(
                value.to_string().parse().is_ok_and(|again: T| again == value),
                "{text:?} changed on its way"
            );
            Some(value)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
