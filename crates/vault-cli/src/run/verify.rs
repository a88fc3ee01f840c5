//! `verify`: does every record open, and does a password open nothing any more?

use vaultstore::Vault;
use vaultstore::census::{CensusPlan, Unopened};

use super::census::{Named, tell_v2_cost, to_its_end};
use super::v2_cost::{self, V2Costs};
use super::{Context, blocking};
use crate::args::{AbsentPasswordsArgs, CensusArgs, OpenArgs, PasswordsArgs, VerifyArgs};
use crate::exit::{self, Exit, Failure};
use crate::plan;
use crate::render::unchecked::SHOWN;
use crate::render::verify::{Asked, Verdict};
use crate::render::{self, End};
use crate::secrets::{Passwords, Prompt, Role};

pub(super) async fn run(context: &Context, args: VerifyArgs) -> Result<Exit, Failure> {
    let VerifyArgs { census, absent, list_all } = args;
    let CensusArgs { passwords, run, pace, open, output } = census;
    let vault = context.open_for(&open).await?;
    let costs = V2Costs::of(&**vault.store(), &open, context).await?;
    let (absent, given) = blocking(move || read(passwords, absent)).await?;
    // That a password opens nothing must hold at every cost that is known of.
    let vault =
        if absent.names.is_empty() { vault } else { at_every_cost(context, &open, &vault, &costs) };
    let streams = list_all && !output.json;
    // That others open under none of them is how it should be where a password must open nothing.
    let list = match (list_all, given.names.is_empty()) {
        (true, _) => Unopened::All,
        (false, true) => Unopened::Count,
        (false, false) => Unopened::List,
    };
    let census =
        CensusPlan::new().list_unopened(list).options(plan::run_options(&run, Some(&pace)));
    // A record counts for the first key that opens it, so a password that must open nothing comes
    // first if it is given twice.
    let census = given.with_keys(absent.with_keys(census));
    context.interrupts.leave_first_to_command();
    let mut session = vault.census(census).await?;
    let end = to_its_end(context, &mut session, "verify", (&output, pace), |session| {
        if !streams {
            return Ok(());
        }
        let (problems, ids) = session.take_listed();
        render::print_text(&render::census::lists(&problems, &ids, usize::MAX))
    })
    .await?;
    let report = session.report();
    let asked = Asked {
        absent: &absent.names,
        given: &given.names,
        v2_costs: costs.all().iter().map(v2_cost::name).collect(),
    };
    let verdict = Verdict::of(report, &asked, end);
    if output.json {
        render::print_json(&render::verify::json(report, &asked, &verdict, end))?;
    } else {
        let names = [&absent.names[..], &given.names].concat();
        let mut text = String::new();
        if !streams {
            text.push_str(&render::census::lists(&report.problems, &report.unopened_ids, SHOWN));
            text.push_str(&render::census::hidden(report, SHOWN));
        }
        text.push_str(&render::census::text(report, &names, None, end));
        text.push_str(&verdict.text());
        render::print_text(&text)?;
    }
    exit::tell_not_tried(&report.not_tried);
    if absent.names.is_empty() {
        tell_v2_cost(&session, &costs, end).await?;
    }
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if verdict.is_good() => Exit::Done,
        End::Complete => Exit::Remains,
    })
}

/// The passwords that must open nothing, and those that must open everything. Without either, the
/// command prompts for one.
fn read(passwords: PasswordsArgs, absent: AbsentPasswordsArgs) -> Result<(Named, Named), Failure> {
    let mut reader = Passwords::default();
    let absent = Named::read(&mut reader, absent.sources(), "--absent-")?;
    let mut given = Named::read(&mut reader, passwords.sources(), "--")?;
    if absent.names.is_empty() && given.names.is_empty() {
        let variable = Role::Records.in_environment()?.map(|(name, _)| name);
        let password = reader.read(None, Prompt::Known(Role::Records))?;
        let name = variable
            .map_or("the password typed".to_owned(), |name| format!("the password of {name}"));
        given.add(name, password);
    }
    Ok((absent, given))
}

fn at_every_cost(context: &Context, open: &OpenArgs, vault: &Vault, costs: &V2Costs) -> Vault {
    let mut options = plan::vault_options(open, None, context.limits);
    options.open.v2_costs = costs.all();
    Vault::new(std::sync::Arc::clone(vault.store()), options)
}
