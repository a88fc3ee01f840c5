//! What a Postgres server and the way to it do to a rekey: cut connections, undone transactions,
//! time limits.

use std::{
    mem,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use pg_cluster::Cluster;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use vaultstore::Timestamp;

use crate::process::{Rekey, report};
use crate::proxy::{Cut, Proxy};
use crate::rounds::{Rounds, figures, run};
use crate::scene::{Scene, tables_at};

const RECORDS: usize = 1000;
const PAGES: [&str; 2] = ["--page-size", "20"];

/// The application's name that tells the rekey's connections from the others.
const TROUBLED: &str = "troubled";

/// A server of these tests' own, where they are everything's owner.
fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| Cluster::start().unwrap())
}

async fn admin() -> PgConnection {
    PgConnection::connect(server().url()).await.unwrap()
}

/// A rekey of the vault that reaches its server by another URL.
fn rekey_through(scene: &mut Scene, url: &str) -> Command {
    let (_, tables) = scene.url.split_once('?').unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    let through = format!("{url}{separator}{tables}");
    let straight = mem::replace(&mut scene.url, through);
    let command = scene.merge("old", "new", &PAGES);
    scene.url = straight;
    command
}

/// How a role of this name, made now, reaches the server; each of its connections begins with these
/// settings.
async fn url_of_role(name: &str, settings: &[&str]) -> String {
    let mut admin = admin().await;
    let make = format!("CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'secret'");
    execute(&mut admin, &make).await;
    for setting in settings {
        execute(&mut admin, &format!("ALTER ROLE {name} SET {setting}")).await;
    }
    let (_, host) = server().url().split_once('@').unwrap();
    format!("postgres://{name}:secret@{host}?application_name={TROUBLED}")
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

async fn number(connection: &mut PgConnection, sql: &str) -> u64 {
    let row = connection.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap();
    u64::try_from(row.get::<i64, _>(0)).unwrap()
}

/// The name of the vault's table.
fn table(scene: &Scene) -> String {
    let (_, after) = scene.url.split_once("table=").unwrap();
    after.split('&').next().unwrap().to_owned()
}

/// Nothing is left to do: each record was moved, and counted once.
async fn moved_once(scene: &mut Scene, rekeyed: u64) {
    let (old, new) = (scene.due("old"), scene.due("new"));
    assert_eq!(rekeyed, old);
    let under = scene.check(&[("old", "new")]).await;
    assert_eq!((under["old"], under["new"]), (0, old + new));
}

#[test]
fn cut_connections_lose_nothing_and_count_nothing_twice() {
    run(async {
        let direct = server().url();
        let (_, host) = direct.split_once('@').unwrap();
        let port = host.split(['/', ':']).nth(1).unwrap();
        let proxy = Proxy::before(port.parse().unwrap());
        let through = direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
        let mut rounds = Rounds::at_least(1);
        let (mut runs, mut retries, mut checked) = (0, 0, 0);
        let count = |cut| proxy.fired().iter().filter(|fired| **fired == cut).count();
        while rounds.again(proxy.fired().len() >= 20 && Cut::ALL.iter().all(|cut| count(*cut) > 1))
        {
            let mut scene = Scene::standard(|_| tables_at(direct), RECORDS).await;
            let before = proxy.fired().len() - count(Cut::InAPage);
            let report = report(&rekey_through(&mut scene, &through).output().unwrap(), 3);
            let cuts = proxy.fired().len() - count(Cut::InAPage) - before;
            assert_eq!(report["failed"], 0);
            let again = report["retries"].as_u64().unwrap();
            assert!(again >= cuts as u64, "{again} batches again after {cuts} cuts");
            moved_once(&mut scene, report["rekeyed"].as_u64().unwrap()).await;
            (runs, retries, checked) = (runs + 1, retries + again, checked + scene.checked);
        }
        let fired: Vec<_> = Cut::ALL.map(|cut| format!("{} {cut:?}", count(cut))).into();
        figures(
            "connections cut around commits",
            &format!(
                "{} cuts ({}) in {runs} rekeys, {retries} batches looked at and tried again, {checked} records checked",
                proxy.fired().len(),
                fired.join(", ")
            ),
        );
    });
}

#[test]
fn terminated_backends_lose_nothing() {
    run(async {
        let url = url_of_role("terminated", &[]).await;
        let mut scene = Scene::standard(|_| tables_at(server().url()), RECORDS).await;
        let old = scene.due("old");
        let mut admin = admin().await;
        let mut rounds = Rounds::at_least(1);
        let (mut ended, mut runs) = (0, 0);
        while rounds.again(ended >= 10) {
            let mut rekey = Rekey::begin(rekey_through(&mut scene, &url));
            for tenth in 1..9 {
                rekey.reach(old * tenth / 10);
                thread::sleep(Duration::from_micros(rounds.below(5000)));
                let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'terminated'";
                ended += number(&mut admin, end).await;
            }
            let report = report(&rekey.finish(), 3);
            assert_eq!(report["failed"], 0);
            moved_once(&mut scene, report["rekeyed"].as_u64().unwrap()).await;
            scene.restore().await;
            runs += 1;
        }
        figures(
            "backends terminated",
            &format!("{ended} in {runs} rekeys, {} records checked", scene.checked),
        );
    });
}

/// Serialization failures and deadlocks: such as the server is made to give at a statement and at a
/// commit, and writers of a database where every transaction is serializable. Each writer adds a
/// second to records' times again and again, which must be as many as it added.
#[test]
fn serialization_failures_lose_nothing() {
    run(async {
        let url = url_of_role("serial", &["default_transaction_isolation = 'serializable'"]).await;
        let mut scene = Scene::standard(|_| tables_at(server().url()), RECORDS).await;
        let mut admin = admin().await;
        make_trouble(&mut admin, &table(&scene)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (table, stop) = (table(&scene), Arc::clone(&stop));
            let url = url.replace(TROUBLED, "writer");
            thread::spawn(move || run(add_seconds(&url, &table, &stop)))
        };
        let mut rounds = Rounds::at_least(2);
        let (mut rekeys, mut retries) = (0, 0);
        while rounds.again(retries > 10) {
            scene.restore().await;
            // Its picture of the vault is older than the rekey's changes, one of which it is going
            // to overwrite.
            let mut stale = PgConnection::connect(&url.replace(TROUBLED, "writer")).await.unwrap();
            execute(&mut stale, &format!("BEGIN; SELECT count(*) FROM {}", table(&scene))).await;
            let mut rekey = rekey_through(&mut scene, &url);
            // The triggers are what makes the trouble.
            rekey.arg("--allow-triggers");
            let report = report(&rekey.output().unwrap(), 3);
            let hide = format!(
                "UPDATE {} SET soft_deleted_at = now() WHERE id = '0000000'",
                table(&scene)
            );
            let refused = stale.execute(AssertSqlSafe(hide)).await.unwrap_err();
            assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("40001"));
            assert_eq!(
                (&report["failed"], &report["rekeyed"]),
                (&0.into(), &scene.due("old").into())
            );
            retries += report["retries"].as_u64().unwrap();
            rekeys += 1;
        }
        stop.store(true, Relaxed);
        let Added { seconds, met } = writer.join().unwrap();
        for (at, due) in scene.ledger.values_mut().enumerate() {
            let added = seconds.get(at).copied().unwrap_or(0) * 1_000_000;
            let updated_at = due.record.updated_at.as_micros() + added;
            due.record.updated_at = Timestamp::from_micros(updated_at);
        }
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!(under["old"], 0);
        let mut forced = Vec::new();
        for name in ["failures", "deadlocks", "at_commit"] {
            let seen = number(&mut admin, &format!("SELECT last_value FROM {name}")).await;
            assert!(seen > 1, "no {name}");
            forced.push(format!("{seen} {name}"));
        }
        let added = seconds.iter().sum::<i64>();
        assert!(added > 0);
        let met = met + rekeys;
        figures(
            "serialization failures",
            &format!(
                "forced on {rekeys} rekeys: {}, {retries} retries; {met} met by writers, whose {added} changes all stayed; {} \
                 records checked",
                forced.join(", "),
                scene.checked
            ),
        );
    });
}

/// Lets the rekey's statements fail every second time, and some of its commits, in a way that
/// counts.
async fn make_trouble(admin: &mut PgConnection, table: &str) {
    let sql = format!(
        "CREATE SEQUENCE statements; CREATE SEQUENCE rows;
         CREATE SEQUENCE failures; CREATE SEQUENCE deadlocks; CREATE SEQUENCE at_commit;
         CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE number bigint;
         BEGIN
             IF current_setting('application_name') <> '{TROUBLED}' OR pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
             number := nextval('statements') % 4;
             IF number = 1 THEN PERFORM nextval('failures'); RAISE 'forced' USING ERRCODE = '40001'; END IF;
             IF number = 3 THEN PERFORM nextval('deadlocks'); RAISE 'forced' USING ERRCODE = '40P01'; END IF;
             RETURN NULL;
         END $$;
         CREATE FUNCTION late_trouble() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF current_setting('application_name') = '{TROUBLED}' AND nextval('rows') % 50 = 7 THEN
                 PERFORM nextval('at_commit');
                 RAISE 'forced' USING ERRCODE = '40001';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER trouble AFTER UPDATE OF envelope ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION trouble();
         CREATE CONSTRAINT TRIGGER late_trouble AFTER UPDATE OF envelope ON {table}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late_trouble();"
    );
    execute(admin, &sql).await;
}

/// What a writer did to each of the first records, and how often it was undone.
struct Added {
    seconds: Vec<i64>,
    met: u64,
}

/// Until it is stopped.
async fn add_seconds(url: &str, table: &str, stop: &AtomicBool) -> Added {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut added = Added { seconds: vec![0; RECORDS], met: 0 };
    for at in (0..RECORDS).cycle() {
        if stop.load(Relaxed) {
            break;
        }
        // Two statements: what is read first is not what is there when it is written, if a rekey
        // comes in between.
        let add = format!(
            "BEGIN; SELECT updated_at FROM {table} WHERE id = '{at:07}'; SELECT pg_sleep(0.002);
             UPDATE {table} SET updated_at = updated_at + interval '1 second' WHERE id = '{at:07}'; COMMIT"
        );
        match connection.execute(AssertSqlSafe(add)).await {
            Ok(_) => added.seconds[at] += 1,
            Err(sqlx::Error::Database(error)) => {
                assert_eq!(error.code().as_deref(), Some("40001"));
                added.met += 1;
                execute(&mut connection, "ROLLBACK").await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    added
}

/// A deadlock that the server finds: another client locks two records of one page in the other
/// order. The rekey is the one that is undone, since it has waited longer.
#[test]
fn a_deadlock_loses_nothing() {
    run(async {
        let url = url_of_role("locked", &["deadlock_timeout = '1s'"]).await;
        let mut scene = Scene::standard(|_| tables_at(server().url()), RECORDS).await;
        let (mut met, mut deadlocks) = (0, 0);
        let table = table(&scene);
        let mut rounds = Rounds::at_least(1);
        while rounds.again(met > 0) {
            let mut rekey = Rekey::begin(rekey_through(&mut scene, &url));
            rekey.reach(1);
            let mut other = admin().await;
            let lock = |id| format!("SELECT 1 FROM {table} WHERE id = '{id}' FOR UPDATE");
            execute(&mut other, "BEGIN; SET LOCAL deadlock_timeout = '5s'").await;
            execute(&mut other, &lock("0000905")).await;
            let end = thread::spawn(move || rekey.finish());
            wait_until_it_waits().await;
            // Behind the rekey, which holds it and waits for the other one.
            let _ = other.execute(AssertSqlSafe(lock("0000900"))).await;
            execute(&mut other, "ROLLBACK").await;
            let report = report(&end.join().unwrap(), 3);
            assert_eq!(report["failed"], 0);
            met += report["retries"].as_u64().unwrap();
            deadlocks += 1;
            moved_once(&mut scene, report["rekeyed"].as_u64().unwrap()).await;
            scene.restore().await;
        }
        figures(
            "deadlocks",
            &format!("{deadlocks} made, {met} met by a rekey, {} records checked", scene.checked),
        );
    });
}

async fn wait_until_it_waits() {
    let mut admin = admin().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'locked' AND wait_event_type = 'Lock'";
    let started = Instant::now();
    while number(&mut admin, waiting).await == 0 {
        assert!(started.elapsed() < Duration::from_mins(5), "no client waits for a lock");
    }
}

#[test]
fn time_limits_are_tried_again_or_end_it_and_the_next_run_does_the_rest() {
    run(async {
        let mut checked = 0;
        for (limit, time) in [("statement_timeout", "300ms"), ("lock_timeout", "100ms")] {
            let setting = format!("{limit} = '{time}'");
            let url = url_of_role(&format!("limited_by_{limit}"), &[&setting]).await;
            let mut scene = Scene::standard(|_| tables_at(server().url()), RECORDS).await;
            let old = scene.due("old");

            // Longer than the limit, and not longer than it is patient.
            let mut rekey = Rekey::begin(rekey_through(&mut scene, &url));
            rekey.reach(1);
            let mut holder = hold_all(&scene).await;
            let end = thread::spawn(move || rekey.finish());
            thread::sleep(Duration::from_millis(700));
            execute(&mut holder, "ROLLBACK").await;
            let first = report(&end.join().unwrap(), 3);
            assert!(first["retries"].as_u64() > Some(0));
            assert_eq!(first["failed"], 0);
            moved_once(&mut scene, first["rekeyed"].as_u64().unwrap()).await;
            scene.restore().await;

            // As long as it lasts.
            let mut rekey = Rekey::begin(rekey_through(&mut scene, &url));
            rekey.reach(1);
            let mut holder = hold_all(&scene).await;
            let output = rekey.finish();
            execute(&mut holder, "ROLLBACK").await;
            assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 2);
            let broken = report(&output, 75);
            assert_eq!(broken["end"], "failed");
            let moved = broken["rekeyed"].as_u64().unwrap();
            let under = scene.check(&[("old", "new")]).await;
            assert_eq!((under["old"], moved > 0), (old - moved, true));
            assert_eq!(scene.states().len(), 1);
            let last = report(&rekey_through(&mut scene, &url).output().unwrap(), 3);
            assert_eq!((&last["earlier"]["runs"], &last["failed"]), (&1.into(), &0.into()));
            moved_once(&mut scene, last["rekeyed"].as_u64().unwrap()).await;
            checked += scene.checked;
        }
        figures(
            "statement_timeout and lock_timeout",
            &format!("2 rekeys came through, 2 ended and were resumed, {checked} records checked"),
        );
    });
}

/// Locks every record against changes.
async fn hold_all(scene: &Scene) -> PgConnection {
    let mut holder = admin().await;
    execute(&mut holder, &format!("BEGIN; SELECT 1 FROM {} FOR UPDATE", table(scene))).await;
    holder
}
