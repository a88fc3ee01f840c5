//! The outcome of a check.

/// What a check that did not fail did.
pub(crate) enum Done {
    /// All of it; a word on how much, where it is more than a yes.
    Passed(String),
    /// Nothing, and why; never on a CI machine where it could have been had.
    LeftOut(String),
}

impl Done {
    /// Passed, and there is no more to say.
    pub(crate) fn passed() -> Self {
        Self::Passed(String::new())
    }
}
