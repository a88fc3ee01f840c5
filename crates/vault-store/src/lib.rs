//! The contract of a vaultstore backend.
//!
//! A backend stores [`Record`]s: an id, a token, times, and an envelope whose text it never
//! interprets. It implements three traits: [`RecordSource`] reads pages in id order, [`RecordSink`]
//! replaces envelopes by compare-and-swap, and [`VaultStore`] adds what the token API needs.
//! [`MemoryStore`] is the reference implementation, and the crate `vaultstore-conformance` turns
//! each sentence of the contract into a test.
//!
//! This crate contains no cryptography, so a backend cannot see a key or a plaintext.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod change;
mod error;
mod found;
mod head;
mod identities;
mod limits;
mod memory;
mod page;
mod query;
mod random;
mod record;
mod scrub;
mod store;
mod system_limits;
mod table;
mod text;
mod time;
mod token;
mod trace;
mod unreadable;
mod write_count;
mod write_hook;

pub use change::{
    Change, DeleteOutcome, Expected, InsertOutcome, Precondition, Purge, PutSetting, RecordUpdate,
    Replacement, WriteOutcome,
};
pub use error::{StoreError, StoreErrorKind};
pub use found::{FileKind, FoundTables};
pub use head::{EnvelopeHead, HEAD_LEN, RecordHead};
pub use identities::{PasswordIdentities, PurgedIdentities};
pub use limits::{MAX_SETTING_LEN, MAX_SETTINGS, OverLimit};
pub use memory::MemoryStore;
pub use page::{HasRoom, HasWeight, Page, PageBuilder, PageLimit};
pub use query::{Cursor, Envelopes, Filter, HasCursor, Query, SortKey, SortOrder, SortValue};
pub use random::{RngError, fill_random};
pub use record::{BoundTo, EnvelopeText, MAX_ENVELOPE_LEN, Record, RecordId, SealedRecord};
pub use scrub::{OldBlocks, Remains, RemainsKind, ScrubOptions, ScrubReport};
pub use store::{RecordSink, RecordSource, StagedStore, VaultStore};
pub use system_limits::{impossible_path, is_out_of_files, no_thread, out_of_files};
pub use table::{ParseTableNameError, TableName, TableNames};
pub use text::{ParseRecordIdError, ParseTimestampError, TimeOutOfRange};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{ParseTokenError, ParseTokenLengthError, Token, TokenLength};
pub use trace::Trace;
pub use unreadable::{MAX_KEY_LEN, RowName, UnreadableReason, UnreadableRow};
pub use write_count::{WriteCount, WriteCounter, WriteGuard};
pub use write_hook::{WriteHook, WriteHookKind, list as list_hooks};
