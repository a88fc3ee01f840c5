//! Triggers and rules of a database.

use std::fmt;

/// A trigger or a rule that acts when the envelope of a record is replaced.
///
/// It is not ours and may do anything: stamp the rows that were rekeyed, copy old envelopes to a
/// log, change what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteHook {
    /// The kind of hook.
    pub kind: WriteHookKind,
    /// Its name in the database.
    pub name: String,
}

/// The kinds of [`WriteHook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteHookKind {
    /// A trigger.
    Trigger,
    /// A rule, which rewrites statements.
    Rule,
    /// A trigger that writes nothing: all it can do is refuse a change.
    Check,
}

impl WriteHook {
    /// Creates a hook with this name.
    #[must_use]
    pub fn new(kind: WriteHookKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }

    /// Returns whether it may write something: reveal which records were changed, or change what is
    /// stored.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.kind != WriteHookKind::Check
    }
}

/// For example `the trigger "stamp"`.
impl fmt::Display for WriteHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            WriteHookKind::Trigger | WriteHookKind::Check => "trigger",
            WriteHookKind::Rule => "rule",
        };
        write!(f, "the {kind} {:?}", self.name)
    }
}

/// Lists hooks in a sentence: the first few by name.
#[must_use]
pub fn list(hooks: &[WriteHook]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = hooks.iter().take(SHOWN).map(ToString::to_string).collect();
    match hooks.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
