//! The token API on the store under test: writers that race for one record, and random histories
//! compared with a model.

mod batches;
mod clock;
mod histories;
mod model;
mod races;

use std::sync::Arc;

use vault_core::envelope::OpenPolicy;
use vault_core::{InitOptions, KdfParams, Password, PasswordKey, Vault, VaultOptions};
use vault_store::VaultStore;

use self::clock::SetClock;
pub use self::{
    batches::{
        create_many_returns_one_token_per_value_in_order,
        dropping_create_many_leaves_all_records_or_none,
    },
    histories::random_histories_of_a_vault_agree_with_a_model,
    races::{
        a_renewal_against_a_purge_is_told, an_update_against_a_delete_is_told,
        of_two_creates_of_one_token_exactly_one_wins, of_two_upserts_exactly_one_creates,
    },
};

/// Options that permit the lowest Argon2id cost: it is not what is tested here.
fn options(clock: &Arc<SetClock>) -> VaultOptions {
    VaultOptions::default().open(OpenPolicy::trusting()).clock(Arc::<SetClock>::clone(clock))
}

/// A new vault at that cost.
async fn new_vault(store: Arc<impl VaultStore + 'static>, clock: &Arc<SetClock>) -> Vault {
    let new = InitOptions::default().cost(KdfParams::new(8, 1, 1).unwrap());
    Vault::init(store, new, options(clock)).await.unwrap()
}

async fn key(vault: &Vault, password: &str) -> Arc<PasswordKey> {
    vault.derive_key(Password::new(password)).await.unwrap()
}
