//! A disk that keeps what was synced, and of the rest whatever chance leaves.
//!
//! Written and not synced: each sector of it may be there or not, in any order. Made, renamed or
//! removed, and the directory not synced: kept up to some point, as file systems keep a journal of
//! names; but only for that directory, so that the directory itself may be missing in its own.

use super::trace::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Numbers in an order that looks like chance, the same for the same seed (xorshift64*).
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).expect("31 bits") % bound.max(1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    lasting: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
    /// How many changes were made lasting before those.
    lasted: usize,
}

#[derive(Clone, Debug)]
enum Naming {
    File(PathBuf, usize),
    Dir(PathBuf),
    Gone(PathBuf),
}

impl Naming {
    fn path(&self) -> &Path {
        match self {
            Self::File(path, _) | Self::Dir(path) | Self::Gone(path) => path,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::File(path, file) => {
                self.files.insert(path.clone(), *file);
            }
            Naming::Dir(path) => {
                self.dirs.insert(path.clone());
            }
            Naming::Gone(path) => {
                self.files.remove(path);
            }
        }
    }
}

/// What a cut leaves of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Nothing,
    All,
    /// All up to some point.
    Prefix,
    /// Any sectors of so many bytes.
    Sectors(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    now: Names,
    lasting: Names,
    pending: Vec<Naming>,
    /// By thread: the file or directory, and how many of its changes it will make last.
    syncs: BTreeMap<u32, (PathBuf, usize)>,
    /// It says that it has synced, and has not.
    lies: bool,
}

impl Disk {
    pub(crate) fn new(root: &Path, lies: bool) -> Self {
        let mut disk = Self { lies, ..Self::default() };
        disk.now.dirs.insert(root.to_owned());
        disk.lasting.dirs.insert(root.to_owned());
        disk
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Make(path) if self.now.files.contains_key(path) => {}
            Step::Make(path) => {
                self.files.push(File::default());
                self.name(Naming::File(path.clone(), self.files.len() - 1));
            }
            Step::MakeDir(path) => self.name(Naming::Dir(path.clone())),
            Step::Write(path, at, bytes) => {
                self.file(path).pending.push(Change::Write(*at, bytes.clone()));
            }
            Step::Truncate(path, length) => {
                self.file(path).pending.push(Change::Truncate(*length));
            }
            Step::Remove(path) => self.name(Naming::Gone(path.clone())),
            Step::Rename(from, to) => {
                let file = self.now.files[from];
                self.name(Naming::File(to.clone(), file));
                self.name(Naming::Gone(from.clone()));
            }
            Step::SyncBegins(thread, path) => {
                let all = match self.now.files.get(path) {
                    Some(file) => self.files[*file].lasted + self.files[*file].pending.len(),
                    None => 0,
                };
                self.syncs.insert(*thread, (path.clone(), all));
            }
            Step::SyncEnds(thread) => self.sync_ends(*thread),
            Step::Tell(..) => {}
        }
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let file = self.now.files.get(path);
        let file = *file.unwrap_or_else(|| panic!("{} is not there", path.display()));
        &mut self.files[file]
    }

    fn name(&mut self, naming: Naming) {
        self.now.apply(&naming);
        self.pending.push(naming);
    }

    fn sync_ends(&mut self, thread: u32) {
        let (path, all) = self.syncs.remove(&thread).expect("it began");
        if self.lies {
            return;
        }
        if self.now.dirs.contains(&path) {
            let lasting = &mut self.lasting;
            self.pending.retain(|naming| {
                let of_it = naming.path().parent() == Some(&path);
                if of_it {
                    lasting.apply(naming);
                }
                !of_it
            });
            return;
        }
        let Some(file) = self.now.files.get(&path) else { return };
        let file = &mut self.files[*file];
        let count = all.saturating_sub(file.lasted);
        for change in file.pending.drain(..count) {
            apply(&mut file.lasting, &change);
        }
        file.lasted += count;
    }

    /// Whether a cut now could lose something written to this file.
    pub(crate) fn has_pending(&self, path: &Path) -> bool {
        let file = self.now.files.get(path);
        file.is_some_and(|file| !self.files[*file].pending.is_empty())
    }

    /// Writes what a cut now leaves into a directory, in the place of `root`. What SQLite keeps in
    /// shared memory is not kept.
    pub(crate) fn cut(&self, root: &Path, to: &Path, leaves: Leaves, chance: &mut Chance) {
        let mut names = self.lasting.clone();
        let kept = match leaves {
            Leaves::Nothing => 0,
            Leaves::All => self.pending.len(),
            Leaves::Prefix | Leaves::Sectors(_) => chance.below(self.pending.len() + 1),
        };
        self.pending[..kept].iter().for_each(|naming| names.apply(naming));
        let place = |path: &Path| to.join(path.strip_prefix(root).expect("all is below it"));
        for dir in names.dirs.iter().filter(|dir| has_all_above(&names, root, dir)) {
            fs::create_dir_all(place(dir)).expect("there is room");
        }
        for (path, file) in &names.files {
            let above = path.parent().expect("it is below the root");
            let whole = names.dirs.contains(above) && has_all_above(&names, root, above);
            if whole && !path.to_string_lossy().ends_with("-shm") {
                let content = self.files[*file].after_cut(leaves, chance);
                fs::write(place(path), content).expect("there is room");
            }
        }
    }

    /// What is there if nothing is cut.
    pub(crate) fn now(&self) -> BTreeMap<&Path, Vec<u8>> {
        let content = |file: &usize| self.files[*file].after_cut(Leaves::All, &mut Chance(1));
        self.now.files.iter().map(|(path, file)| (path.as_path(), content(file))).collect()
    }
}

/// A directory whose own name is lost is lost with all in it.
fn has_all_above(names: &Names, root: &Path, dir: &Path) -> bool {
    dir.ancestors().take_while(|above| above.starts_with(root)).all(|it| names.dirs.contains(it))
}

impl File {
    fn after_cut(&self, leaves: Leaves, chance: &mut Chance) -> Vec<u8> {
        let mut content = self.lasting.clone();
        let kept = match leaves {
            Leaves::Nothing => 0,
            Leaves::Prefix => chance.below(self.pending.len() + 1),
            Leaves::All | Leaves::Sectors(_) => self.pending.len(),
        };
        for change in &self.pending[..kept] {
            match (leaves, change) {
                (Leaves::Sectors(size), Change::Write(at, bytes)) => {
                    torn(&mut content, *at, bytes, size, chance);
                }
                (Leaves::Sectors(_), Change::Truncate(_)) if chance.coin() => {}
                _ => apply(&mut content, change),
            }
        }
        content
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(length) => content.resize(*length, 0),
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
    }
}

/// Writes those sectors that chance leaves.
fn torn(content: &mut Vec<u8>, at: usize, bytes: &[u8], size: usize, chance: &mut Chance) {
    let mut done = 0;
    while done < bytes.len() {
        let sector_ends = (at + done) / size * size + size;
        let end = bytes.len().min(sector_ends - at);
        if chance.coin() {
            apply(content, &Change::Write(at + done, bytes[done..end].to_vec()));
        }
        done = end;
    }
}
