//! Encrypted connections: whom a store trusts, and whom not.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{fs, path::PathBuf};

use pg_cluster::Cluster;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use tempfile::TempDir;
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{StoreErrorKind, VaultStore as _};

use crate::support::{Place, all_ids, records, runtime};

/// Where the cluster listens.
const ADDRESS: &str = "127.0.0.1";

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    fn new(folder: &TempDir, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = folder.path().join(name);
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for a server at this address, and its key.
    fn sign(&self, address: &str, years: [i32; 2]) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(address.parse().unwrap())];
        [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }
}

#[test]
fn a_store_trusts_only_a_server_that_proves_who_it_is() {
    let cluster = Cluster::start().unwrap();
    let place = Place::on(cluster.url());
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new(&folder, "ours"), Authority::new(&folder, "others"));
    let url = |more: &str| place.url_of(&format!("{}?{more}", cluster.url()));
    let trusting = |authority: &Authority| {
        url(&format!("sslmode=verify-full&sslrootcert={}", authority.certificate.display()))
    };

    // A server without encryption is not talked to where encryption is asked for.
    assert_eq!(refused(&url("sslmode=require")), StoreErrorKind::Denied);

    let lasting = [2020, 2100];
    let [certificate, key] = ours.sign(ADDRESS, lasting);
    cluster.encrypt(&certificate, &key).unwrap();
    runtime().block_on(async {
        let made = PostgresStore::create(&trusting(&ours), PostgresOptions::default()).await;
        let store = made.unwrap();
        store.insert(records(3)).await.unwrap();
        assert_eq!(all_ids(&store).await.len(), 3);
        let encrypted = format!(
            "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE ssl AND application_name = '{}'",
            place.schema()
        );
        assert!(place.ask(&encrypted).await > 0, "the connection is not encrypted");
        store.close().await;
    });
    assert_eq!(refused(&trusting(&others)), StoreErrorKind::Denied);
    assert_eq!(refused(&url("sslmode=verify-full")), StoreErrorKind::Denied);

    for [certificate, key] in [ours.sign("127.0.0.2", lasting), ours.sign(ADDRESS, [2020, 2021])] {
        cluster.encrypt(&certificate, &key).unwrap();
        assert_eq!(refused(&trusting(&ours)), StoreErrorKind::Denied);
    }
}

/// What kind of error it is to connect; none of them tells the password.
fn refused(url: &str) -> StoreErrorKind {
    let connected = runtime().block_on(PostgresStore::open(url, PostgresOptions::default()));
    let error = connected.map(|_| "it connected").unwrap_err();
    let (_, after) = url.split_once("vaultstore:").unwrap();
    let (password, _) = after.split_once('@').unwrap();
    assert!(!format!("{error} {error:?}").contains(password), "an error shows the password");
    error.kind()
}
