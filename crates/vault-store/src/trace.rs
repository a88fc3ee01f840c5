//! What a storage tells of records besides their columns.

use crate::record::RecordId;

/// One number per record, which anyone who takes the storage can read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// Its name for programs, such as `xmin`.
    pub name: &'static str,
    /// What it is, in a few words that begin a sentence.
    pub what: String,
    /// Whether the numbers say where records lie, and not which belong together.
    pub is_order: bool,
    /// The number of each record.
    pub values: Vec<(RecordId, i64)>,
}

impl Trace {
    /// Creates a trace of what belongs together.
    #[must_use]
    pub fn new(name: &'static str, what: impl Into<String>, values: Vec<(RecordId, i64)>) -> Self {
        Self { name, what: what.into(), is_order: false, values }
    }

    /// Says that the numbers are places.
    #[must_use]
    pub fn order(mut self) -> Self {
        self.is_order = true;
        self
    }
}
