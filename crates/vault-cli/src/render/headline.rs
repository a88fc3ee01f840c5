//! The first line of a rekey's report: what a person who reads nothing else must know.

use std::fmt::Write as _;

use vaultstore::rekey::{RekeyCounts, RunStatus, Shard};
use vaultstore::store::ScrubReport;
use vaultstore::{Password, RekeyReport};

use super::figures::{self, records};

/// What a headline has to know of the plan, and of v2 records that nothing opened.
#[derive(Clone, Debug)]
pub(crate) struct Wording {
    several: bool,
    /// Whether a new password is also an old one: then it cannot be said what is left under the old
    /// ones.
    pub(crate) chains: bool,
    shard: Shard,
    /// Whether the run writes into a new file, which replaces the vault's only at the end.
    pub(crate) rebuild: bool,
    /// What was done when it did.
    pub(crate) published: Option<ScrubReport>,
    pub(crate) v2: V2Answer,
    /// What a thief of the vault would see of this rekey, and what ends that.
    pub(crate) traces: Option<Traces>,
}

/// What a rekey leaves in the storage of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    pub(crate) what: &'static str,
    pub(crate) remedy: String,
}

/// What was found out about v2 records when no record opened under an old password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum V2Answer {
    /// There are none, or there was no need to ask.
    Unasked,
    /// An old password opens some at the cost of this name, which was not tried.
    OldOpensAt(String),
    /// A new password opens some.
    NewOpens,
    /// Nothing that was tried on a few of them opens one.
    Nothing,
}

impl Wording {
    pub(crate) fn of(pairs: &[(Password, Password)], shard: Shard) -> Self {
        let chains = pairs.iter().any(|(_, new)| pairs.iter().any(|(old, _)| old.is_same_as(new)));
        Self {
            several: pairs.len() > 1,
            chains,
            shard,
            rebuild: false,
            published: None,
            v2: V2Answer::Unasked,
            traces: None,
        }
    }

    fn the_old(&self) -> &'static str {
        if self.several { "an old password" } else { "the old password" }
    }

    fn the_new(&self) -> &'static str {
        if self.several { "a new password" } else { "the new one" }
    }

    /// Which records the numbers are of: nothing to add where they are all of the vault.
    fn here(&self) -> String {
        if self.shard == Shard::WHOLE { String::new() } else { format!(" in shard {}", self.shard) }
    }
}

pub(crate) fn headline(report: &RekeyReport, wording: &Wording) -> String {
    let mut line = outcome(report, wording);
    if matches!(report.end, RunStatus::Complete | RunStatus::NotConverged) {
        let not_tried = &report.counts.not_tried;
        for (count, of) in [
            (not_tried.v1, "of v1, not tried"),
            (not_tried.below_floor, "below the cost floor, not tried"),
            (not_tried.other_salts, "with other salts, not tried"),
        ] {
            if count > 0 {
                let _ = write!(line, "; {} {of}", records(count));
            }
        }
    }
    line
}

/// What an upgrade has done; `None` where it ended as a rekey ends.
fn upgraded(report: &RekeyReport) -> Option<String> {
    let rest = match report.marks.0.iter().map(|mark| mark.records).sum::<u64>() {
        0 => String::new(),
        left => format!("; {} of another form open under none of the passwords", records(left)),
    };
    let rewritten = report.counts.rekeyed;
    Some(match report.end {
        RunStatus::Complete if report.dry_run && report.would_mark() => {
            format!("Rehearsal: the upgrade would be REFUSED{rest}")
        }
        RunStatus::Complete if report.dry_run => {
            format!(
                "Rehearsal: {} would be upgraded; nothing was written{rest}",
                records(rewritten)
            )
        }
        RunStatus::Complete => format!("{} upgraded{rest}", records(rewritten)),
        RunStatus::Refused => format!("REFUSED, and nothing was written{rest}"),
        _ => return None,
    })
}

fn outcome(report: &RekeyReport, wording: &Wording) -> String {
    if let Some(line) = Some(report).filter(|report| report.upgrades).and_then(upgraded) {
        return line;
    }
    let RekeyCounts { rekeyed, failed, conflict, .. } = report.counts;
    let unwritten = failed + conflict;
    match report.end {
        RunStatus::Complete
            if report.already_done && report.rekeyed_now() == 0 && unwritten == 0 =>
        {
            already_done(report, wording)
        }
        RunStatus::Complete if rekeyed == 0 && unwritten == 0 && report.moved_before > 0 => {
            done_otherwise(report, wording)
        }
        RunStatus::Complete if rekeyed == 0 => nothing(report, wording),
        RunStatus::Complete if report.dry_run => rehearsal(report, wording),
        RunStatus::Complete if wording.rebuild && wording.published.is_none() => {
            "FAILED; nothing was changed".to_owned()
        }
        RunStatus::Complete => done(report, wording),
        _ => unfinished(report, wording),
    }
}

fn unfinished(report: &RekeyReport, wording: &Wording) -> String {
    let counts = &report.counts;
    let done = records(counts.rekeyed);
    let in_use = report.merge.found.max(counts.already_new);
    match report.end {
        RunStatus::Refused if in_use == 0 && !report.marks.is_empty() => {
            format!("REFUSED, and nothing was written: it would mark {}", report.marks)
        }
        RunStatus::Refused if in_use == 0 => {
            "REFUSED, and nothing was written: it cannot be known which records were rekeyed already"
                .to_owned()
        }
        RunStatus::Refused => format!(
            "REFUSED, and nothing was written: {} already {} under {}",
            records(in_use),
            if in_use == 1 { "opens" } else { "open" },
            if wording.several { "a new password" } else { "the new password" },
        ),
        RunStatus::Failed if report.dry_run => "Rehearsal FAILED; nothing was written".to_owned(),
        RunStatus::Failed if wording.rebuild => "FAILED; nothing was changed".to_owned(),
        RunStatus::Failed => format!("FAILED after {done} were re-encrypted"),
        RunStatus::NotConverged => format!(
            "{done} re-encrypted, but records under {} keep appearing: another writer is still using it. Stop that \
             writer and run the same command again",
            wording.the_old()
        ),
        _ if report.dry_run => "Rehearsal interrupted; nothing was written".to_owned(),
        _ if wording.rebuild => "Interrupted; nothing was changed".to_owned(),
        _ => {
            format!("Interrupted: {done} re-encrypted so far; run the same command again to resume")
        }
    }
}

fn already_done(report: &RekeyReport, wording: &Wording) -> String {
    let before = records(report.earlier.counts.rekeyed);
    if wording.chains {
        return format!(
            "Already done: an earlier run of these pairs re-encrypted {before}; none was moved again"
        );
    }
    let (old, here) = (wording.the_old(), wording.here());
    format!("Already done: an earlier run re-encrypted {before}; 0 open under {old} now{here}")
}

/// The same passwords, and nothing left to do with these options.
fn done_otherwise(report: &RekeyReport, wording: &Wording) -> String {
    let (old, here, before) = (wording.the_old(), wording.here(), records(report.moved_before));
    format!(
        "Already done: an earlier run with other options re-encrypted {before}; 0 open under {old} now{here}"
    )
}

fn nothing(report: &RekeyReport, wording: &Wording) -> String {
    let RekeyCounts { scanned, already_new, failed, conflict, .. } = report.counts;
    let (old, new, here) = (wording.the_old(), wording.the_new(), wording.here());
    let head = if report.dry_run { "NOTHING WOULD BE REKEYED" } else { "NOTHING WAS REKEYED" };
    if failed > 0 {
        let refused =
            format!("{}{here} under {old}, and the store refused every write", open(failed));
        return format!("{head}: {refused}");
    }
    if conflict > 0 {
        return format!(
            "{head}: another writer kept changing the {} that opened under {old}{here}",
            records(conflict)
        );
    }
    let already = already_new.max(report.merge.found);
    match (scanned, already, &wording.v2) {
        (0, _, _) => format!("{head}: there are no records{here}"),
        (_, _, V2Answer::OldOpensAt(cost)) => format!(
            "{head}: the v2 records were tried at another Argon2id cost than theirs; {old} opens some of them with \
             --v2-preset {cost}"
        ),
        (_, 1.., _) => format!(
            "{head}: no record{here} opens under {old}; {} under {new} already. Are the two swapped?",
            open(already)
        ),
        (_, 0, V2Answer::NewOpens) => format!(
            "{head}: no record{here} opens under {old}; some v2 records open under {new} already. Are the two swapped?"
        ),
        (_, 0, V2Answer::Nothing) => {
            format!("{head}: no record{here} opens under {old} at the v2 costs that were tried")
        }
        (_, 0, V2Answer::Unasked) => format!("{head}: no record{here} opens under {old}"),
    }
}

fn rehearsal(report: &RekeyReport, wording: &Wording) -> String {
    let (left, before) = (report.rekeyed_now(), report.earlier.counts.rekeyed);
    let here = wording.here();
    if report.would_merge() {
        return format!(
            "Rehearsal: the rekey would be REFUSED, since {} under {} already; {} would be re-encrypted otherwise",
            open(report.counts.already_new.max(report.merge.found)),
            wording.the_new(),
            records(left),
        );
    }
    if report.would_mark() {
        return format!(
            "Rehearsal: the rekey would be REFUSED, since it would mark {}; {} would be re-encrypted otherwise",
            report.marks,
            records(left),
        );
    }
    let earlier = if report.already_done { "a finished rekey" } else { "an interrupted rekey" };
    match (left, before) {
        (left, 0) => {
            format!("Rehearsal: {}{here} would be re-encrypted; nothing was written", records(left))
        }
        (0, before) => format!(
            "Rehearsal: nothing is left to re-encrypt{here} after {} of {earlier}; nothing was written",
            records(before)
        ),
        (left, before) => format!(
            "Rehearsal: {} more{here} would be re-encrypted after {} of {earlier}; nothing was written",
            figures::count(left),
            records(before)
        ),
    }
}

fn done(report: &RekeyReport, wording: &Wording) -> String {
    let RekeyCounts { rekeyed, failed, conflict, .. } = report.counts;
    let (old, mut here) = (wording.the_old(), wording.here());
    let done = if report.already_done {
        // Written since then, or the vault was restored: then the sum is not that of its records.
        let before = records(report.earlier.counts.rekeyed);
        here = format!("{here} after {before} of a finished rekey");
        format!("{} more", figures::count(report.rekeyed_now()))
    } else {
        records(rekeyed)
    };
    match (failed, conflict) {
        (0, 0) if wording.chains => format!("{done} re-encrypted{here}"),
        (0, 0) => {
            // A v2 record at another cost than those that were tried may open under it.
            let costs =
                if report.not_checkable() > 0 { " at the v2 costs that were tried" } else { "" };
            format!("{done} re-encrypted{here}; 0 open under {old}{costs}")
        }
        (0, changed) => format!(
            "{done} re-encrypted{here}; {} left as another writer keeps changing them",
            records(changed)
        ),
        (failed, _) => format!(
            "{done} re-encrypted{here}; {} could not be written and stay under {old}",
            records(failed)
        ),
    }
}

/// `1 opens`, `2 open`.
fn open(count: u64) -> String {
    format!("{} open{}", figures::count(count), if count == 1 { "s" } else { "" })
}
