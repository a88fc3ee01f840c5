//! A report of a rekey for managers and auditors: one page of HTML, or JSON.
//!
//! It contains counts only: no ids, no tokens, no passwords. The page has no script and needs no
//! other resource.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures;
use super::rekey::Figures;
use crate::shown;

/// The first bytes of a page.
pub(crate) const HTML_MAGIC: &str = "<!doctype html><!-- vaultstore report -->\n";

/// The first bytes of a report in JSON.
pub(crate) const JSON_MAGIC: &str = "{\n  \"report\": \"vaultstore rekey\",";

#[derive(Serialize)]
pub(crate) struct Evidence {
    pub(crate) report: &'static str,
    pub(crate) program: &'static str,
    pub(crate) vault: String,
    pub(crate) started_at: String,
    pub(crate) ended_at: String,
    pub(crate) options: Vec<(&'static str, String)>,
    pub(crate) exit_code: u8,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) not_checked: Vec<String>,
    pub(crate) next_steps: Vec<String>,
}

impl Evidence {
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        Ok(shown::json(&serde_json::to_string_pretty(self)?) + "\n")
    }

    pub(crate) fn html(&self) -> String {
        let figures = &self.figures;
        let mut page = format!(
            "{HTML_MAGIC}<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Rekey of {vault}</title>\n\
             <style>{STYLE}</style></head><body>\n<h1>Rekey of {vault}</h1>\n<p class=\"headline\">{}</p>\n",
            escaped(&figures.headline),
            vault = escaped(&self.vault),
        );
        section(&mut page, "Run");
        let mut facts = vec![
            ("Vault", self.vault.clone()),
            ("Began", self.started_at.clone()),
            ("Ended", self.ended_at.clone()),
            ("Program", self.program.to_owned()),
            ("Result", format!("{}, exit code {}", figures.end, self.exit_code)),
        ];
        facts.extend(self.options.iter().map(|(name, value)| (*name, value.clone())));
        rows(&mut page, &facts);
        section(&mut page, "Records by outcome");
        let outcomes: Vec<_> =
            figures.outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        bars(&mut page, &outcomes);
        for (title, kinds) in
            [("Formats before", &figures.before), ("Formats after", &figures.after)]
        {
            section(&mut page, title);
            bars(&mut page, kinds);
        }
        section(&mut page, "The run in figures");
        rows(
            &mut page,
            &[
                ("Earlier runs that it resumed", figures::count(figures.earlier_runs.into())),
                ("Passes for records that others wrote", figures.catch_up_passes.to_string()),
                (
                    "Conflicts with other writers, settled",
                    figures::count(figures.conflicts_settled),
                ),
                ("Repeated calls to the store", figures::count(figures.retries)),
                ("Argon2id computations", figures::count(figures.derivations)),
                ("Seconds", format!("{:.2}", figures.elapsed_seconds)),
            ],
        );
        for (title, sentences) in
            [("What was not checked", &self.not_checked), ("Next steps", &self.next_steps)]
        {
            section(&mut page, title);
            page.push_str("<ul>\n");
            for sentence in sentences {
                // Writing into a String cannot fail.
                let _ = writeln!(page, "<li>{}</li>", escaped(sentence));
            }
            page.push_str("</ul>\n");
        }
        page.push_str("</body></html>\n");
        page
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;\
color:#1b1b1b;background:#fff}h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem;\
border-bottom:1px solid #ccc}.headline{font-weight:600}table{border-collapse:collapse;width:100%}\
td{padding:.15rem 1rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}td:first-child{color:#555;width:45%}\
svg{width:100%;height:auto}@media print{body{margin:0;max-width:none}}";

fn section(page: &mut String, title: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(page, "<h2>{}</h2>", escaped(title));
}

fn rows(page: &mut String, facts: &[(&str, String)]) {
    page.push_str("<table>\n");
    for (name, value) in facts {
        let _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value));
    }
    page.push_str("</table>\n");
}

/// A horizontal bar per row, with its name and count.
fn bars(page: &mut String, counts: &[(String, u64)]) {
    const WIDTH: f64 = 300.0;
    const HEIGHT: usize = 26;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    if most == 0 {
        page.push_str("<p>No records.</p>\n");
        return;
    }
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 700 {}\" role=\"img\" font-size=\"14\">",
        counts.len() * HEIGHT
    );
    for (place, (name, count)) in counts.iter().enumerate() {
        let y = place * HEIGHT;
        // A count that is not zero is seen.
        let width = (figures::as_float(*count) / figures::as_float(most) * WIDTH)
            .max(if *count > 0 { 1.0 } else { 0.0 });
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"{}\">{}</text><rect x=\"270\" y=\"{}\" width=\"{width:.1}\" height=\"18\" fill=\"#2f6f9f\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 18,
            escaped(name),
            y + 4,
            280.0 + width,
            y + 18,
            figures::count(*count),
        );
    }
    page.push_str("</svg>\n");
}

/// Text as HTML shows it, also in attributes.
fn escaped(text: &str) -> String {
    let text = shown::line(text);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_shown_as_text() {
        assert_eq!(escaped("<a href='x'>\"&\n"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\\n");
        let mut page = String::new();
        bars(&mut page, &[("v3 <b>".to_owned(), 1_000_000), ("v2".to_owned(), 1)]);
        assert!(page.contains("v3 &lt;b&gt;") && page.contains("1,000,000"), "{page}");
        assert!(page.contains("width=\"300.0\"") && page.contains("width=\"1.0\""), "{page}");
    }
}
