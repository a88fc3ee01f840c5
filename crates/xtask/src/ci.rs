//! `cargo xtask ci`: runs all checks in order, also after a failure, so that one run tells them
//! all.

mod all_tests;
mod systems;
mod threat_model;

use std::time::{Duration, Instant};

use crate::check::Done;
use crate::command::Run as _;
use crate::imports::rust_files;
use crate::pg::Server;
use crate::workspace::{Workspace, strings, values};
use crate::{fuzz, golden, layers, mutants, package};

/// How long each fuzz target runs.
const FUZZ: Duration = Duration::from_secs(20);

/// The package whose features are the backends.
const FACADE: &str = "vaultstore";

/// The name of a check and its function.
type Check = (&'static str, fn(&Workspace) -> Result<Done, String>);

/// Cheap checks first; checks that need the same build artifacts are adjacent.
const CHECKS: [Check; 17] = [
    ("rustfmt", rustfmt),
    ("layers", layers::check),
    ("no test is ignored", no_test_is_ignored),
    ("tests of the threat model", threat_model::check),
    ("clippy", clippy),
    ("features", features),
    ("rustdoc", rustdoc),
    ("server tests", all_tests::on_a_server),
    ("golden vectors in Python", golden::check),
    ("benches", benches),
    ("simulation", all_tests::simulation),
    ("package", package::check),
    ("dependencies", package::dependencies),
    ("API compatibility", package::api),
    ("other systems", systems::check),
    ("fuzz", fuzz_all),
    ("mutants of changed code", mutants::of_changes),
];

/// Runs every check whose name contains the word, and ends with a summary.
pub(crate) fn run(workspace: &Workspace, word: &str) -> Result<(), String> {
    let checks: Vec<&Check> = CHECKS.iter().filter(|(name, _)| name.contains(word)).collect();
    if checks.is_empty() {
        return Err(format!("no check is called {word}"));
    }
    let started = Instant::now();
    let (mut summary, mut failed) = (Vec::new(), Vec::new());
    for (number, (name, check)) in checks.iter().enumerate() {
        println!("\n==== {} of {}: {name}", number + 1, checks.len());
        let since = Instant::now();
        let done = check(workspace);
        let took = since.elapsed().as_secs_f64();
        let said = match done {
            Ok(Done::Passed(said)) => format!("{took:7.1} s  passed    {name}  {said}"),
            Ok(Done::LeftOut(why)) => {
                println!("\n!!!! LEFT OUT: {name}: {why}");
                format!("{took:7.1} s  LEFT OUT  {name}: {why}")
            }
            Err(why) => {
                println!("\n!!!! FAILED: {name}: {why}");
                failed.push(*name);
                format!("{took:7.1} s  FAILED    {name}: {why}")
            }
        };
        println!("==== {name}: {took:.1} s");
        summary.push(said);
    }
    println!("\n==== summary");
    for line in summary {
        println!("{line}");
    }
    println!("{:7.1} s  in all", started.elapsed().as_secs_f64());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn rustfmt(workspace: &Workspace) -> Result<Done, String> {
    workspace.cargo("fmt").args(["--all", "--check"]).run()?;
    // The fuzz targets are in a workspace of their own.
    workspace.cargo("fmt").args(["--manifest-path", "fuzz/Cargo.toml", "--check"]).run()?;
    Ok(Done::passed())
}

fn clippy(workspace: &Workspace) -> Result<Done, String> {
    let all = ["--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    workspace.cargo("clippy").args(all).run()?;
    Ok(Done::passed())
}

/// `cargo test` and the server tests together run every test; an ignored one would be left out
/// silently.
fn no_test_is_ignored(workspace: &Workspace) -> Result<Done, String> {
    let ignore = concat!("#[", "ignore");
    for folder in ["crates", "src", "tests", "examples", "benches", "fuzz/src"] {
        for file in rust_files(&workspace.root.join(folder))? {
            let source = std::fs::read_to_string(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            if source.contains(ignore) {
                return Err(format!("{} ignores a test; run it or remove it", file.display()));
            }
        }
    }
    Ok(Done::passed())
}

/// Checks each feature of each package alone, and none: all of them together is what clippy checks
/// and the tests use. Nothing is built.
fn features(workspace: &Workspace) -> Result<Done, String> {
    let mut checked = Vec::new();
    for package in workspace.members() {
        let Some(declared) =
            package["features"].as_object().filter(|features| !features.is_empty())
        else {
            continue;
        };
        let name = package["name"].as_str().unwrap_or_default();
        let alone = declared
            .keys()
            .map(String::as_str)
            .filter(|feature| !["default", "server-tests"].contains(feature));
        for feature in std::iter::once("").chain(alone) {
            let named = if feature.is_empty() { "none" } else { feature };
            println!("-- {name}: {named}");
            let arguments =
                ["--package", name, "--no-default-features", "--features", feature, "--lib"];
            let arguments =
                arguments.iter().filter(|word| **word != "--lib" || is_library(package));
            let mut command = workspace.cargo("clippy");
            command.args(arguments);
            if name == FACADE {
                command.args(["--test", "backends"]);
            }
            command.args(["--", "-D", "warnings"]).run()?;
            checked.push(format!("{name}/{named}"));
        }
    }
    if checked.is_empty() {
        return Err("no package has a feature, and the facade must have one per backend".to_owned());
    }
    Ok(Done::Passed(checked.join(", ")))
}

fn rustdoc(workspace: &Workspace) -> Result<Done, String> {
    let mut command = workspace.cargo("doc");
    // The command `vaultstore` and the facade's library have the same name, and would have the same
    // page.
    let libraries = workspace.members().filter(|package| is_library(package));
    for name in libraries.filter_map(|package| package["name"].as_str()) {
        command.args(["--package", name]);
    }
    command.args(["--no-deps", "--all-features", "--lib", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links").run()?;
    Ok(Done::passed())
}

fn is_library(package: &serde_json::Value) -> bool {
    values(&package["targets"]).any(|target| strings(&target["kind"]).contains(&"lib"))
}

/// Builds the benches with the profile and the features of the tests, and runs each once: what
/// compiles can still fail when it runs.
fn benches(workspace: &Workspace) -> Result<Done, String> {
    let mut arguments = vec!["--workspace", "--all-features", "--profile", "dev"];
    for package in workspace.members().filter(|package| package["name"] == FACADE) {
        for target in values(&package["targets"]) {
            if strings(&target["kind"]).contains(&"bench") {
                arguments.extend(["--bench", target["name"].as_str().unwrap_or_default()]);
            }
        }
    }
    arguments.extend(["--", "--test"]);
    let server = Server::of_environment_or_own()?;
    let mut command = workspace.cargo("bench");
    server.tell(&mut command);
    command.args(arguments).run()?;
    Ok(Done::Passed("each runs once".to_owned()))
}

fn fuzz_all(workspace: &Workspace) -> Result<Done, String> {
    Ok(match fuzz::run_all(workspace, FUZZ)? {
        fuzz::Fuzzed::Done(said) => Done::Passed(said),
        fuzz::Fuzzed::NoNightly(why) => Done::LeftOut(why),
    })
}
