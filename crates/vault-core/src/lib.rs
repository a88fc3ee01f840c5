//! Formats, cryptography and rekey engine of vaultstore.
//!
//! A [`Vault`] seals values into [`Record`]s and keeps them in a [`VaultStore`]. Each record is an
//! *envelope* of its own, sealed under its writer's password; nothing stored says which records
//! share a password. To change a password, a [`RekeySession`] tries the old one on every record and
//! re-encrypts the records it opens.
//!
//! This crate depends on no database and no async runtime, and reads no file and no environment.
//! Backends implement the traits of `vaultstore-store`, which this crate re-exports in [`store`].
//!
//! The folders are floors; each imports only from those below it: `vault` (the token API), `engine`
//! (rekey, census, copy), `scan` (one pass over a vault), `crypto` (envelopes and keys).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod crypto;
mod engine;
mod scan;
mod vault;

pub use crate::{
    crypto::{
        kdf::KdfParams,
        key::PasswordKey,
        secret::{Password, Plaintext},
    },
    engine::rekey::{RekeyPlan, RekeyReport, RekeySession},
    vault::{CreateOptions, InitOptions, Vault, VaultError, VaultOptions, WriteFormat},
};
pub use vault_store::{
    MemoryStore, Query, Record, RecordId, StoreError, StoreErrorKind, Timestamp, Token, VaultStore,
};

/// The bulk rekey: its plan, its session, its state and its report.
pub mod rekey {
    pub use crate::{
        engine::rekey::{
            BodyCheck, ChainDoubt, EarlierRun, FailureReason, InvalidPlan, JobInfo, KdfDoubt, Mark,
            MarkReason, Marking, Marks, MergeCheck, MergeReport, ParseShardError, PreviousRuns,
            RekeyCounts, RekeyError, RekeyMode, RekeyState, ResumeError, RunStatus, Shard,
            StageTimes, WriteAs, WriteHooks,
        },
        scan::envelope_kind::EnvelopeKind,
    };
}

/// Threads, memory and page sizes of a run over a whole vault, and what such a run finds wrong.
pub mod run {
    pub use crate::scan::{
        error::ScanError,
        options::RunOptions,
        problem::{MAX_PROBLEMS, NotTriedCounts, Problem, ProblemAt, ProblemKind},
        retry::{ThreadTimer, Timer},
        workers::WorkerError,
    };
}

/// Census and verification: what is in a vault, and what a set of passwords opens.
pub mod census {
    pub use crate::engine::census::{
        CensusPlan, CensusReport, CensusSession, Unopened, ValueCheck, ValueVerdict,
    };
}

/// Copies of a vault, as they are, into another store.
pub mod copy {
    pub use crate::engine::copy::{
        CopyError, CopyPlan, CopyReport, CopySession, IdList, MAX_LISTED_IDS, OnExisting, RowList,
        Side, Verified,
    };
}

/// The parts of a [`Query`]: filters, order and keyset cursors.
pub mod query {
    pub use vault_store::{Cursor, Envelopes, Filter, HasCursor, SortKey, SortOrder, SortValue};
}

/// The contract of a store, for authors of a backend.
pub mod store {
    pub use vault_store::{
        BoundTo, Change, DeleteOutcome, EnvelopeHead, EnvelopeText, Expected, HEAD_LEN, HasRoom,
        HasWeight, InsertOutcome, MAX_ENVELOPE_LEN, MAX_KEY_LEN, MAX_SETTING_LEN, MAX_SETTINGS,
        OldBlocks, OverLimit, Page, PageBuilder, PageLimit, ParseTableNameError,
        PasswordIdentities, Precondition, Purge, PurgedIdentities, PutSetting, RecordHead,
        RecordSink, RecordSource, RecordUpdate, Remains, RemainsKind, Replacement, RngError,
        RowName, ScrubOptions, ScrubReport, SealedRecord, StagedStore, TableName, TableNames,
        Trace, UnreadableReason, UnreadableRow, WriteCount, WriteCounter, WriteGuard, WriteHook,
        WriteHookKind, WriteOutcome,
    };
}

/// Envelopes: parsing, checking, opening and sealing one record at a time.
pub mod envelope {
    pub use crate::crypto::{
        envelope::{
            AesKeyLen, Envelope, Format, Malformed, Padding, ParseV2ParamsError, V1, V2, V2Params,
            V3,
        },
        policy::{NotTried, OpenPolicy},
        seal::{CheckedEnvelope, OpenOutcome, Rejected, SealError, SealParams, check, open, seal},
    };
    pub use crate::vault::ParseWriteFormatError;
}

/// Argon2id: parameters, limits and memory.
pub mod kdf {
    pub use crate::crypto::{
        kdf::{
            CostBelowMinimum, CostLimit, CostOverLimit, InvalidKdfParams, KdfError, KdfLimits,
            KdfMemory, KdfMinimum, KdfSetting, ParseKdfParamsError, ParseKdfSettingError, Salt,
        },
        key::VerifyError,
    };
}

/// What the token API returns for lists, several tokens and upserts.
pub mod records {
    pub use crate::vault::{
        HeldRecord, KeyRing, PurgeReport, RecordInfo, Records, Resolved, RingValue, Upserted,
    };
    pub use vault_store::ParseRecordIdError;
}

/// What can be wrong with a vault's own settings.
pub mod settings {
    pub use crate::engine::settings::SettingsError;
}

/// Rules for new passwords.
pub mod password {
    pub use crate::crypto::password_policy::{PasswordPolicy, PasswordPolicyViolation};
}

/// Tokens: their length and how a text is parsed into one.
pub mod token {
    pub use vault_store::{ParseTokenError, ParseTokenLengthError, TokenLength};
}

/// Clocks, and conversions of times.
pub mod time {
    pub use vault_store::{Clock, ParseTimestampError, SystemClock, TimeOutOfRange};
}
