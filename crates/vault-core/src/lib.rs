//! Formats, cryptography, storage contract and rekey engine of vaultstore.

mod error;
mod memory;
mod record;
mod store;
mod time;
mod token;

pub(crate) use error::fill_random;
pub use error::{RandomError, StoreError, StoreErrorKind};
pub use memory::MemoryStore;
pub use record::{EnvelopeText, MAX_ENVELOPE_LEN, Record, RecordId, SealedRecord};
pub use store::{
    DeleteOutcome, InsertOutcome, PageLimit, PutSetting, RecordChange, RecordSink, RecordSource,
    Replacement, VaultStore, WriteOutcome,
};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{InvalidToken, InvalidTokenLength, Token, TokenLength};
