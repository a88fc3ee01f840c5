//! `status`: the rekeys of a vault that left a state.

use std::path::PathBuf;

use serde::Serialize;
use vaultstore::Vault;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, figures};
use crate::state_file::{self, Listed};

#[derive(Serialize)]
pub(super) struct Run {
    state: String,
    /// `interrupted`, `finished`, `running` or `unreadable`.
    status: &'static str,
    started: Option<String>,
    scanned: Option<u64>,
    total: Option<u64>,
}

pub(super) async fn run(
    context: &Context,
    state: Option<PathBuf>,
    json: bool,
) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let runs = runs_of(context, &vault, state).await?;
    if json {
        render::print_json(&serde_json::json!({ "runs": runs }))?;
    } else if runs.is_empty() {
        render::print_line(
            "no rekey of this vault left a state here; name one that was started elsewhere with --state",
        )?;
    } else {
        for run in &runs {
            render::print_line(&text(run))?;
        }
    }
    Ok(Exit::Done)
}

/// The rekeys of a vault that left a state. A vault without an id was never rekeyed.
pub(super) async fn runs_of(
    context: &Context,
    vault: &Vault,
    state: Option<PathBuf>,
) -> Result<Vec<Run>, Failure> {
    let listed = match vault.known_id().await? {
        Some(id) => state_file::list_with(id, &context.url, state)?,
        None => Vec::new(),
    };
    Ok(listed.iter().map(about).collect())
}

fn about(listed: &Listed) -> Run {
    let info = listed.info;
    Run {
        state: listed.path.display().to_string(),
        status: match info {
            _ if listed.in_use => "running",
            None => "unreadable",
            Some(info) if info.finished => "finished",
            Some(_) => "interrupted",
        },
        started: info.map(|info| info.started.to_string()),
        scanned: info.map(|info| info.scanned),
        total: info.map(|info| info.total),
    }
}

pub(super) fn text(run: &Run) -> String {
    let Run { state, status, started, scanned, total } = run;
    match (started, scanned, total) {
        (Some(started), Some(scanned), Some(total)) => format!(
            "{status}: started {started}, {} of {} records scanned, state in {state}",
            figures::count(*scanned),
            figures::count(*total),
        ),
        _ => format!("{status}: state in {state}"),
    }
}
