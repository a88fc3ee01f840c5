//! `completions` and `man`, for packagers.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Exit, Failure};
use crate::render;

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vaultstore", &mut script);
    render::print(&script)?;
    Ok(Exit::Done)
}

/// The page of the command, followed by the pages of its subcommands.
pub(super) fn man() -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let rendered = |error| Failure::failed("the manual page could not be rendered").because(error);
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(rendered)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        clap_mangen::Man::new(sub.clone()).render(&mut page).map_err(rendered)?;
    }
    render::print(&page)?;
    Ok(Exit::Done)
}
