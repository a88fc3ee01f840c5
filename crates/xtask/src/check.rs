//! The outcome of a check.

/// The result of a check that did not fail.
pub(crate) enum Done {
    /// It passed; with a remark if there is something to say.
    Passed(String),
    /// It could not run, and why; never on a CI machine where it could have.
    LeftOut(String),
}

impl Done {
    /// Passed, without a remark.
    pub(crate) fn passed() -> Self {
        Self::Passed(String::new())
    }
}
