//! SHA-256 (FIPS 180-4) of many messages at once, and HMAC based on it.
//!
//! A bulk rekey hashes the same few hundred bytes of each of a million records. Without SHA
//! instructions, a block of 64 bytes takes a processor about 0.4 µs. Eight messages in parallel,
//! one in each lane of its vectors, take a seventh of that each. Where the processor has SHA
//! instructions, or no wide vectors, the `sha2` crate hashes one message after another. This is
//! decided once, and the digests are the same.
//!
//! # Security
//! No branch and no index depends on the bytes of a message. Only the number and lengths of the
//! messages, which anyone who can read the vault knows, determine the control flow. States and
//! words are wiped after use.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod block;
mod digest;
mod hmac;
mod lanes;
mod message;

pub use self::block::DIGEST_LEN;
pub use self::digest::digests;
pub use self::hmac::{HmacKey, hmacs};
pub use self::message::Message;
