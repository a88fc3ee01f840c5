//! What the command line asks for: passwords, the form to write, and the state to resume from.

use std::path::{Path, PathBuf};

use vaultstore::envelope::{Padding, SealParams};
use vaultstore::kdf::KdfSetting;
use vaultstore::rekey::WriteAs;
use vaultstore::{Password, RekeyPlan, Vault, WriteFormat};

use crate::args::{NewPasswordArgs, OldPasswordArgs, RekeyArgs, Source, Writing};
use crate::exit::Failure;
use crate::run::{Context, settings};
use crate::secrets::{self, Passwords, Prompt, Role};
use crate::state_file::{self, StateFile};

pub(super) fn pairs(
    file: Option<&Path>,
    old: OldPasswordArgs,
    new: NewPasswordArgs,
) -> Result<Vec<(Password, Password)>, Failure> {
    if let Some(file) = file {
        return secrets::read_pairs(file);
    }
    let mut passwords = Passwords::default();
    let old = passwords.read(old.source(), Prompt::Known(Role::Old))?;
    let new = passwords.read(new.source(), Prompt::New(Role::New))?;
    Ok(vec![(old, new)])
}

/// Each password once.
pub(super) fn passwords(
    sources: Vec<Source>,
    pairs: Option<&Path>,
) -> Result<Vec<Password>, Failure> {
    let mut reader = Passwords::default();
    let mut given = Vec::new();
    match pairs {
        Some(file) => {
            given.extend(secrets::read_pairs(file)?.into_iter().flat_map(|(old, new)| [old, new]));
        }
        None if sources.is_empty() => given.push(reader.read(None, Prompt::Known(Role::Records))?),
        None => {
            for source in sources {
                given.push(reader.read(Some(source), Prompt::Known(Role::Records))?);
            }
        }
    }
    let mut passwords: Vec<Password> = Vec::new();
    for password in given {
        if !passwords.iter().any(|other| other.is_same_as(&password)) {
            passwords.push(password);
        }
    }
    Ok(passwords)
}

/// Sets how to write: as it was or as requested, and never with a fresh salt, which would reveal
/// which records were rekeyed together.
pub(super) async fn write_as(
    vault: &Vault,
    args: &RekeyArgs,
    plan: RekeyPlan,
) -> Result<RekeyPlan, Failure> {
    // In a vault of the Go package this sets the format; a dry run writes nothing.
    if let (Some(format), false) = (args.format, args.dry_run) {
        vault.settle_format(format).await?;
    }
    if args.format.is_none() && args.kdf.is_none() && !args.vault_salt {
        return Ok(match args.write {
            Writing::AsItWas => plan,
            Writing::Vault => plan.write_as(WriteAs::Vault),
        });
    }
    let (own, kdf) = if args.dry_run {
        (vault.stored_spec().await?, settings::stored_kdf(&**vault.store()).await?)
    } else {
        (Some(vault.seal_spec().await?), settings::vault_kdf(vault).await?)
    };
    let kdf = KdfSetting { params: args.kdf.unwrap_or(kdf.params), ..kdf };
    let format = args.format.unwrap_or(match own {
        Some(SealParams::V2 { .. }) => WriteFormat::V2,
        Some(SealParams::V3 { padding: Padding::Padme, .. }) => WriteFormat::V3Padme,
        Some(SealParams::V3 { .. }) | None => WriteFormat::V3,
    });
    let plan = plan.write_as(match format {
        WriteFormat::V2 => SealParams::V2 { params: kdf.params },
        WriteFormat::V3 => SealParams::V3 { kdf, padding: Padding::None },
        WriteFormat::V3Padme => SealParams::V3 { kdf, padding: Padding::Padme },
    });
    let plan = if args.format.is_none() { plan.keep_format() } else { plan };
    let plan = if args.kdf.is_none() { plan.keep_cost() } else { plan };
    Ok(if args.vault_salt { plan } else { plan.keep_salt() })
}

/// Opens the state file, and empties it for `--restart`.
pub(super) fn take_state(path: PathBuf, restart: bool) -> Result<StateFile, Failure> {
    let file = StateFile::lock(path)?;
    if restart {
        file.remove()?;
    }
    Ok(file)
}

/// Has a note left where `scrub` and `status` look for states, if there is such a place.
pub(super) fn note_elsewhere(context: &Context, id: [u8; 16], kept: &mut StateFile) {
    if let Err(why) = kept.note_in(id, &context.url) {
        state_file::tell_unnoted(why);
    }
}

/// Returns the path of the state of the rekey that a dry run rehearses, without creating anything.
/// A vault without an id has no state either.
pub(super) async fn rehearsed_path(
    context: &Context,
    vault: &Vault,
    args: &RekeyArgs,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &args.state {
        return Ok(Some(path.clone()));
    }
    let id = vault.known_id().await?;
    id.map(|id| state_file::path_of(id, &context.url, args.shard)).transpose()
}
