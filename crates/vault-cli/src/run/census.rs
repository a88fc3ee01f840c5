//! `census` and `verify`.

use std::sync::Arc;

use vaultstore::census::{CensusPlan, CensusReport, CensusSession, Unopened};
use vaultstore::{Password, PasswordKey};

use super::{Context, blocking};
use crate::args::{CensusArgs, OutputArgs, PasswordsArgs, Source};
use crate::exit::{Exit, Failure};
use crate::plan;
use crate::render::census::End;
use crate::render::progress::Progress;
use crate::render::{self};
use crate::secrets::{Passwords, Prompt};

/// Damaged and malformed records make the exit code 3; records that none of the passwords opens
/// belong to others.
pub(super) async fn census(context: &Context, args: CensusArgs) -> Result<Exit, Failure> {
    let (report, end) = survey(context, args, "census", Unopened::Count).await?;
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.damaged + report.malformed > 0 => Exit::Remains,
        End::Complete => Exit::Done,
    })
}

/// As a census; in addition, a record that none of the passwords opens makes the exit code 3.
pub(super) async fn verify(context: &Context, args: CensusArgs) -> Result<Exit, Failure> {
    let (report, end) = survey(context, args, "verify", Unopened::List).await?;
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.damaged + report.malformed + report.unopened > 0 => Exit::Remains,
        End::Complete => Exit::Done,
    })
}

async fn survey(
    context: &Context,
    args: CensusArgs,
    phase: &'static str,
    list: Unopened,
) -> Result<(CensusReport, End), Failure> {
    let vault = context.open_for(&args.open).await?;
    let (names, passwords) = blocking(move || named_passwords(args.passwords, list)).await?;
    let mut census = CensusPlan::new().list_unopened(list).options(plan::run_options(&args.run));
    for password in passwords {
        census = census.key(Arc::new(PasswordKey::new(password)));
    }
    context.interrupts.leave_first_to_command();
    let mut session = vault.census(census).await?;
    let end = to_its_end(context, &mut session, phase, &args.output).await?;
    let report = session.report().clone();
    if args.output.json {
        render::print_json(&render::census::json(&report, &names, end))?;
    } else {
        let mut text = render::census::text(&report, &names, end);
        if list == Unopened::List {
            text.push_str(&render::census::verdict(&report, end));
        }
        render::print_text(&text)?;
    }
    Ok((report, end))
}

/// The passwords, each with the name of its source. Only `verify` prompts for one that was not
/// given.
fn named_passwords(
    args: PasswordsArgs,
    list: Unopened,
) -> Result<(Vec<String>, Vec<Password>), Failure> {
    let mut reader = Passwords::default();
    let sources = args.sources();
    if sources.is_empty() && list == Unopened::List {
        let typed = reader.read(None, Prompt::Known("Password"))?;
        return Ok((vec!["the password typed".to_owned()], vec![typed]));
    }
    let mut named = (Vec::new(), Vec::new());
    for (number, source) in sources.into_iter().enumerate() {
        named.0.push(match &source {
            Source::File(path) => format!("--password-file {}", path.display()),
            Source::Env(variable) => format!("--password-env {variable}"),
            // A command may contain a secret.
            Source::Command(_) => format!("--password-command (password {})", number + 1),
            Source::Literal(option, _) => format!("{option} (password {})", number + 1),
        });
        named.1.push(reader.read(Some(source), Prompt::Known("Password"))?);
    }
    Ok(named)
}

async fn to_its_end(
    context: &Context,
    session: &mut CensusSession,
    phase: &'static str,
    output: &OutputArgs,
) -> Result<End, Failure> {
    let mut progress = Progress::start(output.progress, phase, session.total());
    loop {
        let step = tokio::select! {
            biased;
            () = context.interrupts.first() => return Ok(End::Stopped),
            step = session.step() => step?,
        };
        match step {
            Some(report) => render::census::step(&mut progress, report),
            None => return Ok(End::Complete),
        }
    }
}
