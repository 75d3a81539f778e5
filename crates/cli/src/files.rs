//! Reading job files. A path may name anything: a pipe that never ends, a device, a directory.

use crate::fault::{Exit, Fault};
use crate::place::environment;
use crate::problem::{self, Placed};
use flockwork_core::config::{Code, JobConfig, Problem};
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use flockwork_layout::file::{self, File, Positions, Reading};
use flockwork_layout::settings::Written;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest job file: a hundred thousand jobs of ten lines would be better off in several.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What all files of one command line say together.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The jobs, in the order of the files.
    pub(crate) jobs: Vec<JobConfig>,
    /// In which file each job is, and where there.
    pub(crate) places: BTreeMap<JobName, (String, Positions)>,
    /// What they say about the node; `scripts.allow` with absolute paths.
    pub(crate) node: Written,
    /// Where scripts start: the directory of the first file that allows some, else of the first.
    pub(crate) directory: PathBuf,
}

/// Reads all files. Everything that is wrong in any of them is told, and nothing is served if
/// anything is.
pub(crate) fn load(paths: &[PathBuf], zone: Option<&str>, now: Timestamp) -> Result<Loaded, Fault> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let mut file = read(path, zone, now)?;
        let source = path.display().to_string();
        problems.extend(file.problems.drain(..).map(|problem| (Some(source.clone()), problem)));
        files.push((path, file));
    }
    let loaded = join(files, &mut problems);
    problem::warn(&problems);
    match problems.iter().any(|(_, problem)| problem.is_error()) {
        true => Err(problem::refused(&problems)),
        false => Ok(loaded),
    }
}

fn read(path: &Path, zone: Option<&str>, now: Timestamp) -> Result<File, Fault> {
    let bytes = bytes_of(path).map_err(|why| {
        Fault::new(Exit::Invalid, "CONFIG_READ", format!("{}: {why}", path.display()))
    })?;
    let source = path.display().to_string();
    let reading = Reading { source: &source, now, default_zone: zone, environment: &environment };
    Ok(file::read(&bytes, reading))
}

/// Opened without waiting for a writer, and read only if it is a file and not too large.
fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|why| why.to_string())?;
    let meta = file.metadata().map_err(|why| why.to_string())?;
    if meta.is_dir() {
        return Err("is a directory; name the files in it".to_owned());
    }
    if !meta.is_file() {
        return Err("is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(format!("is larger than {} MiB", MAX_BYTES / 1024 / 1024)),
        false => Ok(bytes),
    }
}

fn join(files: Vec<(&PathBuf, File)>, problems: &mut Vec<Placed>) -> Loaded {
    let mut jobs: Vec<JobConfig> = Vec::new();
    let mut places = BTreeMap::new();
    let mut node = Written::default();
    let mut directory = None;
    let mut first = None;
    for (path, file) in files {
        let at = home(path);
        let source = path.display().to_string();
        places.extend(file.positions.into_iter().map(|(job, at)| (job, (source.clone(), at))));
        for job in file.jobs {
            if jobs.iter().any(|other| other.name == job.name) {
                let place = format!("jobs.{}", job.name);
                let twice = Problem::error(Code::DuplicateKey, place, "is in two files");
                problems.push((Some(path.display().to_string()), twice));
            }
            jobs.push(job);
        }
        for (name, (text, position)) in file.node.texts {
            let earlier = node.texts.insert(name, (text.clone(), position));
            if earlier.is_some_and(|(other, _)| other != text) {
                let place = format!("node.{name}");
                let clash = Problem::error(Code::Conflict, place, "two files say otherwise");
                problems.push((Some(path.display().to_string()), clash.at(Some(position))));
            }
        }
        if !file.node.scripts_allow.is_empty() {
            let absolute =
                file.node.scripts_allow.iter().map(|entry| at.join(entry).display().to_string());
            node.scripts_allow.extend(absolute);
            directory.get_or_insert_with(|| at.clone());
        }
        first.get_or_insert(at);
    }
    let directory = directory.or(first).unwrap_or_else(|| "/".into());
    Loaded { jobs, places, node, directory }
}

/// The directory of a file, absolute.
fn home(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    parent.canonicalize().or_else(|_| std::path::absolute(parent)).unwrap_or(parent.to_owned())
}
