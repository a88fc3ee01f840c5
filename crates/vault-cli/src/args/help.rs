//! The command line with complete help: groups, examples and exit codes.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Cli;
use super::pages::{Group, PAGES, Page, page_of};

/// The command line as it is parsed.
pub(crate) fn command() -> Command {
    let command = with_pages();
    let help = main_help(&command);
    command.override_help(help)
}

fn with_pages() -> Command {
    Cli::command().mut_subcommands(|command| match page_of(command.get_name()) {
        Some(page) => command.after_help(after_help(page)),
        None => command,
    })
}

fn after_help(page: &Page) -> String {
    let mut text = String::from("Examples:\n");
    for example in page.examples {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {example}");
    }
    text.push_str("\nExit status:\n");
    for (code, meaning) in page.all_codes() {
        let _ = writeln!(text, "  {code:>3}  {meaning}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// The main help, with its commands in groups.
fn main_help(command: &Command) -> String {
    let mut text = format!(
        "{}\n\nUsage: vaultstore [OPTIONS] <COMMAND>\n",
        command.get_about().map(ToString::to_string).unwrap_or_default()
    );
    for group in Group::ALL {
        let _ = writeln!(text, "\n{}:", group.title());
        for page in PAGES.iter().filter(|page| page.group == group) {
            let _ = writeln!(text, "  {:<16} {}", page.command, summary(command, page.command));
        }
    }
    let options = command.clone().mut_subcommands(|sub| sub.hide(true)).help_template("{all-args}");
    let _ = write!(
        text,
        "\n{}\n\n`vaultstore COMMAND --help` has examples and exit codes, `vaultstore man` the manual.\n",
        options.disable_help_subcommand(true).render_help().to_string().trim_end()
    );
    text
}

/// One line about a command: what its help begins with, unless that is too long.
fn summary(command: &Command, name: &str) -> String {
    let short = match name {
        "demo" => "Show a leaked password, a rekey, and the proof",
        "info" => "Show what this vault is",
        "create" => "Store a value, and print its token",
        "read" => "Write the values of records to standard output",
        "exists" => "Print whether a live record has a token",
        "purge-expired" => "Soft-delete every expired record, or delete them",
        "test-rekey" => "Report what a rekey would do",
        "status" => "List the rekeys of the vault that left a state",
        "verify" => "Check that passwords open every record, or none",
        "upgrade" => "Write all records in the format of the settings",
        "scrub" => "Write the whole vault again, without traces of a rekey",
        "leaks" => "Report what a thief of the database could tell",
        "census" => "Report formats, costs, sizes and damage",
        "copy" => "Copy every record into another vault, and compare",
        "import" => "Store the records of a file of JSON lines",
        "export" => "Write records as JSON lines, in plain text",
        "migrate" => "Upgrade the tables of a vault",
        "identity" => "Count or remove password identities of the Go package",
        "benchmark-rekey" => "Measure a rekey of a temporary vault",
        "man" => "Print the manual page of a command",
        _ => "",
    };
    if short.is_empty() {
        let about = command.find_subcommand(name).and_then(Command::get_about);
        return about.map(ToString::to_string).unwrap_or_default();
    }
    short.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_one_page_and_its_examples_are_valid() {
        let commands: Vec<_> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for name in &commands {
            assert_eq!(PAGES.iter().filter(|page| page.command == name).count(), 1, "{name}");
        }
        assert_eq!(PAGES.len(), commands.len());
        for page in PAGES {
            assert!(!page.examples.is_empty() && !page.see_also.is_empty(), "{}", page.command);
            for other in page.see_also {
                assert!(page_of(other).is_some(), "{other}");
            }
            for example in page.examples {
                let line = example.rsplit("| ").next().unwrap();
                let parsed = command().try_get_matches_from(line.split(' ')).unwrap();
                assert_eq!(parsed.subcommand_name(), Some(page.command));
            }
        }
    }

    #[test]
    fn the_main_help_has_every_command_once_and_fits_80_columns_where_it_is_ours() {
        let help = command().render_help().to_string();
        for page in PAGES {
            let line = format!("\n  {:<16} ", page.command);
            assert_eq!(help.matches(&line).count(), 1, "{}", page.command);
        }
        let ours = help.split("\nOptions:").next().unwrap();
        for line in ours.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(help.contains("--vault <URL>") && help.contains("--log-file"), "{help}");
    }
}
