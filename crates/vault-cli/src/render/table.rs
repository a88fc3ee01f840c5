//! A text report: rows with aligned columns, between lines of text.

use std::fmt;

/// Rows and lines, in order. Lines are written with `writeln!`.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Text(String),
    Row { name: String, value: String, remark: String },
}

/// One row: a name and a number.
pub(crate) fn row(table: &mut Table, name: &str, value: &str) {
    row_with(table, name, value, "");
}

/// One row with a remark after the number.
pub(crate) fn row_with(table: &mut Table, name: &str, value: &str, remark: &str) {
    let (name, value, remark) = (name.to_owned(), value.to_owned(), remark.to_owned());
    table.lines.push(Line::Row { name, value, remark });
}

impl fmt::Write for Table {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.lines.last_mut() {
            Some(Line::Text(last)) => last.push_str(text),
            _ => self.lines.push(Line::Text(text.to_owned())),
        }
        Ok(())
    }
}

/// Names start in one column, and numbers end in one.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |of: fn(&Line) -> usize| self.lines.iter().map(of).max().unwrap_or_default();
        let names = widest(|line| match line {
            Line::Row { name, .. } => name.chars().count(),
            Line::Text(_) => 0,
        });
        let values = widest(|line| match line {
            Line::Row { value, .. } => value.chars().count(),
            Line::Text(_) => 0,
        });
        for line in &self.lines {
            match line {
                Line::Text(text) => f.write_str(text)?,
                Line::Row { name, value, remark } => {
                    let row = format!("  {name:<names$}  {value:>values$}  {remark}");
                    writeln!(f, "{}", row.trim_end())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn columns_line_up_whatever_their_names_are() {
        let mut table = Table::default();
        writeln!(table, "headline").unwrap();
        row(&mut table, "scanned", "80,000");
        row_with(&mut table, "a much longer name", "1", "under t=1");
        writeln!(table, "  a line").unwrap();
        let expected = "headline\n  scanned             80,000\n  a much longer name       1  under t=1\n  a line\n";
        assert_eq!(table.to_string(), expected);
    }
}
