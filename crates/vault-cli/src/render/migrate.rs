//! The output of `migrate`.

use serde::Serialize;
use vaultstore::backend::MigrationReport;

use super::figures;

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    changes: &'a [String],
    shared_tokens: u64,
    password_identities: u64,
    password_links: u64,
}

pub(crate) fn json(migrated: &MigrationReport) -> Report<'_> {
    Report {
        changes: &migrated.changes,
        shared_tokens: migrated.shared_tokens,
        password_identities: migrated.password_identities,
        password_links: migrated.password_links,
    }
}

/// A line per change, or one that says that there was none.
pub(crate) fn text(migrated: &MigrationReport) -> String {
    if migrated.changes.is_empty() {
        return "the tables are current; nothing was changed\n".to_owned();
    }
    let lines: Vec<String> = migrated.changes.iter().map(|change| format!("{change}\n")).collect();
    lines.concat()
}

/// What was found and left unchanged, and needs attention.
pub(crate) fn warnings(migrated: &MigrationReport) -> Vec<String> {
    let MigrationReport { shared_tokens, password_identities, password_links, .. } = *migrated;
    let mut warnings = Vec::new();
    if shared_tokens > 0 {
        warnings.push(format!(
            "{} token(s) belong to more than one record, so the database cannot keep tokens unique; give each record one \
             of its own and run migrate again",
            figures::count(shared_tokens)
        ));
    }
    if password_identities + password_links > 0 {
        warnings.push(format!(
            "an old version of the Go package left {} password hash(es) and {} link(s) from records to them in the table of \
             settings (object_type password_identity, and record with meta_key password_id), which help to guess \
             passwords; remove them with `vaultstore identity purge` once no program uses them",
            figures::count(password_identities),
            figures::count(password_links)
        ));
    }
    warnings
}
