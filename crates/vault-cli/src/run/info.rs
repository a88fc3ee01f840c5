//! `info`: what a vault is, as far as it can be told without a password.

use std::{collections::BTreeMap, fs};

use serde::Serialize;
use vaultstore::StoreUrl;
use vaultstore::census::CensusPlan;
use vaultstore::store::PasswordIdentities;

use super::status::{self, Run};
use super::{Context, settings};
use crate::exit::{self, Exit, Failure};
use crate::render::{self, figures, identities};
use crate::shown;

#[derive(Serialize)]
struct Info {
    vault: String,
    /// `null` for a vault on a server.
    file_bytes: Option<u64>,
    records: u64,
    formats: BTreeMap<String, u64>,
    /// The format and cost of new records, where the vault has the setting.
    format: Option<String>,
    kdf: Option<String>,
    identities: u64,
    links: u64,
    runs: Vec<Run>,
}

pub(super) async fn run(context: &Context, json: bool) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let store = vault.store();
    let found = store.password_identities().await?;
    let mut census = vault.census(CensusPlan::new()).await?;
    context.interrupts.leave_first_to_command();
    loop {
        tokio::select! {
            biased;
            () = context.interrupts.first() => return Ok(Exit::Interrupted),
            step = census.step() => if step?.is_none() { break },
        }
    }
    let report = census.report();
    let formats = report.formats.iter().map(|(format, records)| (format.to_string(), *records));
    let info = Info {
        vault: context.url.to_string(),
        file_bytes: bytes(&context.url),
        records: report.scanned,
        formats: formats.collect(),
        format: store.setting(settings::FORMAT).await?,
        kdf: store.setting(settings::KDF).await?,
        identities: found.identities,
        links: found.links,
        runs: status::runs_of(context, &vault, None).await?,
    };
    if json {
        render::print_json(&info)?;
    } else {
        render::print_text(&text(&info, &found))?;
    }
    let unsound = report.damaged + report.malformed;
    if unsound > 0 {
        exit::warn("some records are damaged or malformed");
        exit::hint("`vaultstore census` lists them");
        return Ok(Exit::Remains);
    }
    Ok(Exit::Done)
}

/// The size of a vault's file with its log.
fn bytes(url: &StoreUrl) -> Option<u64> {
    let file = url.file()?;
    let log = file.with_file_name({
        let mut name = file.file_name()?.to_owned();
        name.push("-wal");
        name
    });
    let log = fs::metadata(log).map_or(0, |metadata| metadata.len());
    Some(fs::metadata(file).ok()?.len() + log)
}

/// Names on the left, what comes from the vault escaped.
fn text(info: &Info, found: &PasswordIdentities) -> String {
    let formats = info
        .formats
        .iter()
        .map(|(format, records)| format!("{format} {}", figures::count(*records)));
    let formats: Vec<String> = formats.collect();
    let or_none =
        |text: &Option<String>| text.as_deref().map_or_else(|| "not set".to_owned(), shown::line);
    let mut rows = vec![
        ("vault", info.vault.clone()),
        ("records", figures::count(info.records)),
        ("formats", if formats.is_empty() { "none".to_owned() } else { formats.join(", ") }),
        ("new records", or_none(&info.format)),
        ("Argon2id", or_none(&info.kdf)),
        ("password identities", identities::in_a_table(found)),
    ];
    if let Some(bytes) = info.file_bytes {
        rows.insert(1, ("file", figures::bytes(bytes)));
    }
    if info.runs.is_empty() {
        rows.push(("rekeys", "none left a state here".to_owned()));
    }
    rows.extend(info.runs.iter().map(|run| ("rekey", status::text(run))));
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = rows.iter().map(|(name, value)| format!("{name:<widest$}  {value}\n"));
    lines.collect::<Vec<_>>().concat()
}
