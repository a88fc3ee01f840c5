//! Every backend that is compiled in, by its address: made, used, rekeyed, closed and opened again.

#![cfg(any(
    feature = "redb",
    feature = "sqlite",
    all(feature = "postgres", feature = "server-tests")
))]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use vaultstore::{
    CreateOptions, InitOptions, KdfParams, Password, RekeyPlan, StoreErrorKind, StoreUrl, Vault,
    VaultOptions,
};

async fn lives(url: &str) {
    let url: StoreUrl = url.parse().unwrap();
    let kind = url.open().await.err().unwrap().kind();
    assert!(matches!(kind, StoreErrorKind::NotFound | StoreErrorKind::NotAVault), "{kind:?}");

    let cost = KdfParams::new(19_456, 2, 1).unwrap();
    let new = InitOptions::default().cost(cost);
    let vault =
        Vault::init(url.create().await.unwrap(), new, VaultOptions::default()).await.unwrap();
    let key = vault.derive_key(Password::new("old")).await.unwrap();
    let token = vault.create(b"value", &key, CreateOptions::default()).await.unwrap();
    let plan = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
    let report = vault.rekey(plan).await.unwrap().run().await.unwrap();
    assert_eq!(report.counts.rekeyed, 1);
    vault.store().close().await;
    drop(vault);

    assert_eq!(url.create().await.err().unwrap().kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(url.migrate().await.unwrap().changes, [""; 0]);
    let vault = Vault::new(url.open().await.unwrap(), VaultOptions::default());
    let key = vault.derive_key(Password::new("new")).await.unwrap();
    assert_eq!(vault.read(&token, &key).await.unwrap().as_bytes(), b"value");
    vault.store().close().await;
}

#[cfg(feature = "redb")]
#[tokio::test]
async fn redb() {
    let folder = tempfile::tempdir().unwrap();
    lives(&format!("redb:{}", folder.path().join("vault.redb").display())).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sqlite");
    lives(&format!("sqlite:{}", path.display())).await;
    lives(&format!("sqlite:{}?table=second&meta=second_meta", folder.path().join("b").display()))
        .await;
}

#[cfg(all(feature = "postgres", feature = "server-tests"))]
#[tokio::test]
async fn postgres() {
    let server = pg_cluster::url_from_environment().unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    let name = uuid::Uuid::now_v7().simple();
    lives(&format!("{server}{separator}table=vault_{name}&meta=meta_{name}")).await;
}
