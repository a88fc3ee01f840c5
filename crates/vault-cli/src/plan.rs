//! From what was typed to what the library is asked.

use std::time::Duration;

use vaultstore::{
    Clock, CreateOptions, NewVault, OpenPolicy, PageLimit, RunOptions, SystemClock, V2Cost,
    VaultOptions,
};

use crate::args::{CreateArgs, InitArgs, OpenArgs, RunArgs};

pub(crate) fn new_vault(args: &InitArgs) -> NewVault {
    NewVault { cost: args.kdf, format: args.format }
}

/// The v2 costs that were named; without any, the one that the vault itself writes v2 with; else the default one.
pub(crate) fn vault_options(open: &OpenArgs, own: Option<V2Cost>) -> VaultOptions {
    let mut options = VaultOptions::default();
    let costs = if open.v2_presets.is_empty() {
        own.into_iter().collect()
    } else {
        distinct(&open.v2_presets)
    };
    if !costs.is_empty() {
        options.open = OpenPolicy { v2_costs: costs, ..options.open };
    }
    options
}

/// Each cost once: trying it twice costs an Argon2id per record.
fn distinct(costs: &[V2Cost]) -> Vec<V2Cost> {
    let mut distinct = Vec::new();
    for cost in costs {
        if !distinct.contains(cost) {
            distinct.push(*cost);
        }
    }
    distinct
}

pub(crate) fn run_options(args: &RunArgs) -> RunOptions {
    let mut options = RunOptions::default().page_limit(page_limit(args));
    if let Some(workers) = args.workers {
        options = options.workers(workers);
    }
    if let Some(budget) = args.memory_budget {
        options = options.memory_budget_kib(budget.get());
    }
    if let Some(threshold) = args.parallel_threshold {
        options = options.parallel_threshold(threshold);
    }
    options
}

pub(crate) fn page_limit(args: &RunArgs) -> PageLimit {
    let records =
        args.page_size.map_or(RunOptions::DEFAULT_PAGE_RECORDS, std::num::NonZeroUsize::get);
    PageLimit::new(records, RunOptions::DEFAULT_PAGE_BYTES)
}

pub(crate) fn create_options(args: &CreateArgs) -> CreateOptions {
    let expires_at = args.expires_in.map(|time: Duration| SystemClock.now().plus(time));
    CreateOptions { token_length: args.length.unwrap_or_default(), expires_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_is_named_twice_is_tried_once() {
        let costs: Vec<V2Cost> =
            ["lightweight", "default", "lightweight"].map(|cost| cost.parse().unwrap()).into();
        let options = vault_options(&OpenArgs { v2_presets: costs.clone() }, None);
        assert_eq!(options.open.v2_costs, costs[..2]);
    }

    #[test]
    fn the_vaults_own_cost_is_tried_unless_others_are_named() {
        let own: V2Cost = "high_security".parse().unwrap();
        let tried = |named: &[V2Cost]| {
            vault_options(&OpenArgs { v2_presets: named.into() }, Some(own)).open.v2_costs
        };
        assert_eq!(tried(&[]), [own]);
        assert_eq!(tried(&[V2Cost::default()]), [V2Cost::default()]);
    }
}
