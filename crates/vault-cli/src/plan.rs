//! Converts command-line options into library options.

use std::num::NonZeroU64;

use vaultstore::envelope::{OpenPolicy, V2Params};
use vaultstore::kdf::KdfLimits;
use vaultstore::query::{Filter, SortKey, SortOrder};
use vaultstore::rekey::MergeCheck;
use vaultstore::run::RunOptions;
use vaultstore::store::PageLimit;
use vaultstore::time::{Clock, SystemClock};
use vaultstore::{CreateOptions, InitOptions, Query, RecordId, Timestamp, VaultOptions};

use crate::args::{
    CreateArgs, Expiry, InitArgs, ListArgs, MergeChecking, OpenArgs, PaceArgs, RekeyArgs, RunArgs,
    Shown, Sort,
};
use crate::cgroup::default_memory_budget_kib;
use crate::priority;

pub(crate) fn new_vault(args: &InitArgs) -> InitOptions {
    InitOptions::default().cost(args.kdf).format(args.format)
}

/// The given v2 costs; without any, the cost with which the vault itself writes v2, or the default.
pub(crate) fn vault_options(
    open: &OpenArgs,
    own: Option<V2Params>,
    limits: KdfLimits,
) -> VaultOptions {
    let mut options = VaultOptions::default().limits(limits);
    let costs = if open.v2_presets.is_empty() {
        own.into_iter().collect()
    } else {
        distinct(&open.v2_presets)
    };
    if !costs.is_empty() {
        options.open.v2_costs = costs;
    }
    options.open.allow_v1 = open.allow_v1;
    options.open.max_salts = open.max_salts.unwrap_or(OpenPolicy::DEFAULT_MAX_SALTS);
    options
}

/// Each cost once: trying one twice costs an Argon2id per record.
fn distinct(costs: &[V2Params]) -> Vec<V2Params> {
    let mut distinct = Vec::new();
    for cost in costs {
        if !distinct.contains(cost) {
            distinct.push(*cost);
        }
    }
    distinct
}

/// `pace` makes a page last a second, so that the rate is that of every second.
pub(crate) fn run_options(args: &RunArgs, pace: Option<&PaceArgs>) -> RunOptions {
    let rate = pace.and_then(|pace| pace.max_rate);
    let limit = page_limit(args);
    let limit = match rate.map(|rate| usize::try_from(rate.get()).unwrap_or(usize::MAX)) {
        Some(rate) => PageLimit::new(limit.records.get().min(rate), limit.bytes.get()),
        None => limit,
    };
    let options = RunOptions::default().page_limit(limit);
    let mut options = options.on_thread_start(priority::be_patient);
    if let Some(workers) = args.workers {
        options = options.workers(workers);
    }
    let budget = args.memory_budget.map_or_else(default_memory_budget_kib, NonZeroU64::get);
    options = options.memory_budget_kib(budget);
    if let Some(threshold) = args.parallel_threshold {
        options = options.parallel_threshold(threshold);
    }
    options
}

pub(crate) fn merge_check(args: &RekeyArgs) -> MergeCheck {
    match args.merge_check {
        _ if args.allow_merge => MergeCheck::Off,
        _ if args.check_merge => MergeCheck::Full,
        MergeChecking::Fast => MergeCheck::Fast,
        MergeChecking::Full => MergeCheck::Full,
        MergeChecking::Off => MergeCheck::Off,
    }
}

pub(crate) fn page_limit(args: &RunArgs) -> PageLimit {
    let records =
        args.page_size.map_or(RunOptions::DEFAULT_PAGE_RECORDS, std::num::NonZeroUsize::get);
    PageLimit::new(records, RunOptions::DEFAULT_PAGE_BYTES)
}

pub(crate) fn create_options(args: &CreateArgs) -> CreateOptions {
    CreateOptions::default()
        .token_length(args.length.unwrap_or_default())
        .expires_at(end(args.expires_in))
}

/// When a record expires; `None` is never.
pub(crate) fn end(expires_in: Option<Expiry>) -> Option<Timestamp> {
    Some(match expires_in? {
        Expiry::In(time) => SystemClock.now().plus(time),
        Expiry::At(time) => time,
    })
}

/// The filters and the order of a list; limit and start are set elsewhere.
pub(crate) fn query(args: &ListArgs) -> Query {
    let include = |shown| match shown {
        Shown::Yes => Filter::Include,
        Shown::No => Filter::Exclude,
        Shown::Only => Filter::Only,
    };
    let order = match args.sort {
        Sort::Id => SortKey::Id,
        Sort::Token => SortKey::Token,
        Sort::Created => SortKey::CreatedAt,
        Sort::Updated => SortKey::UpdatedAt,
        Sort::Expires => SortKey::ExpiresAt,
    };
    let direction = if args.reverse { SortOrder::Descending } else { SortOrder::Ascending };
    let mut query = Query::new()
        .soft_deleted(include(args.deleted))
        .expired(include(args.expired))
        .order_by(order, direction);
    if !args.ids.is_empty() {
        query = query.id_in(args.ids.iter().map(|id| RecordId::from_stored(id.as_str())));
    }
    if !args.tokens.is_empty() {
        query = query.token_in(args.tokens.iter().cloned());
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(costs: &[V2Params]) -> OpenArgs {
        OpenArgs { v2_presets: costs.into(), allow_v1: false, max_salts: None }
    }

    #[test]
    fn a_cost_that_is_named_twice_is_tried_once() {
        let costs: Vec<V2Params> =
            ["lightweight", "default", "lightweight"].map(|cost| cost.parse().unwrap()).into();
        let options = vault_options(&open(&costs), None, KdfLimits::default());
        assert_eq!(options.open.v2_costs, costs[..2]);
    }

    #[test]
    fn the_vaults_own_cost_is_tried_unless_others_are_named() {
        let own: V2Params = "high_security".parse().unwrap();
        let tried = |named: &[V2Params]| {
            vault_options(&open(named), Some(own), KdfLimits::default()).open.v2_costs
        };
        assert_eq!(tried(&[]), [own]);
        assert_eq!(tried(&[V2Params::default()]), [V2Params::default()]);
    }
}
