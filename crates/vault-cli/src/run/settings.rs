//! `settings get`, `set` and `list`.

use std::collections::BTreeMap;

use vaultstore::envelope::V2Params;
use vaultstore::kdf::{KdfLimits, KdfSetting};
use vaultstore::settings::SettingsError;
use vaultstore::store::PutSetting;
use vaultstore::{KdfParams, Vault, VaultStore, WriteFormat};

use super::Context;
use crate::args::SettingsCommand;
use crate::exit::{self, Exit, Failure};
use crate::render::{self, figures};

pub(super) const KDF: &str = "kdf";
pub(super) const FORMAT: &str = "format";

pub(super) async fn run(context: &Context, command: SettingsCommand) -> Result<Exit, Failure> {
    let store = context.open_store().await?;
    match command {
        SettingsCommand::Get { name } => match store.setting(&name).await? {
            Some(value) => render::print_line(&value)?,
            None => {
                return Err(Failure::failed("the vault has no setting of this name")
                    .hint("see `vaultstore settings list`"));
            }
        },
        SettingsCommand::Set { name, value } => {
            let value = checked(context, &*store, &name, &value).await?;
            let before = store.setting(&name).await?;
            store.put_setting(&name, &value, PutSetting::Always).await?;
            let kdf = value.parse::<KdfSetting>();
            if let Some(line) = kdf.ok().and_then(|kdf| readers_need(&kdf.params)) {
                exit::note(&line);
            }
            if name == KDF && before.is_some_and(|before| before != value) {
                warn_of_two_costs(&*store).await?;
            }
        }
        SettingsCommand::List { json } => {
            let settings: BTreeMap<String, String> = store.settings().await?.into_iter().collect();
            if json {
                render::print_json(&settings)?;
            } else {
                for (name, value) in settings {
                    render::print_line(&format!("{name} = {value}"))?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// Records state their salt and cost in the clear: those that are written from now on differ from
/// those that are there.
async fn warn_of_two_costs(store: &dyn VaultStore) -> Result<(), Failure> {
    // v2 records state neither.
    let is_v2 = store.setting(FORMAT).await? == Some(WriteFormat::V2.to_string());
    if is_v2 || store.count().await? == 0 {
        return Ok(());
    }
    exit::warn(
        "records that are written from now on differ from the others in their salt or cost, so anyone who takes the \
         database can tell which are newer",
    );
    exit::hint("`vaultstore upgrade` gives all records the new cost, if it knows all passwords");
    Ok(())
}

/// Returns the value to store, if it is valid.
async fn checked(
    context: &Context,
    store: &dyn VaultStore,
    name: &str,
    value: &str,
) -> Result<String, Failure> {
    match name {
        KDF => Ok(kdf(context, store, value).await?.to_string()),
        FORMAT => match value.parse::<WriteFormat>() {
            Ok(format) => Ok(format.to_string()),
            Err(error) => Err(Failure::usage(error.to_string())),
        },
        _ => Err(Failure::usage("no setting of this name can be changed")
            .hint("name one of kdf and format")),
    }
}

/// A cost keeps the vault's salt, so that new and old records look alike; a complete setting is
/// stored as it is.
async fn kdf(
    context: &Context,
    store: &dyn VaultStore,
    value: &str,
) -> Result<KdfSetting, Failure> {
    let kdf = if let Ok(kdf) = value.parse::<KdfSetting>() {
        kdf
    } else {
        let params = value.parse::<KdfParams>();
        let params = params.map_err(|error| Failure::usage(error.to_string()))?;
        KdfSetting { params, ..stored_kdf(store).await? }
    };
    let limits = limits_for(context, &kdf.params);
    limits.floor.allow(&kdf.params).map_err(SettingsError::from)?;
    limits.allow(&kdf.params).map_err(SettingsError::from)?;
    Ok(kdf)
}

/// The limits for writing a cost that is given on the command line.
pub(super) fn limits_for(context: &Context, cost: &KdfParams) -> KdfLimits {
    match KdfLimits::memory_for(cost) {
        Some(memory) if context.limits.allow(cost).is_err() => KdfLimits::up_to(memory),
        _ => context.limits,
    }
}

/// What to say of a cost that other commands on the vault reject by default.
pub(super) fn readers_need(cost: &KdfParams) -> Option<String> {
    KdfLimits::default().allow(cost).err()?;
    let size = figures::kib(KdfLimits::memory_for(cost)?);
    Some(format!(
        "this cost is over the default limit of 256MiB: every command on this vault needs --kdf-limit {size} or \
         VAULTSTORE_KDF_LIMIT={size}"
    ))
}

/// Sets the format of a vault of the Go package that has none; other vaults have their own.
pub(super) async fn settle_format(
    vault: &Vault,
    asked: Option<WriteFormat>,
) -> Result<(), Failure> {
    let Some(asked) = asked else { return Ok(()) };
    match vault.settle_format(asked).await? {
        settled if settled == asked => Ok(()),
        settled => Err(Failure::usage(format!("the vault writes {settled}, not {asked}")).hint(
            format!(
                "leave --format out, or change the vault's format first with `vaultstore settings set format {asked}`"
            ),
        )),
    }
}

/// Returns the vault's salt and cost; a vault of the Go package gets its salt here.
pub(super) async fn vault_kdf(vault: &Vault) -> Result<KdfSetting, Failure> {
    vault.seal_spec().await?;
    stored_kdf(&**vault.store()).await
}

/// Returns the cost of the v2 records that this vault writes, if it writes v2 and the cost is
/// within the limits. The vault itself reports invalid settings.
pub(super) async fn own_v2_cost(
    store: &dyn VaultStore,
    limits: &KdfLimits,
) -> Result<Option<V2Params>, Failure> {
    if store.setting(FORMAT).await? != Some(WriteFormat::V2.to_string()) {
        return Ok(None);
    }
    Ok(own_cost(store, limits).await?.map(V2Params::new))
}

/// Returns the cost in the vault's own setting, if that is valid and within the limits: anyone who
/// can write to the database must not choose what a guess or a read costs.
pub(super) async fn own_cost(
    store: &dyn VaultStore,
    limits: &KdfLimits,
) -> Result<Option<KdfParams>, Failure> {
    let kdf = store.setting(KDF).await?.and_then(|kdf| kdf.parse::<KdfSetting>().ok());
    let kdf = kdf
        .filter(|kdf| limits.allow(&kdf.params).is_ok() && limits.floor.allow(&kdf.params).is_ok());
    Ok(kdf.map(|kdf| kdf.params))
}

/// Returns the vault's salt and cost; if it has none yet, new ones that are not stored.
pub(super) async fn stored_kdf(store: &dyn VaultStore) -> Result<KdfSetting, Failure> {
    match store.setting(KDF).await? {
        None => Ok(KdfSetting::generate(KdfParams::DEFAULT)?),
        Some(kdf) => kdf.parse().map_err(|_| SettingsError::Invalid { name: KDF }.into()),
    }
}
