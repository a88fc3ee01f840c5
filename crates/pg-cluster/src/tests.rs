//! A cluster starts, answers, survives a crash of the server, and disappears without a trace.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::*;

/// Set in the child process of a test that gets killed.
const CHILD: &str = "PG_CLUSTER_TEST_CHILD";

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn a_cluster_survives_a_crash_and_goes_without_a_trace() {
    let cluster = Cluster::start().unwrap();
    let (folder, port) = (cluster.folder().to_owned(), cluster.server.port);
    assert!(answers(port));
    cluster.crash().unwrap();
    assert!(!answers(port));
    cluster.start_again().unwrap();
    assert!(answers(port));
    drop(cluster);
    assert!(!answers(port));
    assert!(!folder.exists());
}

#[test]
fn an_owner_that_is_killed_leaves_nothing() {
    if env::var_os(CHILD).is_some() {
        let cluster = Cluster::start().unwrap();
        println!("\ncluster {} {}", cluster.server.port, cluster.folder().display());
        thread::sleep(Duration::from_mins(10));
        return;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::an_owner_that_is_killed_leaves_nothing", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        lines.map(Result::unwrap).find_map(|line| Some(line.strip_prefix("cluster ")?.to_owned()));
    let line = line.unwrap();
    let (port, folder) = line.split_once(' ').unwrap();
    let (port, folder) = (port.parse().unwrap(), PathBuf::from(folder));
    assert!(answers(port) && folder.exists());

    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    while answers(port) || folder.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the server is still there");
        thread::sleep(Duration::from_millis(20));
    }
}
