//! Another process: started, driven from stage to stage, and read.

use std::{
    collections::HashMap,
    env, fs,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::child::FOLDER;
use crate::needles::Needle;

/// How much is read at a time.
const WINDOW: usize = 1 << 20;

pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// A needle, and where it was; never what it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) form: &'static str,
    address: String,
    region: String,
}

impl Process {
    /// Runs one test of this program in a process of its own.
    pub(crate) fn start(test: &str, folder: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    /// Waits until it says that it is there, where it waits.
    pub(crate) fn reach(&mut self, stage: &str) {
        let mut told = String::new();
        while !told.ends_with(&format!("\n{stage}\n")) {
            let read = self.stdout.read_line(&mut told).unwrap();
            assert!(read > 0, "the child ended before it was {stage}: {told}");
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    pub(crate) fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    /// Reads all memory that the process itself can read.
    pub(crate) fn search(&self, needles: &[Needle]) -> Vec<Found> {
        let id = self.child.id();
        let memory = File::open(format!("/proc/{id}/mem")).unwrap();
        let index = Index::of(needles);
        let (mut found, mut read) = (Vec::new(), 0);
        for line in fs::read_to_string(format!("/proc/{id}/maps")).unwrap().lines() {
            let region = Region::parse(line);
            if region.is_readable {
                read += region.search(&memory, &index, &mut found);
            }
        }
        assert!(read > 1 << 20, "only {read} bytes of memory could be read");
        found
    }
}

/// The needles by their first bytes.
struct Index<'a> {
    by_start: HashMap<[u8; 2], Vec<&'a Needle>>,
    /// Whether anything starts with these two bytes.
    starts: Vec<bool>,
    longest: usize,
}

impl<'a> Index<'a> {
    fn of(needles: &'a [Needle]) -> Self {
        let mut by_start: HashMap<_, Vec<_>> = HashMap::new();
        let mut starts = vec![false; 1 << 16];
        for needle in needles {
            let start = [needle.bytes[0], needle.bytes[1]];
            by_start.entry(start).or_default().push(needle);
            starts[usize::from(u16::from_be_bytes(start))] = true;
        }
        let longest = needles.iter().map(|needle| needle.bytes.len()).max().unwrap();
        Self { by_start, starts, longest }
    }

    /// Every needle in these bytes, and where.
    fn find_in(&self, bytes: &[u8], mut found: impl FnMut(&Needle, usize)) {
        for (at, pair) in bytes.windows(2).enumerate() {
            let start = [pair[0], pair[1]];
            if self.starts[usize::from(u16::from_be_bytes(start))] {
                let here = self.by_start[&start].iter();
                here.filter(|needle| bytes[at..].starts_with(&needle.bytes))
                    .for_each(|needle| found(needle, at));
            }
        }
    }
}

/// A line of `/proc/PID/maps`.
struct Region {
    from: usize,
    to: usize,
    is_readable: bool,
    name: String,
}

impl Region {
    fn parse(line: &str) -> Self {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
        let access = fields.next().unwrap();
        let name = fields.nth(3).unwrap_or("anonymous").to_owned();
        // The kernel's own pages, which hold the time.
        let is_kernels = name.starts_with("[v");
        Self { from, to, is_readable: access.starts_with('r') && !is_kernels, name }
    }

    /// How many bytes could be read.
    fn search(&self, memory: &File, index: &Index<'_>, found: &mut Vec<Found>) -> usize {
        let mut window = vec![0; WINDOW + index.longest];
        for from in (self.from..self.to).step_by(WINDOW) {
            let len = window.len().min(self.to - from);
            memory.read_exact_at(&mut window[..len], from as u64).unwrap();
            index.find_in(&window[..len], |needle, at| {
                let (name, form) = (needle.name.clone(), needle.form);
                let (address, region) = (format!("{:x}", from + at), self.name.clone());
                found.push(Found { name, form, address, region });
            });
        }
        self.to - self.from
    }
}
