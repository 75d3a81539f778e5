//! Which programs a node executes: what its own settings name, whatever the registry says.

use super::Refusal;
use super::environment::PATH;
use rustix::process::geteuid;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// The programs and directories a node's own settings permit. Empty permits nothing.
///
/// A program passes if, all links resolved, it is one of the entries or lies in or below one; is a
/// regular, executable file; and nobody but root and the node's own user can change it or put
/// another in its place: the file and every directory above it belong to one of the two and are
/// not writable for group or others. (A sticky directory such as `/tmp` may be: others cannot
/// replace what is in it. Neither does the group of one's own that many systems give each user
/// count: group number = user number, and not root's.)
///
/// The file is named to the kernel by its resolved path, not by an open descriptor, since a script
/// executed by descriptor is told `/proc/self/fd/N` as its own name. Between check and execution
/// only root and the node's own user could exchange the file, and they need no race for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    entries: Vec<PathBuf>,
}

impl Allowlist {
    /// Permits these programs, and all programs in and below these directories. Entries may be
    /// links and need not exist yet: they are resolved at each run. A relative one permits
    /// nothing.
    #[must_use]
    pub fn new(entries: Vec<PathBuf>) -> Self {
        Self { entries }
    }

    /// Whether it permits nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The file to execute for `program`: a path, relative to `cwd` unless absolute, or a name
    /// that is looked for in a fixed search path (not the node's).
    ///
    /// # Errors
    /// [`Refusal`], each cause by its own code.
    pub fn permit(&self, program: &str, cwd: &Path) -> Result<PathBuf, Refusal> {
        let path = locate(program, cwd)?;
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return Err(self.unresolved(path, error)),
        };
        if !self.entries().any(|entry| real.starts_with(entry)) {
            return Err(Refusal::NotAllowed { path: real });
        }
        check_file(&real)?;
        check_owners(&real)?;
        Ok(real)
    }

    /// Whether an entry covers `program` as both are written, links aside: what only a link leads out of
    /// the list may be in order on another host.
    #[must_use]
    pub fn names(&self, program: &str, cwd: &Path) -> bool {
        let Ok(path) = locate(program, cwd) else { return false };
        self.entries.iter().any(|entry| folded(&path).starts_with(folded(entry)))
    }

    fn entries(&self) -> impl Iterator<Item = PathBuf> {
        self.entries
            .iter()
            .filter(|entry| entry.is_absolute())
            .filter_map(|entry| entry.canonicalize().ok())
    }

    /// A path outside the list is not permitted whether it exists or not.
    fn unresolved(&self, path: PathBuf, source: io::Error) -> Refusal {
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        let inside = parent.is_some_and(|parent| {
            let there = path.file_name().map_or_else(|| parent.clone(), |name| parent.join(name));
            self.entries().any(|entry| there.starts_with(entry))
        });
        match source.kind() {
            _ if !inside && !self.entries.contains(&path) => Refusal::NotAllowed { path },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Refusal::Missing { path },
            _ => Refusal::Unreadable { path, source },
        }
    }
}

fn locate(program: &str, cwd: &Path) -> Result<PathBuf, Refusal> {
    if program.contains('/') {
        return Ok(cwd.join(program));
    }
    PATH.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| !program.is_empty() && path.is_file())
        .ok_or_else(|| Refusal::NotInPath { name: program.chars().take(120).collect() })
}

/// Without `.` and `..`, as far as that is a matter of words.
fn folded(path: &Path) -> PathBuf {
    let mut folded = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(folded.pop()),
            Component::CurDir => {}
            part => folded.push(part),
        }
    }
    folded
}

fn look_at(path: &Path) -> Result<Metadata, Refusal> {
    path.symlink_metadata().map_err(|source| Refusal::Unreadable { path: path.to_owned(), source })
}

fn check_file(path: &Path) -> Result<(), Refusal> {
    let meta = look_at(path)?;
    if meta.is_dir() {
        return Err(Refusal::Directory { path: path.to_owned() });
    }
    if !meta.is_file() {
        return Err(Refusal::NotAFile { path: path.to_owned() });
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(Refusal::NotExecutable { path: path.to_owned() });
    }
    Ok(())
}

fn check_owners(path: &Path) -> Result<(), Refusal> {
    for at in path.ancestors() {
        if let Some(how) = others_may_write(&look_at(at)?) {
            return Err(Refusal::Writable { path: path.to_owned(), at: at.to_owned(), how });
        }
    }
    Ok(())
}

fn others_may_write(meta: &Metadata) -> Option<String> {
    let (user, mode) = (geteuid().as_raw(), meta.permissions().mode());
    if meta.uid() != 0 && meta.uid() != user {
        return Some(format!("it belongs to user {}", meta.uid()));
    }
    if meta.is_dir() && mode & 0o1000 != 0 {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some("everyone may write it".to_owned());
    }
    let group_is_own = user != 0 && meta.gid() == user;
    if mode & 0o020 != 0 && !group_is_own {
        return Some(format!("group {} may write it", meta.gid()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `jobs/ok.sh` is all right; `outside/evil.sh` would be, but for where it is.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o755);
        for (name, file) in [("jobs", "ok.sh"), ("outside", "evil.sh")] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            chmod(&folder, 0o755);
            fs::write(folder.join(file), "#!/bin/sh\n").unwrap();
            chmod(&folder.join(file), 0o755);
        }
        dir
    }

    fn code(list: &Allowlist, program: &str, cwd: &Path) -> String {
        match list.permit(program, cwd) {
            Ok(_) => "OK".to_owned(),
            Err(refusal) => refusal.to_string().split(':').next().unwrap().to_owned(),
        }
    }

    #[test]
    fn only_what_is_listed_is_permitted() {
        let dir = tree();
        let at = dir.path();
        let jobs = Allowlist::new(vec![at.join("jobs")]);
        let exact = Allowlist::new(vec![at.join("jobs/ok.sh")]);
        let prefix = Allowlist::new(vec![at.join("jo")]);
        let relative = Allowlist::new(vec!["jobs".into()]);
        let linked = Allowlist::new(vec![at.join("link")]);
        symlink(at.join("jobs"), at.join("link")).unwrap();
        for list in [&jobs, &exact, &linked] {
            assert_eq!(list.permit("jobs/ok.sh", at).unwrap(), at.join("jobs/ok.sh"));
            assert_eq!(code(list, "outside/evil.sh", at), "SCRIPT_NOT_ALLOWED");
            assert_eq!(code(list, "jobs/../outside/evil.sh", at), "SCRIPT_NOT_ALLOWED");
        }
        for list in [&prefix, &relative, &Allowlist::default()] {
            assert_eq!(code(list, "jobs/ok.sh", at), "SCRIPT_NOT_ALLOWED");
        }
    }

    #[test]
    fn a_link_out_of_the_list_leads_nowhere_and_one_within_does() {
        let dir = tree();
        let at = dir.path();
        let jobs = Allowlist::new(vec![at.join("jobs")]);
        symlink(at.join("outside/evil.sh"), at.join("jobs/out.sh")).unwrap();
        symlink("ok.sh", at.join("jobs/in.sh")).unwrap();
        assert_eq!(code(&jobs, "jobs/out.sh", at), "SCRIPT_NOT_ALLOWED");
        assert_eq!(jobs.permit("jobs/in.sh", at).unwrap(), at.join("jobs/ok.sh"));
    }

    #[test]
    fn what_others_can_change_is_not_executed() {
        let dir = tree();
        let at = dir.path();
        let jobs = Allowlist::new(vec![at.join("jobs")]);
        for (path, mode, safe) in
            [("jobs/ok.sh", 0o757, 0o755), ("jobs/ok.sh", 0o775, 0o755), ("jobs", 0o777, 0o755)]
        {
            // A group of the user's own would be no stranger.
            std::os::unix::fs::chown(at.join(path), None, Some(0)).ok();
            chmod(&at.join(path), mode);
            let group_is_own = geteuid().as_raw() != 0 && mode == 0o775;
            let expected = if group_is_own { "OK" } else { "SCRIPT_WRITABLE" };
            assert_eq!(code(&jobs, "jobs/ok.sh", at), expected, "{path} {mode:o}");
            chmod(&at.join(path), safe);
        }
        assert_eq!(code(&jobs, "jobs/ok.sh", at), "OK");
    }

    #[test]
    fn each_cause_has_its_code() {
        let dir = tree();
        let at = dir.path();
        let jobs = Allowlist::new(vec![at.join("jobs"), "/dev/null".into()]);
        fs::create_dir(at.join("jobs/sub")).unwrap();
        fs::write(at.join("jobs/plain"), "x").unwrap();
        chmod(&at.join("jobs/plain"), 0o644);
        for (program, expected) in [
            ("jobs/gone.sh", "PROGRAM_MISSING"),
            ("jobs/ok.sh/x", "PROGRAM_MISSING"),
            ("jobs/sub", "PROGRAM_IS_DIRECTORY"),
            ("jobs/plain", "NOT_EXECUTABLE"),
            ("/dev/null", "PROGRAM_NOT_A_FILE"),
            ("outside/gone.sh", "SCRIPT_NOT_ALLOWED"),
            ("no-such-program", "PROGRAM_MISSING"),
            ("", "PROGRAM_MISSING"),
        ] {
            assert_eq!(code(&jobs, program, at), expected, "{program}");
        }
    }

    #[test]
    fn a_path_is_named_as_it_is_written_whatever_links_say() {
        let list = Allowlist::new(vec!["/jobs/./sub".into()]);
        for (program, named) in [
            ("./sub/x.sh", true),
            ("other/../sub/x.sh", true),
            ("./sub/../x.sh", false),
            ("./subway/x.sh", false),
            ("/bin/sh", false),
            ("no-such-program", false),
        ] {
            assert_eq!(list.names(program, Path::new("/jobs")), named, "{program}");
        }
    }

    #[test]
    fn a_refusal_names_the_path_and_the_setting() {
        let text = Allowlist::default().permit("/bin/sh", Path::new("/")).unwrap_err().to_string();
        assert!(text.contains("sh is not permitted") && text.contains("scripts.allow"), "{text}");
    }
}
