//! A v2 record does not store its Argon2id cost, so a wrong cost looks like a wrong password. This
//! tries other costs on a few records, and reports the one that opens them.

use std::sync::Arc;

use vaultstore::envelope::{Envelope, Format, OpenPolicy, V2Params};
use vaultstore::kdf::KdfLimits;
use vaultstore::{KdfParams, PasswordKey, Token, Vault, VaultError, VaultOptions, VaultStore};

use super::{Context, settings};
use crate::args::OpenArgs;
use crate::exit::Failure;
use crate::plan;

/// The costs that the Go package has names for.
const PRESETS: [(&str, KdfParams); 3] = [
    ("default", KdfParams::DEFAULT),
    ("lightweight", KdfParams::LIGHTWEIGHT),
    ("high_security", KdfParams::HIGH_SECURITY),
];

/// How many records a single command tries other costs on.
const SAMPLE: usize = 8;

/// The costs that a command tries on v2 records, and those that it does not.
#[derive(Debug)]
pub(super) struct V2Costs {
    pub(super) tried: Vec<V2Params>,
    /// The presets, and what the vault's own setting says.
    pub(super) others: Vec<V2Params>,
}

impl V2Costs {
    pub(super) async fn of(
        store: &dyn VaultStore,
        args: &OpenArgs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let own = settings::own_v2_cost(store, &context.limits).await?;
        let tried = plan::vault_options(args, own, context.limits).open.v2_costs;
        let mut others = Vec::new();
        for cost in known(store, &context.limits).await? {
            if !tried.contains(&cost) {
                others.push(cost);
            }
        }
        Ok(Self { tried, others })
    }

    /// Every known cost: trying all of them shows that a password opens nothing.
    pub(super) fn all(&self) -> Vec<V2Params> {
        [&self.tried[..], &self.others].concat()
    }

    /// As a sentence for records that the password did not open.
    pub(super) fn advice(&self, found: Option<V2Params>) -> String {
        match found {
            Some(cost) => format!(
                "v2 records do not store their Argon2id cost, and these were tried at another one: the password opens some \
                 of them with --v2-preset {}",
                name(&cost)
            ),
            None => format!(
                "v2 records do not store their Argon2id cost; if theirs is none of {}, name it with --v2-preset",
                self.names()
            ),
        }
    }

    /// Adds to a refusal what another cost would have done, where records of these tokens are v2.
    pub(super) async fn explain(
        &self,
        vault: &Vault,
        tokens: &[Token],
        key: &Arc<PasswordKey>,
        error: VaultError,
    ) -> Failure {
        let is_of_password = matches!(error, VaultError::WrongPassword);
        let failure = Failure::from(error);
        if !is_of_password {
            return failure;
        }
        // If this fails, the first result stands.
        match self.find(vault, tokens, key).await {
            Ok(Some(found)) => failure.hint(self.advice(found)),
            _ => failure,
        }
    }

    /// `None` if none of the records is v2; otherwise the cost with which the key opens one of
    /// them, if any.
    async fn find(
        &self,
        vault: &Vault,
        tokens: &[Token],
        key: &Arc<PasswordKey>,
    ) -> Result<Option<Option<V2Params>>, VaultError> {
        let found = vault.store().find(tokens).await?;
        let is_v2 =
            |text| Envelope::parse(text).is_ok_and(|envelope| envelope.format() == Format::V2);
        let records = found.iter().flatten().filter(|record| is_v2(&record.envelope));
        let sample: Vec<_> = records.take(SAMPLE).map(|record| record.token.clone()).collect();
        if sample.is_empty() {
            return Ok(None);
        }
        for cost in &self.others {
            let open = OpenPolicy::default().v2_costs([*cost]);
            let options = VaultOptions::default().open(open);
            let other = Vault::new(Arc::clone(vault.store()), options);
            let answers = other.read_many(&sample, key).await?;
            if answers.iter().any(Result::is_ok) {
                return Ok(Some(Some(*cost)));
            }
        }
        Ok(Some(None))
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.all().iter().map(name).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

/// Formats a cost as an argument of `--v2-preset`.
pub(super) fn name(cost: &V2Params) -> String {
    let preset = PRESETS.iter().find(|(_, params)| V2Params::new(*params) == *cost);
    preset.map_or_else(|| cost.to_string(), |(name, _)| (*name).to_owned())
}

/// The presets, and the cost of the vault's own setting, whatever format it writes.
async fn known(store: &dyn VaultStore, limits: &KdfLimits) -> Result<Vec<V2Params>, Failure> {
    let mut known = PRESETS.map(|(_, params)| V2Params::new(params)).to_vec();
    if let Some(own) = settings::own_cost(store, limits).await? {
        let own = V2Params::new(own);
        if !known.contains(&own) {
            known.push(own);
        }
    }
    Ok(known)
}
