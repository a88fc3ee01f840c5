//! `completions` and `man`, for packagers.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::pages::{COMMON_CODES, PAGES, Page, page_of};
use crate::args::{ManArgs, command};
use crate::exit::{Exit, Failure};
use crate::render;

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "vaultstore", &mut script);
    render::print(&script)?;
    Ok(Exit::Done)
}

/// One page, or all of them as files.
pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let Some(folder) = &args.output_dir else {
        let page = match &args.command {
            Some(name) => Some(page_of(name).ok_or_else(|| {
                Failure::usage("there is no such command").hint("see `vaultstore --help`")
            })?),
            None => None,
        };
        render::print(&render_page(page)?)?;
        return Ok(Exit::Done);
    };
    for page in std::iter::once(None).chain(PAGES.iter().map(Some)) {
        let path = folder.join(format!("{}.1", name_of(page)));
        write(&path, &render_page(page)?).map_err(|error| {
            Failure::failed(format!("{}: cannot be written", path.display()))
                .hint("name an existing folder without these pages")
                .because(error)
        })?;
    }
    Ok(Exit::Done)
}

fn write(path: &Path, page: &[u8]) -> std::io::Result<()> {
    fs::File::create_new(path)?.write_all(page)
}

fn name_of(page: Option<&Page>) -> String {
    page.map_or_else(|| "vaultstore".to_owned(), |page| format!("vaultstore-{}", page.command))
}

fn render_page(page: Option<&Page>) -> Result<Vec<u8>, Failure> {
    let mut root = command();
    root.build();
    let command = match page {
        Some(page) => root.find_subcommand(page.command).cloned().unwrap_or(root),
        None => root,
    };
    let mut text = Vec::new();
    sections(command, page, &mut text)
        .map_err(|error| Failure::failed("the manual page could not be rendered").because(error))?;
    Ok(text)
}

fn sections(command: Command, page: Option<&Page>, text: &mut Vec<u8>) -> std::io::Result<()> {
    let (display, subcommands) = (name_of(page), command.has_subcommands());
    let man = Man::new(command.display_name(display.clone()).after_help("")).title(display);
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    if subcommands {
        man.render_subcommands_section(text)?;
    }
    text.write_all(additions(page).as_bytes())
}

/// The sections that clap does not know of.
fn additions(page: Option<&Page>) -> String {
    let mut text = String::new();
    let (codes, see_also) = match page {
        Some(page) => (page.all_codes(), page.see_also.to_vec()),
        None => (COMMON_CODES.to_vec(), PAGES.iter().map(|page| page.command).collect()),
    };
    if let Some(page) = page {
        text.push_str(".SH EXAMPLES\n.nf\n");
        for example in page.examples {
            let _ = writeln!(text, "{}", roff(example));
        }
        text.push_str(".fi\n");
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in codes {
        let _ = writeln!(text, ".TP\n{code}\n{}", roff(meaning));
    }
    text.push_str(".SH ENVIRONMENT\n");
    for (names, meaning) in ENVIRONMENT {
        let _ = writeln!(text, ".TP\n{}\n{}", roff(names), roff(meaning));
    }
    text.push_str(".SH FILES\n");
    for (names, meaning) in FILES {
        let _ = writeln!(text, ".TP\n{}\n{}", roff(names), roff(meaning));
    }
    text.push_str(".SH \"SEE ALSO\"\n");
    let mut pages: Vec<_> =
        see_also.iter().map(|name| format!("\\fBvaultstore\\-{}\\fR(1)", roff(name))).collect();
    if page.is_some() {
        pages.insert(0, "\\fBvaultstore\\fR(1)".to_owned());
    }
    let _ = writeln!(text, "{}", pages.join(", "));
    text
}

const ENVIRONMENT: [(&str, &str); 6] = [
    ("VAULTSTORE_VAULT", "The address of the vault, unless --vault gives it."),
    ("VAULTSTORE_KDF_LIMIT", "As --kdf-limit."),
    (
        "VAULTSTORE_PASSWORD_FILE, VAULTSTORE_PASSWORD_COMMAND",
        "The file, or the shell command, that gives the password of records where the command would otherwise prompt.",
    ),
    (
        "VAULTSTORE_OLD_PASSWORD_FILE, VAULTSTORE_OLD_PASSWORD_COMMAND, VAULTSTORE_NEW_PASSWORD_FILE, VAULTSTORE_NEW_PASSWORD_COMMAND",
        "The same for the old and the new password of a rekey.",
    ),
    (
        "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE",
        "As in libpq: what a Postgres address leaves out.",
    ),
    ("XDG_STATE_HOME", "Where the states of rekeys are."),
];

const FILES: [(&str, &str); 2] = [
    ("vault.redb", "The vault in the current folder, unless another is given."),
    (
        "$XDG_STATE_HOME/vaultstore/, ~/.local/state/vaultstore/",
        "The states that rekeys resume from, and their locks.",
    ),
];

/// Text as roff shows it unchanged.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
