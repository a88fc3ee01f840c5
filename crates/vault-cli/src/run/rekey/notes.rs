//! What a rekey says besides its report: before the first write, and at the end.

use std::path::Path;

use vaultstore::backend::BackendKind;
use vaultstore::rekey::{RunStatus, WriteHooks};
use vaultstore::store::WriteHook;
use vaultstore::{RekeyReport, StoreUrl};

use crate::exit;
use crate::render::figures;
use crate::render::headline::Traces;
use crate::shown;

/// A rekey that refuses them has ended by now; its dry run continues.
pub(super) fn name_hooks(found: &[WriteHook], hooks: WriteHooks) {
    let names = |may_write: bool| {
        let named = found.iter().filter(|hook| hook.may_write() == may_write);
        named.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let checks = names(false);
    if !checks.is_empty() {
        exit::warn(&format!(
            "the database looks at each record that is re-encrypted, and may refuse it ({checks})"
        ));
    }
    let names = names(true);
    if names.is_empty() {
        return;
    }
    exit::warn(&match hooks {
        WriteHooks::Allow => format!(
            "the database acts on its own on each record that is re-encrypted ({names}), which may show which records were"
        ),
        WriteHooks::Refuse => format!(
            "the database acts on its own on each record that is re-encrypted ({names}); the rekey itself will be refused \
             unless they are removed, or allowed with --allow-triggers"
        ),
    });
}

/// The command that ends it.
pub(super) fn scrub_command(url: &StoreUrl) -> String {
    format!("vaultstore scrub --vault {}", shown::argument(&url.to_string()))
}

/// Says that a server may log the ids of the records that are moved.
pub(super) fn name_logs(settings: &[String]) {
    if settings.is_empty() {
        return;
    }
    exit::warn(&format!(
        "the server may log the id of each record that is re-encrypted ({})",
        settings.join(", ")
    ));
    exit::hint(
        "an administrator can keep parameters out of the log: ALTER ROLE name SET log_parameter_max_length = 0",
    );
}

pub(super) fn tell_resumed(report: &RekeyReport, path: &Path) {
    let earlier = &report.earlier;
    if earlier.runs == 0 || report.already_done {
        return;
    }
    let scanned = figures::records(earlier.counts.scanned);
    let rekeyed = figures::count(earlier.counts.rekeyed);
    exit::note(&if report.dry_run {
        format!(
            "an earlier rekey with these passwords scanned {scanned} and re-encrypted {rekeyed}; \
             rekey would resume from {}",
            path.display()
        )
    } else {
        format!(
            "resuming from {}: {scanned} scanned and {rekeyed} re-encrypted before",
            path.display()
        )
    });
}

/// The warning about the setting `kdf`, which is shown once.
#[derive(Default)]
pub(super) struct Doubt {
    is_shown: bool,
}

impl Doubt {
    pub(super) fn show(&mut self, report: &RekeyReport) {
        let Some(doubt) = report.kdf_doubt.filter(|_| !self.is_shown) else { return };
        self.is_shown = true;
        exit::warn(&format!(
            "the vault's setting kdf ({}) has another salt or a lower cost than most v3 records ({} of {} have {}); \
             re-encrypted records keep theirs, but new records get the setting",
            doubt.setting,
            figures::count(doubt.records),
            figures::count(doubt.of),
            doubt.most,
        ));
        exit::hint(&format!(
            "unless you changed the setting yourself, restore it: vaultstore settings set kdf '{}'",
            doubt.most
        ));
    }
}

/// Says which records were marked, where that was allowed.
pub(super) fn tell_marks(report: &RekeyReport) {
    let is_refused = report.end == RunStatus::Refused || report.would_mark();
    if !is_refused && !report.marks.is_empty() && report.rekeyed_now() > 0 {
        exit::warn(&exit::marked(&report.marks));
    }
}

/// What a thief of the vault would see of what was written. SQLite writes in place, and its log is
/// looked at once the vault is closed.
pub(super) fn traces(url: &StoreUrl, report: &RekeyReport) -> Option<Traces> {
    let what = match url.kind() {
        _ if report.dry_run || report.counts.rekeyed == 0 => return None,
        BackendKind::Redb => {
            "The file still shows which records were rekeyed: they lie in other places, and free pages hold old envelopes."
        }
        BackendKind::Postgres => {
            "The database still shows which records were rekeyed: row versions name their transaction, and dead rows and \
             the server's log hold old envelopes."
        }
        _ => return None,
    };
    Some(Traces { what, remedy: scrub_command(url) })
}

/// Below this many records, no way of rekeying takes long.
const MANY: u64 = 10_000;

/// Names the faster way where at least half of many records match.
pub(super) fn propose_rebuild(url: &StoreUrl, report: &RekeyReport) {
    let counts = &report.counts;
    if url.kind() == BackendKind::Redb
        && report.end == RunStatus::Complete
        && counts.scanned >= MANY
        && counts.rekeyed >= counts.scanned / 2
    {
        exit::note(
            "where most records match, `rekey --rebuild` is usually faster, and its file does not tell which ones did",
        );
    }
}
