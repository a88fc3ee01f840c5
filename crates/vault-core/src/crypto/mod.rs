//! Passwords, keys and envelopes: everything that sees a secret.

pub(crate) mod envelope;
pub(crate) mod kdf;
pub(crate) mod key;
pub(crate) mod master;
pub(crate) mod password_policy;
pub(crate) mod policy;
pub(crate) mod reseal;
pub(crate) mod salts;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod stack;
