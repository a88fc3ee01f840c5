//! The output of `leaks`.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures;
use crate::leaks::{Advantage, Feature, Verdict};
use crate::shown;

/// What a thief could tell.
pub(crate) struct Report<'a> {
    pub(crate) vault: String,
    pub(crate) records: usize,
    pub(crate) groups: Vec<Group<'a>>,
    pub(crate) features: Vec<Judged<'a>>,
    pub(crate) not_looked_at: Vec<&'static str>,
}

/// A password by its source, and how many records it opens.
#[derive(Serialize)]
pub(crate) struct Group<'a> {
    pub(crate) password: &'a str,
    pub(crate) records: usize,
}

/// One feature, alone or with one password.
pub(crate) struct Judged<'a> {
    feature: &'a Feature,
    password: Option<&'a str>,
    advantage: Option<Advantage>,
    pub(crate) verdict: Verdict,
    parts: usize,
}

impl<'a> Judged<'a> {
    pub(crate) fn alone(feature: &'a Feature, verdict: Verdict, parts: usize) -> Self {
        Self { feature, password: None, advantage: None, verdict, parts }
    }

    pub(crate) fn with(
        feature: &'a Feature,
        password: &'a str,
        advantage: Option<Advantage>,
    ) -> Self {
        let verdict = match advantage {
            None => Verdict::TooFew,
            Some(found) if found.advantage > found.limit => Verdict::Leak,
            Some(_) => Verdict::Ok,
        };
        Self { feature, password: Some(password), advantage, verdict, parts: 0 }
    }

    fn text(&self) -> String {
        let text = &self.feature.text;
        match (self.password, self.advantage) {
            (Some(password), Some(found)) => format!(
                "{text} tells who is under {password}: {:.0} of 100 guesses are right (50 by chance)",
                50.0 + 50.0 * found.advantage.clamp(0.0, 1.0)
            ),
            (Some(password), None) => {
                format!("{text}: too few records under {password}, or too few others, to judge")
            }
            (None, _) if self.feature.name == "residue" => text.clone(),
            (None, _) if self.feature.kind == crate::leaks::Kind::Order => {
                format!("{text} is out of order for {} records", figures::count(self.parts as u64))
            }
            (None, _) => {
                format!("{text} divides the vault into {} parts", figures::count(self.parts as u64))
            }
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Json<'a> {
    vault: &'a str,
    records: usize,
    groups: &'a [Group<'a>],
    features: Vec<JsonFeature<'a>>,
    not_looked_at: &'a [&'static str],
    remedy: Vec<String>,
}

#[derive(Serialize)]
struct JsonFeature<'a> {
    tier: &'static str,
    feature: &'static str,
    password: Option<&'a str>,
    advantage: Option<f64>,
    sigma: Option<f64>,
    limit: Option<f64>,
    verdict: &'static str,
    text: String,
}

impl Report<'_> {
    pub(crate) fn json(&self) -> Json<'_> {
        let features = self.features.iter().map(|judged| JsonFeature {
            tier: judged.feature.tier,
            feature: judged.feature.name,
            password: judged.password,
            advantage: judged.advantage.map(|found| found.advantage),
            sigma: judged.advantage.map(|found| found.sigma),
            limit: judged.advantage.map(|found| found.limit),
            verdict: judged.verdict.name(),
            text: judged.text(),
        });
        Json {
            vault: &self.vault,
            records: self.records,
            groups: &self.groups,
            features: features.collect(),
            not_looked_at: &self.not_looked_at,
            remedy: self.remedies(),
        }
    }

    /// What ends it, for what tells something.
    fn remedies(&self) -> Vec<String> {
        let tells = |columns: bool| {
            self.features.iter().any(|judged| {
                matches!(judged.verdict, Verdict::Leak | Verdict::Mark)
                    && (judged.feature.tier == "columns") == columns
                    // The owners' doing: neither a rekey nor a scrub changes it.
                    && !matches!(judged.feature.name, "length" | "updated")
            })
        };
        let vault = shown::argument(&self.vault);
        let mut remedies = Vec::new();
        if tells(true) {
            remedies.push(format!("vaultstore upgrade --vault {vault}, with all passwords"));
        }
        if tells(false) || !remedies.is_empty() {
            remedies.push(format!("vaultstore scrub --vault {vault}"));
        }
        remedies
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let records = figures::count(self.records as u64);
        let passwords = match self.groups.len() {
            0 => "no passwords".to_owned(),
            1 => "1 password".to_owned(),
            more => format!("{more} passwords"),
        };
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{}, {records} records, {passwords}", self.vault);
        for group in &self.groups {
            let of = figures::count(group.records as u64);
            let _ = writeln!(text, "  {of} under {}", group.password);
        }
        let mut quiet = Vec::new();
        for judged in &self.features {
            match judged.verdict {
                Verdict::Leak => drop(writeln!(text, "LEAK  {}", capital(&judged.text()))),
                Verdict::Mark => drop(writeln!(text, "MARK  {}", capital(&judged.text()))),
                Verdict::TooFew | Verdict::Ok => {}
            }
            let name = judged.feature.name;
            let is_quiet =
                |other: &Judged<'_>| other.feature.name != name || other.verdict == Verdict::Ok;
            if !quiet.contains(&name) && self.features.iter().all(is_quiet) {
                quiet.push(name);
            }
        }
        if !quiet.is_empty() {
            let _ = writeln!(text, "ok    No more than chance: {}", quiet.join(", "));
        }
        let is_too_few = |judged: &Judged<'_>| judged.verdict == Verdict::TooFew;
        if self.features.iter().any(is_too_few) {
            let _ = writeln!(
                text,
                "      Passwords with fewer than 200 records, or with all but 200, are not judged"
            );
        }
        for remedy in self.remedies() {
            let _ = writeln!(text, "To end it: {remedy}");
        }
        let _ = writeln!(text, "Not looked at: {}", self.not_looked_at.join(", "));
        text
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
