//! What `verify` shows: the totals of a census, and a verdict in the last line.

use serde::Serialize;
use vaultstore::census::CensusReport;

use super::figures;
use super::{End, census};
use crate::shown;

/// What was asked: the names of the passwords' sources, in the order of their keys.
pub(crate) struct Asked<'a> {
    /// Of those that must open nothing.
    pub(crate) absent: &'a [String],
    /// Of those that must open everything.
    pub(crate) given: &'a [String],
    /// The costs that were tried on v2 records for the absent passwords.
    pub(crate) v2_costs: Vec<String>,
}

/// The answers; a question that was not asked has none.
pub(crate) struct Verdict {
    given: Option<Answer>,
    absent: Option<Answer>,
}

struct Answer {
    is_good: bool,
    sentence: String,
}

/// The part of the JSON about passwords that must open nothing.
#[derive(Serialize)]
struct Absent<'a> {
    passwords: Vec<census::Opened<'a>>,
    /// Records that one of them opens.
    opened: u64,
    /// Damaged and malformed records, which cannot be checked.
    not_checkable: u64,
    /// Whether they open nothing, and every record could be checked.
    confirmed: bool,
    v2_costs: &'a [String],
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    #[serde(flatten)]
    census: census::Report<'a>,
    /// Whether each question has the good answer.
    verified: bool,
    verdict: String,
    absent: Option<Absent<'a>>,
}

/// `names` of the report are those of the given passwords.
pub(crate) fn json<'a>(
    report: &'a CensusReport,
    asked: &'a Asked<'a>,
    verdict: &Verdict,
    end: End,
) -> Report<'a> {
    let (absent, given) = report.opened.split_at(asked.absent.len().min(report.opened.len()));
    let is_asked = verdict.absent.as_ref();
    Report {
        verified: end == End::Complete && verdict.is_good(),
        verdict: verdict.text().trim_end().replace('\n', "; "),
        absent: is_asked.map(|answer| Absent {
            passwords: census::opened(asked.absent, absent),
            opened: absent.iter().sum(),
            not_checkable: report.damaged + report.malformed,
            confirmed: answer.is_good,
            v2_costs: &asked.v2_costs,
        }),
        census: census::json(report, &[], end).with_opened(
            census::opened(asked.given, given),
            (!asked.given.is_empty()).then_some(report.unopened),
        ),
    }
}

impl Verdict {
    pub(crate) fn of(report: &CensusReport, asked: &Asked<'_>, end: End) -> Self {
        let (absent, given) = report.opened.split_at(asked.absent.len().min(report.opened.len()));
        Self {
            given: (!asked.given.is_empty()).then(|| all_open(report, given.iter().sum(), end)),
            absent: (!asked.absent.is_empty())
                .then(|| none_opens(report, absent.iter().sum(), asked, end)),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        [&self.given, &self.absent].into_iter().flatten().all(|answer| answer.is_good)
    }

    /// A line for each question.
    pub(crate) fn text(&self) -> String {
        let answers = [&self.given, &self.absent].into_iter().flatten();
        let sentences: Vec<_> = answers.map(|answer| answer.sentence.as_str()).collect();
        if sentences.is_empty() { String::new() } else { sentences.join("\n") + "\n" }
    }
}

/// Whether every record opens under the given passwords.
fn all_open(report: &CensusReport, opened: u64, end: End) -> Answer {
    let CensusReport { scanned, damaged, malformed, .. } = *report;
    let broken = damaged + malformed;
    let unopened = scanned.saturating_sub(opened + broken);
    let found = format!(
        "{} of {} open under the given passwords; {} {} not, {} {} damaged or malformed",
        figures::count(opened),
        figures::records(scanned),
        figures::count(unopened),
        if unopened == 1 { "does" } else { "do" },
        figures::count(broken),
        if broken == 1 { "is" } else { "are" },
    );
    let is_good = end == End::Complete && opened == scanned;
    let sentence = match end {
        End::Stopped => format!("NOT VERIFIED, interrupted: so far {found}"),
        End::Complete if scanned == 0 => "VERIFIED: the vault holds no records".to_owned(),
        End::Complete if is_good => format!("VERIFIED: {found}"),
        End::Complete => format!("NOT VERIFIED: {found}"),
    };
    Answer { is_good, sentence }
}

/// Whether no record opens under the passwords that must open none.
fn none_opens(report: &CensusReport, opened: u64, asked: &Asked<'_>, end: End) -> Answer {
    let scanned = figures::count(report.scanned);
    let broken = report.damaged + report.malformed;
    let whose = match asked.absent {
        [one] => format!("the password of {}", shown::line(one)),
        several => format!("any of the {} passwords that must open none", several.len()),
    };
    let has_v2 = report.formats.contains_key(&vaultstore::envelope::Format::V2);
    let costs = if has_v2 {
        format!("; v2 records were tried at the costs {}", asked.v2_costs.join(", "))
    } else {
        String::new()
    };
    let is_good = end == End::Complete && opened == 0 && broken == 0;
    let sentence = match (end, opened, broken) {
        (_, 1.., _) => format!(
            "NOT ABSENT: {} of {scanned} records open under {whose}{}",
            figures::count(opened),
            if end == End::Stopped { ", and the check was interrupted" } else { "" }
        ),
        (End::Stopped, _, _) => {
            format!(
                "NOT CONFIRMED, interrupted: none of {scanned} records so far opens under {whose}"
            )
        }
        (End::Complete, 0, 0) => {
            format!("ABSENT: none of {scanned} records opens under {whose}{costs}")
        }
        (End::Complete, 0, _) => format!(
            "NOT CONFIRMED: no record that could be checked opens under {whose}, but {} of {scanned} could not be checked, \
             being damaged or malformed{costs}",
            figures::count(broken)
        ),
    };
    Answer { is_good, sentence }
}
