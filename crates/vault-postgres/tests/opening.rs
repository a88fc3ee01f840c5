//! What opening, creating and migrating say of every kind of server and database, and that they
//! leave alone what is not theirs.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{net::TcpListener, num::NonZeroU32, time::Duration};

use futures::future::join_all;
use sqlx::error::DatabaseError;
use vault_postgres::{Migration, PostgresOptions, PostgresStore};
use vault_store::{
    InsertOutcome, PutSetting, RecordSink as _, StoreErrorKind, VaultStore as _, WriteOutcome,
};

use crate::support::{
    Place, all_ids, as_user, in_a_schema, in_database, named, open_error, record, records,
    replacement, run, runtime,
};

async fn migrate(place: &Place) -> Result<Migration, StoreErrorKind> {
    let migrated = PostgresStore::migrate(&place.url(), PostgresOptions::default()).await;
    migrated.map_err(|error| error.kind())
}

async fn create_error(place: &Place, options: PostgresOptions) -> StoreErrorKind {
    let created = PostgresStore::create(&place.url(), options).await;
    created.map(|_| "it was made").unwrap_err().kind()
}

#[test]
fn a_vault_is_made_once_and_stays() {
    in_a_schema(async |place| {
        assert_eq!(place.open_error().await, StoreErrorKind::NotAVault);
        assert_eq!(migrate(place).await, Ok(Migration::Created));
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        store.insert(records(3)).await.unwrap();
        store.put_setting("colour", "blue", PutSetting::Always).await.unwrap();
        store.close().await;

        assert_eq!(migrate(place).await, Ok(Migration::Current));
        assert_eq!(
            create_error(place, PostgresOptions::default()).await,
            StoreErrorKind::AlreadyExists
        );
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        assert_eq!(all_ids(&store).await, ["000000", "000001", "000002"]);
        assert_eq!(store.settings().await.unwrap(), [("colour".to_owned(), "blue".to_owned())]);
    });
}

#[test]
fn of_many_migrations_at_once_exactly_one_makes_the_tables() {
    in_a_schema(async |place| {
        for round in 0..5 {
            let names = named(&format!("v{round}"), &format!("m{round}"));
            let (url, names) = (&place.url(), &names);
            let migrate = || PostgresStore::migrate_or_create(url, names.clone());
            let all = join_all((0..8).map(|_| migrate())).await;
            let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
            let made = all.iter().filter(|migration| **migration == Migration::Created).count();
            assert_eq!((made, all.len()), (1, 8));
            let store = PostgresStore::open(url, names.clone()).await.unwrap();
            assert_eq!(store.insert(records(1)).await.unwrap(), [InsertOutcome::Inserted]);
        }
    });
}

#[test]
fn tables_of_another_program_are_left_alone() {
    let foreign = [
        "CREATE TABLE vault_meta (id serial, object_type text, meta_key text, meta_value text)",
        "CREATE TABLE vault (id text, vault_token text, vault_value text)",
        "CREATE VIEW vault_meta AS SELECT 1 AS one",
    ];
    for table in foreign {
        in_a_schema(async |place| {
            const COLUMNS: &str = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()";
            place.run(table).await;
            let before = place.ask(COLUMNS).await;
            assert_eq!(place.open_error().await, StoreErrorKind::NotAVault, "{table}");
            assert_eq!(migrate(place).await, Err(StoreErrorKind::NotAVault), "{table}");
            let created = create_error(place, PostgresOptions::default()).await;
            assert_eq!(created, StoreErrorKind::NotAVault, "{table}");
            assert_eq!(place.ask(COLUMNS).await, before);
        });
    }
}

#[test]
fn a_vault_of_another_version_or_a_damaged_one_is_told() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let version = |version: &str| {
            place.run_owned(format!(
                "UPDATE vault_meta SET value = '{version}' WHERE scope = 'schema'"
            ))
        };
        version("2").await;
        assert_eq!(place.open_error().await, StoreErrorKind::NewerSchema);
        assert_eq!(migrate(place).await, Err(StoreErrorKind::NewerSchema));
        version("one").await;
        assert_eq!(place.open_error().await, StoreErrorKind::Corrupt);

        // A migration that was interrupted is finished by the next one, and takes nothing away.
        version("1").await;
        place.run("INSERT INTO vault VALUES ('a', 'tk_a', 'v3:a', now(), now())").await;
        version("0").await;
        assert_eq!(place.open_error().await, StoreErrorKind::OlderSchema);
        assert_eq!(migrate(place).await, Ok(Migration::Created));
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        assert_eq!(all_ids(&store).await, ["a"]);
        store.close().await;

        place.run("ALTER TABLE vault DROP COLUMN envelope").await;
        assert_eq!(place.open_error().await, StoreErrorKind::Corrupt);
        place.run("DROP TABLE vault").await;
        assert_eq!(place.open_error().await, StoreErrorKind::Corrupt);
    });
}

/// A mistyped name is answered with the tables that are there: never "current", never "restore",
/// and nothing is created for it.
#[test]
fn a_wrong_name_of_a_table_is_answered_with_the_right_one() {
    in_a_schema(async |place| {
        const COLUMNS: &str =
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()";
        let right = named("secrets", "secrets_meta");
        PostgresStore::create(&place.url(), right).await.unwrap().close().await;
        place.run("CREATE TABLE customers (id int)").await;
        let before = place.ask(COLUMNS).await;
        for (vault, meta) in [
            ("vault", "vault_meta"),
            ("secret", "secrets_meta"),
            ("secrets", "secret_meta"),
            ("customers", "secrets_meta"),
        ] {
            let opened = PostgresStore::open(&place.url(), named(vault, meta)).await.unwrap_err();
            let migrated = PostgresStore::migrate(&place.url(), named(vault, meta)).await;
            for error in [opened, migrated.unwrap_err()] {
                assert_eq!(error.kind(), StoreErrorKind::NotAVault, "{vault} {meta}: {error}");
                let hint = error.hint().unwrap();
                assert!(hint.contains("?table=secrets&meta=secrets_meta"), "{error} {hint}");
            }
            assert_eq!(place.ask(COLUMNS).await, before);
        }
        let url = place.url();
        let taken = PostgresStore::migrate_or_create(&url, named("more", "secrets_meta"));
        assert_eq!(taken.await.unwrap_err().kind(), StoreErrorKind::NotAVault);
        let more = PostgresStore::migrate_or_create(&url, named("more", "more_meta"));
        assert_eq!(more.await.unwrap(), Migration::Created);
    });
}

/// The server is the same under each address of it, and two tables are two places.
#[test]
fn a_place_is_the_same_under_every_address() {
    in_a_schema(async |place| {
        let here = place.vault().await;
        let again = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        let other =
            PostgresStore::create(&place.url(), named("other", "other_meta")).await.unwrap();
        let id = here.place_id().await.unwrap();
        assert!(id.is_some());
        assert_eq!(again.place_id().await.unwrap(), id);
        assert_ne!(other.place_id().await.unwrap(), id);
    });
}

#[test]
fn a_table_that_goes_while_it_is_in_use_is_told() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        place.run("DROP TABLE vault").await;
        let error = store.count().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotAVault);
        let error = store.insert(records(1)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotAVault);
    });
}

#[test]
fn reserved_words_and_the_longest_names_are_names_like_any_other() {
    in_a_schema(async |place| {
        let long = |last: char| "x".repeat(62) + &last.to_string();
        let pairs = [
            ("select", "table"),
            ("user", "order"),
            ("Vault", "Vault_meta"),
            ("vAULT", "vAULT_meta"),
            ("_", "__"),
            (&long('a'), &long('b')),
        ];
        for (table, meta) in pairs {
            let store = PostgresStore::create(&place.url(), named(table, meta)).await.unwrap();
            store.insert(vec![record(table)]).await.unwrap();
            store.put_setting("meta", meta, PutSetting::Always).await.unwrap();
            let batch = [replacement(&record(table), "v3:new")];
            assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied]);
            store.close().await;
        }
        // Each pair is a vault of its own.
        for (table, meta) in pairs {
            let store = PostgresStore::open(&place.url(), named(table, meta)).await.unwrap();
            assert_eq!(all_ids(&store).await, [table]);
            assert_eq!(store.setting("meta").await.unwrap().as_deref(), Some(meta));
        }
    });
}

#[test]
fn null_cannot_be_stored_where_a_record_has_a_value() {
    in_a_schema(async |place| {
        place.vault().await;
        for column in ["id", "token", "envelope", "created_at", "updated_at"] {
            place.run("INSERT INTO vault VALUES ('a', 't', 'e', now(), now())").await;
            let update = format!("UPDATE vault SET {column} = NULL");
            let error = run(&place.url(), &update).await.unwrap_err();
            let code = error.as_database_error().and_then(DatabaseError::code);
            assert_eq!(code.as_deref(), Some("23502"), "{column}");
            place.run("DELETE FROM vault").await;
        }
    });
}

#[test]
fn a_user_without_the_privileges_is_denied() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(2)).await.unwrap();
        let (schema, user) = (place.schema(), format!("{}_user", place.schema()));
        place
            .run_owned(format!(
                "DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'right'; \
                 GRANT USAGE ON SCHEMA {schema} TO {user}"
            ))
            .await;
        let url = place.url_of(&as_user(place.server(), &user, "right"));
        assert_eq!(open_error(&url).await, StoreErrorKind::Denied);
        let migrated = PostgresStore::migrate(&url, PostgresOptions::default()).await;
        assert_eq!(migrated.unwrap_err().kind(), StoreErrorKind::Denied);

        // Who may read may look at everything and change nothing.
        place.run_owned(format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")).await;
        let reader = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        assert_eq!(all_ids(&reader).await.len(), 2);
        let batch = [replacement(&records(1)[0], "v3:new")];
        let kinds = [
            reader.insert(vec![record("x")]).await.unwrap_err().kind(),
            reader.swap_batch(batch.into()).await.unwrap_err().kind(),
            reader.delete(&record("000000").id).await.unwrap_err().kind(),
            reader.put_setting("a", "b", PutSetting::Always).await.unwrap_err().kind(),
        ];
        assert_eq!(kinds, [StoreErrorKind::Denied; 4]);
        reader.close().await;

        // Who may write need not be allowed to make tables.
        place
            .run_owned(format!(
                "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}"
            ))
            .await;
        let migrated = PostgresStore::migrate(&url, PostgresOptions::default()).await;
        assert_eq!(migrated.unwrap(), Migration::Current);
        let writer = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        assert_eq!(writer.insert(vec![record("x")]).await.unwrap(), [InsertOutcome::Inserted]);
        writer.close().await;
        store.close().await;
        place.run_owned(format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
    });
}

#[test]
fn a_refused_login_is_denied_and_its_error_holds_no_password() {
    in_a_schema(async |place| {
        place.vault().await;
        for user in ["vaultstore", "nobody_of_that_name"] {
            let url = place.url_of(&as_user(place.server(), user, "s3cret"));
            let error = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Denied);
            assert!(everything_of(&error).contains(&host_and_port(place)), "{error}");
            assert!(!everything_of(&error).contains("s3cret"));
        }
    });
}

#[test]
fn a_server_that_is_down_or_silent_is_named_and_may_be_tried_again() {
    runtime().block_on(async {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let down = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            port(&free)
        };
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = PostgresOptions::default();
        options.connect_timeout = Duration::from_millis(300);
        for port in [down, port(&silent)] {
            let url = format!("postgres://ann:s3cret@127.0.0.1:{port}/db");
            let error = PostgresStore::open(&url, options.clone()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Retryable);
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
            assert!(!everything_of(&error).contains("s3cret"));
        }
    });
}

#[test]
fn a_missing_database_or_schema_is_not_found() {
    in_a_schema(async |place| {
        let url = in_database(place.server(), "no_such_database");
        assert_eq!(open_error(&url).await, StoreErrorKind::NotFound);
        let url = format!("{}_missing", place.url());
        assert_eq!(open_error(&url).await, StoreErrorKind::NotAVault);
        let migrated = PostgresStore::migrate(&url, PostgresOptions::default()).await;
        assert_eq!(migrated.unwrap_err().kind(), StoreErrorKind::NotFound);
    });
}

#[test]
fn a_database_of_another_encoding_is_refused() {
    in_a_schema(async |place| {
        let database = format!("{}_latin1", place.schema());
        run(
            place.server(),
            &format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"),
        )
        .await
        .unwrap();
        let url = in_database(place.server(), &database);
        let migrated = PostgresStore::migrate(&url, PostgresOptions::default()).await;
        run(place.server(), &format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
        assert_eq!(migrated.unwrap_err().kind(), StoreErrorKind::Unsupported);
    });
}

#[test]
fn outside_of_a_runtime_opening_is_refused() {
    let place = Place::new();
    let url = place.url();
    let opening = PostgresStore::open(&url, PostgresOptions::default());
    let error = futures::executor::block_on(opening).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
}

#[test]
fn an_open_store_needs_no_runtime_around_its_futures() {
    let place = Place::new();
    let store = runtime().block_on(place.vault());
    let outcomes = futures::executor::block_on(store.insert(records(2))).unwrap();
    assert_eq!(outcomes, [InsertOutcome::Inserted; 2]);
    assert_eq!(futures::executor::block_on(all_ids(&store)).len(), 2);
}

#[test]
fn writes_are_durable_where_the_role_has_relaxed_that() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let relaxed = |level| format!("{}%20-csynchronous_commit%3D{level}", place.url());
        for (level, expected) in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]
        {
            let mut options = PostgresOptions::default();
            options.max_connections = NonZeroU32::MIN;
            let store = PostgresStore::open(&relaxed(level), options).await.unwrap();
            // A trigger refuses the row unless the writing connection has set what it should.
            place
                .run(&format!(
                    "CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF current_setting('synchronous_commit') <> '{expected}' THEN RAISE 'relaxed'; END IF; \
                     RETURN NEW; END $$; \
                     CREATE OR REPLACE TRIGGER tell BEFORE INSERT ON vault FOR EACH ROW EXECUTE FUNCTION tell()"
                ))
                .await;
            store.insert(vec![record(level)]).await.unwrap();
        }
    });
}

/// An error with its sources, as it is shown and as it is debugged.
fn everything_of(error: &dyn std::error::Error) -> String {
    let source = error.source().map(everything_of).unwrap_or_default();
    format!("{error} {error:?} {source}")
}

fn host_and_port(place: &Place) -> String {
    let (_, rest) = place.server().split_once('@').unwrap();
    rest.split('/').next().unwrap().to_owned()
}

#[test]
fn a_table_without_a_unique_key_on_id_and_on_token_is_refused_by_name() {
    let tables = [
        // Every key of a partitioned table holds the column that it is partitioned by.
        ("token", "PRIMARY KEY (id)", "PARTITION BY HASH (id)"),
        ("id", "PRIMARY KEY (token)", ""),
        ("token", "PRIMARY KEY (id), UNIQUE (id, token)", ""),
        ("token", "PRIMARY KEY (id), UNIQUE (token) DEFERRABLE", ""),
    ];
    for (missing, keys, more) in tables {
        in_a_schema(async |place| {
            place.vault().await.close().await;
            place.run("DROP TABLE vault").await;
            place
                .run_owned(format!(
                    "CREATE TABLE vault (id text NOT NULL, token text NOT NULL, envelope text NOT NULL, \
                     created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, \
                     expires_at timestamptz, soft_deleted_at timestamptz, {keys}) {more}"
                ))
                .await;
            let opened = PostgresStore::open(&place.url(), PostgresOptions::default()).await;
            let error = opened.map(|_| "it was opened").unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::NotAVault, "{keys}");
            assert!(error.to_string().contains(&format!("unique key on {missing}")), "{error}");
            assert_eq!(migrate(place).await, Err(StoreErrorKind::NotAVault), "{keys}");
            place.run("UPDATE vault_meta SET value = '0' WHERE scope = 'schema'").await;
            assert_eq!(migrate(place).await, Err(StoreErrorKind::NotAVault), "{keys}");
        });
    }
}

#[test]
fn a_partial_index_is_no_key_and_a_unique_index_is_one() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        place.run("ALTER TABLE vault DROP CONSTRAINT vault_token_key").await;
        place.run("CREATE UNIQUE INDEX in_part ON vault (token) WHERE token <> ''").await;
        assert_eq!(place.open_error().await, StoreErrorKind::NotAVault);
        place.run("CREATE UNIQUE INDEX in_full ON vault (token)").await;
        assert_eq!(migrate(place).await, Ok(Migration::Current));
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        assert_eq!(store.insert(records(1)).await.unwrap(), [InsertOutcome::Inserted]);
    });
}
