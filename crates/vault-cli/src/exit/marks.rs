//! What is said about records that a rekey would mark.

use std::borrow::Cow;

use vaultstore::rekey::{MarkReason, Marks};

use crate::render::figures::records;

/// What would be marked, and what that tells.
pub(crate) fn marked(marks: &Marks) -> String {
    if let Some(left) = marks.0.iter().find(|mark| mark.reason == MarkReason::Left) {
        return format!(
            "none of the passwords opens {} of another form: anyone who takes the database can tell them from \
             the others",
            records(left.records)
        );
    }
    format!(
        "marked: {marks}: anyone who takes the database can tell them from the others, and that they share a password"
    )
}

/// What to do about it.
pub(crate) fn marks_hint(marks: &Marks) -> Cow<'static, str> {
    let has = |reason| marks.0.iter().any(|mark| mark.reason == reason);
    if has(MarkReason::Left) {
        return "give their passwords as well (and --allow-v1 for v1), or leave them with --leave-rest".into();
    }
    if has(MarkReason::NotTried) {
        return "use --merge-check=full to try the old password on them first (an Argon2id each), leave the records as they \
                were (no --write, --format, --kdf or --vault-salt), or accept the marks with --allow-marks"
            .into();
    }
    if has(MarkReason::Asked) {
        return "leave the records as they were (no --write, --format, --kdf or --vault-salt), rewrite all records of the \
                vault with vaultstore upgrade, or accept the marks with --allow-marks"
            .into();
    }
    "rewrite all such records at once with vaultstore upgrade, which needs all their passwords, or accept the marks with \
     --allow-marks"
        .into()
}
