//! The exit code of a rekey, and what to check where it is not 0.

use vaultstore::RekeyReport;
use vaultstore::rekey::RunStatus;

use crate::exit::{self, Exit};
use crate::render::figures;
use crate::render::headline::{V2Answer, Wording};

/// The counts required for success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) count: Option<u64>,
    pub(super) zero_is_fine: bool,
}

/// A wrong count takes precedence over remaining records: it usually means a wrong password.
pub(super) fn judge(report: &RekeyReport, wording: &Wording, expected: Expected) -> Exit {
    match report.end {
        RunStatus::Complete => {}
        RunStatus::NotConverged => return Exit::Remains,
        _ => return Exit::Interrupted,
    }
    if report.dry_run && report.would_merge() {
        exit::error(&format!(
            "the new password opens {} already, and a rekey would be refused",
            figures::records(report.counts.already_new + report.merge.found)
        ));
        exit::hint("choose another new password, or allow the merge with --merge-check=off");
        return Exit::WouldMerge;
    }
    if report.dry_run && report.would_mark() {
        exit::error(&format!("{}, and a rekey would be refused", exit::marked(&report.marks)));
        exit::hint(&exit::marks_hint(&report.marks));
        return Exit::WouldMark;
    }
    if let Some(count) = expected.count
        && count != report.counts.rekeyed
    {
        exit::error(&format!(
            "{} expected to match, and {} did",
            figures::records(count),
            figures::count(report.counts.rekeyed)
        ));
        return Exit::OtherCount;
    }
    exit::tell_not_tried(&report.counts.not_tried);
    // The old password may open records of v1: the passwords need not be wrong.
    let is_v1 = report.counts.not_tried.v1 > 0;
    if report.moved_nothing() && !is_v1 && !expected.zero_is_fine && expected.count.is_none() {
        exit::error("no record was re-encrypted");
        exit::hint(&what_to_check(report, wording));
        return Exit::OtherCount;
    }
    if report.needs_attention() || !report.left.is_empty() && report.rekeyed_now() == 0 {
        Exit::Remains
    } else {
        Exit::Done
    }
}

/// What to check if nothing opened under an old password.
fn what_to_check(report: &RekeyReport, wording: &Wording) -> String {
    let are_swapped = report.counts.already_new > 0 || wording.v2 == V2Answer::NewOpens;
    let check = match &wording.v2 {
        V2Answer::OldOpensAt(cost) => {
            return format!(
                "run the same command with --v2-preset {cost}: v2 records do not store their Argon2id cost"
            );
        }
        _ if report.counts.scanned == 0 => "check that this is the right vault",
        _ if are_swapped => "check which of the passwords is the old one",
        V2Answer::Nothing => {
            "check the old password, and the cost of the v2 records, which they do not store (--v2-preset)"
        }
        _ => "check the old password",
    };
    format!("{check} (--allow-zero makes this a success)")
}
