//! Why no process of a script could be started, each cause by its own code.

use super::message::Spec;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io;

/// Why node, guard or runner could not do their part.
pub(crate) fn start_failure(error: &io::Error) -> String {
    scarcity(error).unwrap_or_else(|| format!("RUNNER_FAILED: {error}"))
}

/// What the process or the system has run out of, if it is that, with the limit and what to do.
fn scarcity(error: &io::Error) -> Option<String> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
            Some(format!(
                "OPEN_FILES_LIMIT: a process of the node has no room for another open file (EMFILE; its \
                 limit is {limit}); raise the limit (ulimit -n, LimitNOFILE= of the service) or lower \
                 max_running"
            ))
        }
        Errno::NFILE => {
            let limit = std::fs::read_to_string("/proc/sys/fs/file-max");
            let limit = limit.as_deref().map_or("not told", str::trim);
            Some(format!(
                "OPEN_FILES_LIMIT: the system has no room for another open file (ENFILE; fs.file-max is \
                 {limit}); raise it (sysctl fs.file-max), end what holds many files open, or lower \
                 max_running"
            ))
        }
        Errno::AGAIN | Errno::NOMEM => Some(format!(
            "NO_PROCESS: the system starts no more processes: {error}; raise the limit (ulimit -u, \
             TasksMax= of the service), add memory, or lower max_running"
        )),
        _ => None,
    }
}

/// Why a program that is there and permitted did not start.
pub(super) fn spawn_failure(spec: &Spec, error: &io::Error) -> String {
    let path = spec.program.display();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => format!(
            "INTERPRETER_MISSING: {path} names an interpreter that is not there (its first line, \
             or its loader), or was removed just now"
        ),
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "NOT_EXECUTABLE: {path}: {error}; its interpreter, its file system (noexec) or a \
             security policy does not permit it"
        ),
        Some(Errno::NOEXEC) => format!(
            "EXEC_FORMAT: {path} is no program for this machine and no script with a first line \
             like #!/bin/sh"
        ),
        Some(Errno::TOOBIG) => format!(
            "ARGUMENT_TOO_LONG: the arguments of {path} are too long; the kernel takes 131071 bytes \
             each, and a quarter of the stack's limit (ulimit -s) for all; keep long parameters in a file"
        ),
        Some(Errno::TXTBSY) => format!("BEING_WRITTEN: {path} is open for writing"),
        _ => scarcity(error).unwrap_or_else(|| format!("SPAWN_FAILED: {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_told_by_its_name_and_with_its_limit() {
        for (errno, code, said) in [
            (Errno::MFILE, "OPEN_FILES_LIMIT: a process", "its limit is "),
            (Errno::NFILE, "OPEN_FILES_LIMIT: the system", "fs.file-max is "),
            (Errno::AGAIN, "NO_PROCESS: ", "ulimit -u"),
            (Errno::PIPE, "RUNNER_FAILED: ", ""),
        ] {
            let text = start_failure(&errno.into());
            assert!(text.starts_with(code) && text.contains(said), "{text}");
        }
    }
}
