//! Formats, cryptography, storage contract and rekey engine of vaultstore.

mod envelope;
mod error;
mod kdf;
mod key;
mod memory;
mod record;
mod seal;
mod secret;
mod store;
mod time;
mod token;

pub use envelope::{
    AesKeyLen, Envelope, Format, Malformed, Padding, ParseV2CostError, V1, V2, V2Cost, V3,
};
pub(crate) use error::fill_random;
pub use error::{RandomError, StoreError, StoreErrorKind};
pub use kdf::{
    CostBelowFloor, CostLimit, CostOverLimit, InvalidKdfParams, KdfError, KdfFloor, KdfLimits,
    KdfMemory, KdfParams, ParseKdfParamsError, ParseVaultKdfError, Salt, VaultKdf,
};
pub use key::{VaultKey, VerifyError};
pub use memory::MemoryStore;
pub use record::{EnvelopeText, MAX_ENVELOPE_LEN, Record, RecordId, SealedRecord};
pub use seal::{
    Checked, OpenOutcome, OpenPolicy, SealError, SealSpec, Unopenable, check, open, seal,
};
pub use secret::{Password, Plaintext};
pub use store::{
    DeleteOutcome, InsertOutcome, PageLimit, PutSetting, RecordChange, RecordSink, RecordSource,
    Replacement, VaultStore, WriteOutcome,
};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{InvalidToken, InvalidTokenLength, Token, TokenLength};
