//! Connections on which nothing comes any more: a machine or a network is gone and has closed
//! nothing.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sqlx::{Connection as _, Executor as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{RecordSink as _, StoreErrorKind, VaultStore as _, WriteOutcome};

use crate::support::{Place, all_ids, in_a_schema, record, records, replacement, runtime};

/// With one connection, a second one is not there to go on with.
fn options() -> PostgresOptions {
    PostgresOptions::default()
        .max_connections(NonZeroU32::MIN)
        .connect_timeout(Duration::from_secs(2))
        .silence(Duration::from_millis(500))
}

#[test]
fn a_call_on_a_connection_that_is_forgotten_ends_and_the_store_goes_on() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let network = Network::before(place).await;
        let store = PostgresStore::open(&network.url, options()).await.unwrap();
        store.insert(records(3)).await.unwrap();
        // Reads, in a moment at which nothing is under way.
        network.forget();
        assert_eq!(store.count().await.unwrap_err().kind(), StoreErrorKind::Retryable);
        while let Err(error) = store.count().await {
            assert_eq!(error.kind(), StoreErrorKind::Retryable, "{error}");
        }
        assert_eq!(all_ids(&store).await.len(), 3);
        // A write may have come through.
        network.forget();
        let batch: Arc<[_]> = [replacement(&record("000001"), "v3:new")].into();
        let error = store.swap_batch(batch.clone()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::UnknownOutcome);
        let outcome = loop {
            match store.swap_batch(batch.clone()).await {
                Err(error) => assert!(error.kind().is_retryable(), "{error}"),
                Ok(outcomes) => break outcomes[0],
            }
        };
        assert_eq!(outcome, WriteOutcome::Applied);
    });
}

#[test]
fn a_call_to_a_machine_that_is_gone_ends_and_one_with_patience_waits_for_it() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let network = Network::before(place).await;
        let store = PostgresStore::open(&network.url, options()).await.unwrap();
        let patient = options().patience(Duration::from_mins(2));
        let patient = PostgresStore::open(&network.url, patient).await.unwrap();
        for store in [&store, &patient] {
            assert_eq!(store.count().await.unwrap(), 0);
        }
        network.is_gone.store(true, SeqCst);
        network.forget();
        assert_eq!(store.count().await.unwrap_err().kind(), StoreErrorKind::Retryable);
        let waiting = runtime().spawn(async move { patient.count().await });
        sleep(Duration::from_secs(2)).await;
        assert!(!waiting.is_finished());
        network.is_gone.store(false, SeqCst);
        assert_eq!(waiting.await.unwrap().unwrap(), 0);
    });
}

#[test]
fn a_call_that_waits_for_a_lock_is_not_ended() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(1)).await.unwrap();
        let store = PostgresStore::open(&place.url(), options()).await.unwrap();
        let mut holder = place.connection().await;
        let mut held = holder.begin().await.unwrap();
        held.execute("LOCK TABLE vault").await.unwrap();
        let waiting = runtime().spawn(async move { store.count().await });
        // Several times as long as a call may go without an answer.
        sleep(Duration::from_secs(4)).await;
        assert!(!waiting.is_finished());
        held.rollback().await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
    });
}

/// A network between a store and the server.
struct Network {
    url: String,
    /// Nobody answers.
    is_gone: Arc<AtomicBool>,
    /// Whether the connections since the last time are forgotten.
    current: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Network {
    async fn before(place: &Place) -> Self {
        let (_, address) = place.server().split_once('@').unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let url = place.url().replace(&address, &own);
        let current = Arc::new(Mutex::new(Arc::<AtomicBool>::default()));
        let is_gone = Arc::new(AtomicBool::new(false));
        runtime().spawn({
            let (current, is_gone) = (Arc::clone(&current), Arc::clone(&is_gone));
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = TcpStream::connect(&address).await.unwrap();
                    let forgotten = Arc::clone(&current.lock().unwrap());
                    runtime().spawn(carry(client, server, forgotten, Arc::clone(&is_gone)));
                }
            }
        });
        Self { url, is_gone, current }
    }

    /// Nothing passes on the connections that there are, and none of them is closed.
    fn forget(&self) {
        let mut current = self.current.lock().unwrap();
        current.store(true, SeqCst);
        *current = Arc::default();
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    forgotten: Arc<AtomicBool>,
    is_gone: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 4096], vec![0; 4096]);
    loop {
        let (bytes, to_server_now) = tokio::select! {
            read = from_client.read(&mut asked) => (asked.get(..read.unwrap_or(0)), true),
            read = from_server.read(&mut answered) => (answered.get(..read.unwrap_or(0)), false),
        };
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return };
        if forgotten.load(SeqCst) || is_gone.load(SeqCst) {
            // Swallowed, as is all that follows, and only the client may close.
            while from_client.read(&mut asked).await.is_ok_and(|len| len > 0) {}
            return;
        }
        let passed = if to_server_now {
            to_server.write_all(bytes).await
        } else {
            to_client.write_all(bytes).await
        };
        if passed.is_err() {
            return;
        }
    }
}
