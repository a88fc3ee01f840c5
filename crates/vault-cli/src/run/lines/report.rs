//! What an import or an export has done.

use std::fmt::Write as _;

use serde::Serialize;

use crate::render::figures;
use crate::render::table::{Table, row};

/// How many lines are named with what is wrong with them.
const NAMED: usize = 1000;

/// How many of them the text shows.
const SHOWN: usize = 10;

#[derive(Debug, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON object")]
pub(super) struct Imported {
    pub(super) dry_run: bool,
    pub(super) complete: bool,
    /// Lines that were read, without empty ones.
    pub(super) lines: u64,
    pub(super) imported: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    /// Every line before this one was dealt with.
    pub(super) next_line: u64,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) line: u64,
    reason: String,
}

impl Imported {
    pub(super) fn fail(&mut self, line: u64, reason: String) {
        self.failed += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Problem { line, reason });
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = Table::default();
        // Writing into a table cannot fail.
        let _ = writeln!(
            text,
            "{}",
            match (self.complete, self.dry_run) {
                (false, _) => "import interrupted",
                (true, true) => "import rehearsed: nothing was written",
                (true, false) if self.failed > 0 => "import complete, but not of every line",
                (true, false) => "import complete",
            }
        );
        row(&mut text, "lines", &figures::count(self.lines));
        let imported = if self.dry_run { "would be imported" } else { "imported" };
        row(&mut text, imported, &figures::count(self.imported));
        for (name, number) in [("there already", self.skipped), ("not imported", self.failed)] {
            if number > 0 {
                row(&mut text, name, &figures::count(number));
            }
        }
        for Problem { line, reason } in self.problems.iter().take(SHOWN) {
            let _ = writeln!(text, "  line {line}: {reason}");
        }
        let hidden = self.failed.saturating_sub(SHOWN as u64);
        if hidden > 0 {
            let _ = writeln!(text, "  and {} more", figures::count(hidden));
        }
        text.to_string()
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON object")]
pub(super) struct Exported {
    pub(super) complete: bool,
    pub(super) scanned: u64,
    pub(super) exported: u64,
    /// Records that none of the passwords opens.
    pub(super) other_password: u64,
    /// Soft-deleted and expired records that were left out.
    pub(super) not_live: u64,
    pub(super) damaged: u64,
    pub(super) malformed: u64,
    pub(super) not_tried: u64,
}

impl Exported {
    pub(super) fn text(&self) -> String {
        let mut text = Table::default();
        let head = if self.complete { "export complete" } else { "export interrupted" };
        // Writing into a table cannot fail.
        let _ = writeln!(text, "{head}");
        row(&mut text, "exported", &figures::count(self.exported));
        for (name, number) in [
            ("under other passwords", self.other_password),
            ("deleted or expired", self.not_live),
            ("damaged", self.damaged),
            ("malformed", self.malformed),
            ("not tried", self.not_tried),
        ] {
            if number > 0 {
                row(&mut text, name, &figures::count(number));
            }
        }
        text.to_string()
    }
}
