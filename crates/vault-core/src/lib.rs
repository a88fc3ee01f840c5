//! Formats, cryptography, storage contract and rekey engine of vaultstore.
//!
//! A [`Vault`] seals values into [`Record`]s and keeps them in a [`VaultStore`]. Each record is an *envelope* of its
//! own, sealed under the password of whoever wrote it; nothing stored says which records share a password. To change
//! a password, a [`RekeySession`] therefore tries the old one on every record and seals anew those that open.
//!
//! This crate depends on no database and no async runtime, reads no file and no environment. Backends are crates of
//! their own, which see ids, tokens, times and envelope text, never a key or a plaintext.
//!
//! Reading order: [`Envelope`] is what is stored, [`seal()`] and [`open()`] are the two verbs of cryptography,
//! [`RecordSource`], [`RecordSink`] and [`VaultStore`] are the contract of a store, [`Vault`] is what an application
//! uses, [`RekeyPlan`] and [`RekeySession`] are the main job.

mod census;
mod copy;
mod envelope;
mod error;
mod kdf;
mod key;
mod master;
mod memory;
mod pace;
mod password_policy;
mod query;
mod record;
mod rekey;
mod retry;
mod run;
mod scan;
mod seal;
mod secret;
mod sha256;
mod stack;
mod store;
mod table;
mod time;
mod token;
mod vault;
mod workers;
mod write_count;

pub use census::{CensusPlan, CensusReport, CensusSession, ListUnopened, ValueCheck, ValueVerdict};
pub use copy::{
    CopyError, CopyInto, CopyPlan, CopyReport, CopySession, MAX_NAMED, Named, Side, Verified,
};
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
pub use password_policy::{PasswordPolicy, PasswordRefused};
pub use query::{Direction, Envelopes, Include, OrderBy, Ordered, Position, Query, Rank};
pub use record::{EnvelopeText, MAX_ENVELOPE_LEN, Record, RecordId, SealedRecord};
pub use rekey::{
    DryRun, Earlier, InvalidPlan, InvalidShard, MAX_PROBLEMS, MergeCheck, MergeReport, Problem,
    ProblemKind, RekeyCounts, RekeyPlan, RekeyReport, RekeySession, RekeyState, RunEnd, Sealing,
    Shard, StageTimes, StateRefused,
};
pub use retry::{ThreadTimer, Timer};
pub use run::{EngineError, RunOptions};
pub(crate) use seal::{Candidate, check_all, committed_to, open_all, seal_all};
pub use seal::{
    Checked, OpenOutcome, OpenPolicy, SealError, SealSpec, Unopenable, check, open, seal,
};
pub use secret::{Password, Plaintext};
pub use store::{
    DeleteOutcome, InsertOutcome, PageLimit, Purge, PutSetting, RecordChange, RecordSink,
    RecordSource, Replacement, VaultStore, WriteOutcome,
};
pub use table::{InvalidTableName, TableName, TableNames};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{InvalidToken, InvalidTokenLength, Token, TokenLength};
pub use vault::{
    CreateOptions, NewVault, RecordInfo, Records, Resolved, Upserted, Vault, VaultError,
    VaultOptions, WriteFormat,
};
pub use workers::WorkerError;
pub use write_count::{WriteCount, WriteCounter, WriteUnderWay};
