//! `cargo xtask bench`: the Criterion benches, and then each figure with its floor.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;

use crate::command::Run as _;
use crate::workspace::Workspace;

/// The name of the bench that measures the least that the same work could cost, in the same group
/// and at the same size.
const FLOOR: &str = "floor";

/// Runs the benches whose names contain the filter.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<(), String> {
    let started = SystemTime::now();
    let mut command = workspace.cargo("bench");
    command
        .args(["--package", "vaultstore", "--all-features", "--benches", "--"])
        .args(filter)
        .run()?;
    let figures = measured_since(&workspace.target.join("criterion"), started)?;
    show(&figures);
    Ok(())
}

/// The median time of one bench.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    group: String,
    function: String,
    size: String,
    nanos: f64,
}

impl Figure {
    /// The ratio to the floor of the same group and size; `None` if there is none.
    fn ratio(&self, all: &[Self]) -> Option<f64> {
        let is_floor = |other: &&Self| {
            other.function == FLOOR && other.group == self.group && other.size == self.size
        };
        all.iter()
            .find(is_floor)
            .filter(|_| self.function != FLOOR)
            .map(|floor| self.nanos / floor.nanos)
    }
}

/// Reads Criterion's results.
fn measured_since(folder: &Path, started: SystemTime) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for file in estimates_below(folder)? {
        let written = fs::metadata(&file).and_then(|about| about.modified());
        if written.is_ok_and(|written| written >= started) {
            figures.push(figure(&file)?);
        }
    }
    let key = |figure: &Figure| {
        (
            figure.group.clone(),
            figure.size.parse::<u64>().unwrap_or(0),
            figure.size.clone(),
            figure.function.clone(),
        )
    };
    figures.sort_by_key(key);
    Ok(figures)
}

fn estimates_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.ends_with("new") {
            files.push(path.join("estimates.json"));
        } else if path.is_dir() {
            files.extend(estimates_below(&path)?);
        }
    }
    Ok(files)
}

fn figure(estimates: &Path) -> Result<Figure, String> {
    let names = read_json(&estimates.with_file_name("benchmark.json"))?;
    let nanos = read_json(estimates)?["median"]["point_estimate"]
        .as_f64()
        .ok_or("criterion wrote no median")?;
    let text = |name: &str| names[name].as_str().unwrap_or_default().to_owned();
    Ok(Figure {
        group: text("group_id"),
        function: text("function_id"),
        size: text("value_str"),
        nanos,
    })
}

fn read_json(path: &Path) -> Result<Value, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn show(figures: &[Figure]) {
    println!("\n| what | how | size | median | times its floor |\n| --- | --- | --- | --- | --- |");
    for figure in figures {
        let ratio = figure.ratio(figures).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let Figure { group, function, size, nanos } = figure;
        println!("| {group} | {function} | {size} | {} | {ratio} |", with_unit(*nanos));
    }
}

fn with_unit(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e3 => format!("{nanos:.0} ns"),
        nanos if nanos < 1e6 => format!("{:.2} µs", nanos / 1e3),
        nanos if nanos < 1e9 => format!("{:.2} ms", nanos / 1e6),
        nanos => format!("{:.2} s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_compared_with_the_floor_of_its_own_group_and_size() {
        let figure = |group: &str, function: &str, size: &str, nanos| Figure {
            group: group.to_owned(),
            function: function.to_owned(),
            size: size.to_owned(),
            nanos,
        };
        let all = [
            figure("a", "floor", "64", 2.0),
            figure("a", "floor", "1024", 4.0),
            figure("b", "floor", "64", 1.0),
        ];
        assert_eq!(figure("a", "seal", "64", 3.0).ratio(&all), Some(1.5));
        assert_eq!(figure("a", "seal", "99", 3.0).ratio(&all), None);
        assert_eq!(all[0].ratio(&all), None);
    }
}
