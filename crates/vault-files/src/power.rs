//! Power cuts: after each change, every disk that the changes may have left is looked at.
//!
//! A change is on the disk for certain once it was flushed; of the others any may be there and any
//! may be missing, a file's content may be there in part, and a name without the content. The
//! controls leave out one flush after another, and the test has to notice each.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::disk::Disk;
use crate::steps;

/// One change, in the order in which they were made. Files are known by numbers, whatever they are
/// called.
#[derive(Clone, Debug)]
enum Change {
    Write { file: usize, content: Vec<u8> },
    Name { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
    Folder { path: PathBuf },
    SyncFile { file: usize },
    SyncFolder { folder: PathBuf },
}

impl Change {
    /// Whether this change is on the disk for certain once that other one was made.
    fn is_flushed_by(&self, later: &Self) -> bool {
        let holds = |folder: &Path, path: &Path| path.parent() == Some(folder);
        match (self, later) {
            (Self::Write { file, .. }, Self::SyncFile { file: flushed }) => file == flushed,
            (
                Self::Name { path, .. }
                | Self::Rename { to: path, .. }
                | Self::Remove { path }
                | Self::Folder { path },
                Self::SyncFolder { folder },
            ) => holds(folder, path),
            _ => false,
        }
    }

    fn is_flush(&self) -> bool {
        matches!(self, Self::SyncFile { .. } | Self::SyncFolder { .. })
    }
}

/// What a disk holds.
#[derive(Clone, Debug, Default)]
struct Image {
    names: BTreeMap<PathBuf, usize>,
    folders: Vec<PathBuf>,
    contents: BTreeMap<usize, Vec<u8>>,
}

impl Image {
    fn apply(&mut self, change: &Change, part: Part) {
        match change {
            Change::Write { file, content } => {
                let len = if part == Part::Half { content.len() / 2 } else { content.len() };
                self.contents.insert(*file, content[..len].to_vec());
            }
            Change::Name { path, file } => drop(self.names.insert(path.clone(), *file)),
            Change::Rename { from, to, file } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Change::Remove { path } => drop(self.names.remove(path)),
            Change::Folder { path } => self.folders.push(path.clone()),
            Change::SyncFile { .. } | Change::SyncFolder { .. } => {}
        }
    }

    /// What is read at a path: a file whose content is lost is empty.
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = Path::new(path);
        let mut above = path.ancestors().skip(1).filter(|folder| *folder != Path::new(""));
        if !above.all(|folder| self.folders.iter().any(|there| there == folder)) {
            return None;
        }
        let file = self.names.get(path)?;
        Some(self.contents.get(file).cloned().unwrap_or_default())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nothing,
    Half,
    Whole,
}

/// A disk that writes its changes down.
#[derive(Default)]
struct Recorder {
    before: Image,
    now: RefCell<Image>,
    log: RefCell<Vec<Change>>,
    files: Cell<usize>,
}

impl Recorder {
    /// A disk with a folder, and a file in it, all of it durable.
    fn with(files: &[(&str, &str)]) -> Self {
        let mut image = Image { folders: vec!["home".into()], ..Image::default() };
        for (number, (path, content)) in files.iter().enumerate() {
            image.names.insert(path.into(), number);
            image.contents.insert(number, content.as_bytes().to_vec());
        }
        Self {
            now: RefCell::new(image.clone()),
            before: image,
            files: Cell::new(files.len()),
            ..Self::default()
        }
    }

    fn change(&self, change: Change) {
        self.now.borrow_mut().apply(&change, Part::Whole);
        self.log.borrow_mut().push(change);
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.now.borrow().names.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        self.change(Change::Rename { from: from.into(), to: to.into(), file });
        Ok(())
    }
}

impl Disk for Recorder {
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if self.file(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.files.replace(self.files.get() + 1);
        self.change(Change::Name { path: path.into(), file });
        self.change(Change::Write { file, content: content.into() });
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.change(Change::SyncFile { file: self.file(path)? });
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(Change::SyncFolder { folder: folder.into() });
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.file(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change(Change::Remove { path: path.into() });
        Ok(())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if self.now.borrow().folders.iter().any(|there| there == folder) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Folder { path: folder.into() });
        Ok(())
    }
}

/// Every disk that these changes may leave.
fn images(before: &Image, log: &[Change]) -> Vec<Image> {
    let mut images = vec![before.clone()];
    for (number, change) in log.iter().enumerate() {
        let flushed = log[number..].iter().any(|later| change.is_flushed_by(later));
        let parts: &[Part] = match change {
            _ if flushed || change.is_flush() => &[Part::Whole],
            Change::Write { .. } => &[Part::Nothing, Part::Half, Part::Whole],
            _ => &[Part::Nothing, Part::Whole],
        };
        images = images
            .into_iter()
            .flat_map(|image| {
                parts.iter().map(move |part| {
                    let mut image = image.clone();
                    if *part != Part::Nothing {
                        image.apply(change, *part);
                    }
                    image
                })
            })
            .collect();
    }
    images
}

/// Looks at every image of every cut: what is read is one of `during`, and `after` once all was
/// done. Gives the first that is something else.
fn first_violation(
    before: &Image,
    log: &[Change],
    path: &str,
    during: &[Option<&str>],
    after: Option<&str>,
) -> Option<String> {
    for cut in 0..=log.len() {
        let is_done = cut == log.len();
        for image in images(before, &log[..cut]) {
            let read = image.read(path);
            let read = read.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let is = |allowed: Option<&str>| read.as_deref() == allowed;
            if !(is(after) || (!is_done && during.iter().copied().any(is))) {
                return Some(format!("{read:?} after {cut} of {log:?}"));
            }
        }
    }
    None
}

/// Checks the changes, and that each of their flushes is needed.
fn check(disk: &Recorder, path: &str, during: &[Option<&str>], after: Option<&str>) {
    let log = disk.log.borrow();
    let violation = |log: &[Change]| first_violation(&disk.before, log, path, during, after);
    assert_eq!(violation(&log), None);
    let flushes: Vec<usize> = (0..log.len()).filter(|number| log[*number].is_flush()).collect();
    assert!(!flushes.is_empty());
    for flush in flushes {
        let mut sabotaged = log.clone();
        let left_out = sabotaged.remove(flush);
        assert!(violation(&sabotaged).is_some(), "no check misses {left_out:?}");
    }
}

#[test]
fn a_file_that_is_published_is_there_whole_or_not_at_all() {
    let disk = Recorder::with(&[]);
    let (made, place) = (Path::new("home/.v.vaultstore-new/vault"), Path::new("home/v"));
    disk.now.borrow_mut().folders.push("home/.v.vaultstore-new".into());
    disk.create(made, b"a whole vault").unwrap();
    steps::publish(&disk, made, place, false).unwrap();
    check(&disk, "home/v", &[None], Some("a whole vault"));
}

#[test]
fn a_file_that_takes_the_place_of_an_empty_one_is_whole_or_the_empty_one_is_there() {
    let disk = Recorder::with(&[("home/v", "")]);
    let (made, place) = (Path::new("home/.v.vaultstore-new/vault"), Path::new("home/v"));
    disk.now.borrow_mut().folders.push("home/.v.vaultstore-new".into());
    disk.create(made, b"a whole vault").unwrap();
    steps::publish(&disk, made, place, true).unwrap();
    check(&disk, "home/v", &[Some("")], Some("a whole vault"));
}

#[test]
fn a_file_that_is_replaced_is_the_old_one_or_the_new_one() {
    let disk = Recorder::with(&[("home/state", "the old state")]);
    steps::replace(&disk, Path::new("home/fresh"), Path::new("home/state"), b"the new state")
        .unwrap();
    check(&disk, "home/state", &[Some("the old state")], Some("the new state"));
}

#[test]
fn a_file_that_is_exchanged_is_the_old_one_or_the_new_one() {
    let disk = Recorder::with(&[("home/v", "the old vault")]);
    let (made, place) = (Path::new("home/.v.vaultstore-new/vault"), Path::new("home/v"));
    disk.now.borrow_mut().folders.push("home/.v.vaultstore-new".into());
    disk.create(made, b"the vault, written again").unwrap();
    steps::exchange(&disk, made, place).unwrap();
    check(&disk, "home/v", &[Some("the old vault")], Some("the vault, written again"));
}

#[test]
fn a_file_that_is_removed_does_not_come_back() {
    let disk = Recorder::with(&[("home/state", "a finished run")]);
    steps::remove(&disk, Path::new("home/state")).unwrap();
    check(&disk, "home/state", &[Some("a finished run")], None);
}

#[test]
fn a_file_in_folders_that_are_new_is_there_with_them() {
    let disk = Recorder::with(&[]);
    // The folder `home` is on this disk and not on that of the test.
    for folder in ["home/a", "home/a/b"] {
        disk.create_folder(Path::new(folder)).unwrap();
        disk.sync_folder(Path::new(folder).parent().unwrap()).unwrap();
    }
    let (fresh, path) = (Path::new("home/a/b/fresh"), Path::new("home/a/b/state"));
    steps::replace(&disk, fresh, path, b"a state").unwrap();
    check(&disk, "home/a/b/state", &[None], Some("a state"));
}

#[test]
fn folders_are_created_with_a_flush_of_each_that_holds_a_new_one() {
    let disk = Recorder::default();
    steps::create_folder(&disk, Path::new("home/a/b")).unwrap();
    let log = disk.log.borrow();
    for folder in ["home", "home/a", "home/a/b"] {
        let made = log.iter().position(
            |change| matches!(change, Change::Folder { path } if path == Path::new(folder)),
        );
        let made = made.unwrap();
        assert!(log[made..].iter().any(|later| log[made].is_flushed_by(later)) || folder == "home");
    }
}
