//! Where scripts' outputs are kept: a file for each run, the oldest removed beyond a total.

use flockwork_core::execution::Run;
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The outputs of one node, as `{directory}/{job}/{shard}-{fire}-{attempt}.log`.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    total_cap: u64,
    /// What the files hold together, as far as this process knows; nothing before the first look.
    total: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct Kept {
    written: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// The file that holds a run's output under a node's output directory, if it wrote any.
#[must_use]
pub fn output_path(
    directory: &Path,
    job: &JobName,
    shard: ShardIndex,
    due: Timestamp,
    attempt: u32,
) -> PathBuf {
    directory.join(job.as_str()).join(format!("{shard}-{due}-{attempt}.log"))
}

impl Store {
    pub(crate) fn new(directory: PathBuf, total_cap: u64) -> Self {
        Self { directory, total_cap, total: Mutex::new(None) }
    }

    /// Makes room and a directory for a run's output. Nobody but the node's user may look in.
    pub(crate) fn prepare(&self, run: &Run) -> io::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = output_path(&self.directory, &run.job, run.shard, run.fire.due, run.attempt);
        let job = path.parent().unwrap_or(&self.directory);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(job)?;
        Ok(path)
    }

    /// Counts a run's output, and removes the oldest ones until nine tenths of the total are kept:
    /// so it is looked for them once in a while and not after each run.
    pub(crate) fn settle(&self, path: &Path) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match *total {
            Some(known) => {
                known.saturating_add(path.symlink_metadata().map_or(0, |meta| meta.len()))
            }
            None => sum(&self.all()),
        };
        *total = Some(if known > self.total_cap { self.prune() } else { known });
    }

    fn prune(&self) -> u64 {
        let mut kept = self.all();
        kept.sort_by(|a, b| (b.written, &b.path).cmp(&(a.written, &a.path)));
        let mut total = sum(&kept);
        while total > self.total_cap / 10 * 9 {
            let Some(oldest) = kept.pop() else { break };
            if let Err(error) = std::fs::remove_file(&oldest.path) {
                tracing::warn!(path = %oldest.path.display(), %error, "an old output stays");
            }
            total = total.saturating_sub(oldest.bytes);
        }
        total
    }

    /// What cannot be read is not counted, and not removed.
    fn all(&self) -> Vec<Kept> {
        files_in(&self.directory)
            .filter(|job| job.is_dir())
            .flat_map(|job| files_in(&job))
            .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
            .filter_map(|path| {
                let meta = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some(Kept { written: meta.modified().ok()?, path, bytes: meta.len() })
            })
            .collect()
    }
}

fn files_in(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn sum(kept: &[Kept]) -> u64 {
    kept.iter().map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::run_of;
    use std::time::Duration;

    #[test]
    fn the_oldest_outputs_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("output"), 1000);
        let mut run = run_of("job");
        for attempt in 1..=30 {
            run.attempt = attempt;
            let path = store.prepare(&run).unwrap();
            std::fs::write(&path, [b'x'; 100]).unwrap();
            let age = Duration::from_secs(u64::from(1000 - attempt));
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            store.settle(&path);
        }
        let left = store.all();
        assert!(sum(&left) <= 1000 && sum(&left) >= 900, "{}", left.len());
        assert!(output_path(&store.directory, &run.job, 2, run.fire.due, 30).exists());
        assert!(!output_path(&store.directory, &run.job, 2, run.fire.due, 20).exists());
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), 0);
        let path = store.prepare(&run_of("job")).unwrap();
        let other = path.with_extension("txt");
        std::fs::write(&other, "keep").unwrap();
        std::fs::write(&path, "go").unwrap();
        store.settle(&path);
        assert!(other.exists() && !path.exists());
    }
}
