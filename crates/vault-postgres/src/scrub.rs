//! Writing the records table again, in place: one transaction, the same table.
//!
//! | statement | what it ends |
//! | --- | --- |
//! | `CLUSTER` by the primary key | the order of the rows on the pages, and dead rows; it keeps row versions and TOAST values as they are |
//! | `ALTER COLUMN … TYPE … USING COALESCE(column, column)` | the rest: the server inserts every row again, in one transaction and with new TOAST values in the order of the rows, because the expression is not the bare column |
//! | `ANALYZE` | old values in the statistics |
//! | `VACUUM (FREEZE)`, after the commit | hint bits, and what differs in the visibility of rows |
//!
//! The table keeps its OID, and with it owner, privileges, comments, triggers (none is fired),
//! rules, publications, foreign keys of other tables, statistics objects and options. What the
//! catalogue says of all these is compared before the commit, and so is the hash of all rows.
//!
//! A crash leaves the old table or the new one, whole; before the last statement the new one
//! already tells nothing.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use vault_store::{Remains, RemainsKind, ScrubReport, StoreError, StoreErrorKind as Kind};

use crate::error::Fault;
use crate::scrub_table::Table;
use crate::shared::Shared;
use crate::sqlstate::code_of;

/// How long one attempt waits for the lock. Everybody who comes after it waits behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0";

/// How often the lock is asked for; between two attempts, the queue behind it drains.
const LOCK_TRIES: u32 = 6;

/// How many seconds older snapshots are waited for.
const SNAPSHOT_TRIES: u32 = 60;

const PAUSE: Duration = Duration::from_secs(1);

/// Scrubs the records table.
pub(crate) async fn scrub(shared: &Shared) -> Result<ScrubReport, Fault> {
    let table = Table::find(shared, shared.read().await?.connection()).await?;
    wait_for_older(shared).await?;
    let mut tries = 1;
    let rows = loop {
        match rewrite(shared, &table).await {
            // lock_not_available
            Err(Fault::Sqlx(error)) if code_of(&error) == Some("55P03") && tries < LOCK_TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(Fault::Sqlx(error)) if code_of(&error) == Some("55P03") => {
                let mut transaction = shared.read().await?;
                return Err(held(shared, &table, transaction.connection()).await?.into());
            }
            rows => break rows?,
        }
    };
    // It cannot run in a transaction.
    let mut connection = shared.pool.acquire().await?;
    run(&mut connection, &format!("VACUUM (FREEZE) {}", table.name)).await?;
    // Counts updates, and names no record. Only some roles may reset it.
    let reset = format!("SELECT pg_stat_reset_single_table_counters({})", table.oid);
    let _ = run(&mut connection, &reset).await;
    drop(connection);
    let mut transaction = shared.read().await?;
    let connection = transaction.connection();
    let mut report = ScrubReport::of(rows);
    report.bytes_before = Some(table.bytes);
    report.bytes_after = Some(table.bytes_now(connection).await?);
    report.remains = what_remains(connection).await?;
    Ok(report)
}

/// The transaction. Returns the number of rows.
async fn rewrite(shared: &Shared, table: &Table) -> Result<u64, Fault> {
    let name = &table.name;
    let mut transaction = shared.begin().await?;
    let connection = transaction.connection();
    run(connection, LOCK_TIMEOUT).await?;
    run(connection, &format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")).await?;
    refuse_snapshots(shared, connection).await?;
    let before = table.inventory(connection).await?;
    let cluster = format!("CLUSTER {name} USING {}; {}", table.key, table.mark_as_before());
    run(connection, &cluster).await?;
    run(connection, &table.rewrite()).await?;
    run(connection, &format!("ANALYZE {name}")).await?;
    let after = table.inventory(connection).await?;
    if after != before {
        transaction.abort().await?;
        let place = shared.place();
        return Err(StoreError::new(
            Kind::Other,
            format!("{place}: the table {name} would not be the same after a scrub"),
        )
        .with_hint("this is a bug in vaultstore, or an extension changes tables; please report it")
        .into());
    }
    refuse_snapshots(shared, connection).await?;
    transaction.commit().await?;
    Ok(after.rows)
}

/// Waits until every transaction has ended that has a snapshot now. One that looks at the table for
/// the first time after the commit would find it empty, because the rows are younger than its
/// snapshot.
async fn wait_for_older(shared: &Shared) -> Result<(), Fault> {
    const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::float8";
    const OLDER: &str = "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::int8 \
        FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
        AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL \
        AND xact_start < to_timestamp($1::float8) ORDER BY xact_start LIMIT 1";
    let started = sqlx::query_scalar::<_, f64>(NOW).persistent(false);
    let started = started.fetch_one(shared.read().await?.connection()).await?;
    let mut tries = 0;
    loop {
        // A transaction for each: within one, the server answers as it did the first time.
        let older = sqlx::query(OLDER).persistent(false).bind(started);
        let older = older.fetch_optional(shared.read().await?.connection()).await?;
        match older {
            None => return Ok(()),
            Some(row) if tries == SNAPSHOT_TRIES => {
                return Err(too_old(shared, row.try_get(0)?, row.try_get(1)?).into());
            }
            Some(_) => tries += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Refuses while a transaction is idle that has a snapshot: between its statements, only one that
/// reads repeatably has.
async fn refuse_snapshots(shared: &Shared, connection: &mut PgConnection) -> Result<(), Fault> {
    const IDLE: &str = "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::int8 \
        FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
        AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND state = 'idle in transaction' LIMIT 1";
    // Within a transaction, the server answers as it did the first time.
    run(connection, "SELECT pg_stat_clear_snapshot()").await?;
    match sqlx::query(IDLE).persistent(false).fetch_optional(connection).await? {
        Some(row) => Err(too_old(shared, row.try_get(0)?, row.try_get(1)?).into()),
        None => Ok(()),
    }
}

fn too_old(shared: &Shared, pid: i32, age: i64) -> StoreError {
    let place = shared.place();
    StoreError::new(
        Kind::Retryable,
        format!(
            "{place}: a transaction of process {pid}, {age} s old, could find the vault empty after a scrub, because its \
             snapshot is older"
        ),
    )
    .with_hint("scrub again when it has ended")
}

/// Who holds a lock on the table for so long.
async fn held(
    shared: &Shared,
    table: &Table,
    connection: &mut PgConnection,
) -> Result<StoreError, Fault> {
    const HOLDER: &str = "SELECT lock.pid, extract(epoch FROM clock_timestamp() - xact_start)::int8 \
        FROM pg_locks AS lock LEFT JOIN pg_stat_activity AS session ON session.pid = lock.pid \
        WHERE relation = $1::int8::oid AND granted AND lock.pid IS DISTINCT FROM pg_backend_pid() \
        ORDER BY xact_start NULLS LAST LIMIT 1";
    let holder =
        sqlx::query(HOLDER).persistent(false).bind(table.oid).fetch_optional(connection).await?;
    let who = match holder {
        Some(row) => match (row.try_get::<Option<i32>, _>(0)?, row.try_get::<Option<i64>, _>(1)?) {
            (Some(pid), Some(age)) => format!("process {pid}, whose transaction is {age} s old"),
            (Some(pid), None) => format!("process {pid}"),
            (None, _) => "a prepared transaction".to_owned(),
        },
        None => "other sessions, one after the other".to_owned(),
    };
    let (place, name) = (shared.place(), &table.name);
    Ok(StoreError::new(
        Kind::Retryable,
        format!("{place}: the table {name} could not be locked; it is in use by {who}"),
    )
    .with_hint("end what uses it, or scrub at a quieter time"))
}

/// Where old envelopes may still be, within reach of somebody who takes the server's files.
async fn what_remains(connection: &mut PgConnection) -> Result<Vec<Remains>, Fault> {
    const SLOTS: &str =
        "SELECT slot_name::text FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY 1";
    const REPLICAS: &str = "SELECT count(*) FROM pg_stat_replication";
    let log = "the server's write-ahead log (pg_wal) holds old envelopes, and which records were rekeyed, until it has \
               been written over";
    let mut remains = vec![Remains::new(RemainsKind::ServerLog, log).remedy(
        "an administrator can set wal_recycle = off, and run SELECT pg_switch_wal() and CHECKPOINT three times",
    )];
    for slot in
        sqlx::query_scalar::<_, String>(SLOTS).persistent(false).fetch_all(&mut *connection).await?
    {
        let what = format!("the replication slot {slot} keeps the log until it was read");
        let slot = Remains::new(RemainsKind::ReplicationSlot, what);
        remains.push(slot.remedy("let its reader catch up, or drop the slot"));
    }
    let archives: String = sqlx::query_scalar("SELECT current_setting('archive_mode')")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if archives != "off" {
        let what = "the archive of the log (archive_mode) keeps what it has";
        remains.push(Remains::new(RemainsKind::Archive, what));
    }
    let replicas: i64 =
        sqlx::query_scalar(REPLICAS).persistent(false).fetch_one(connection).await?;
    if replicas > 0 {
        let what = "each replica writes the same again, and its disk may keep old blocks";
        remains.push(Remains::new(RemainsKind::Replica, what));
    }
    let what = "the blocks of the old files were returned to the file system, and may keep their content until they are reused";
    remains.push(Remains::new(RemainsKind::OldBlocks, what).remedy(
        "`fstrim` tells a solid-state disk which blocks are free; only encryption of the disk covers the rest",
    ));
    Ok(remains)
}

/// Runs statements that consist of constants and of names that the server quoted.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), Fault> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
    Ok(())
}
