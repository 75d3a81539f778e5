//! Whether a node could run a script: asked at the start of each run, and when a job file is checked.

use super::{Refusal, Scripts};
use flockwork_core::execution::Script;
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How much of a file the kernel looks at to see what it is.
const BEGINNING: u64 = 256;

/// How many pages the kernel takes for one argument, its end included.
const ARGUMENT_PAGES: usize = 32;

/// The pages of most machines; none has smaller ones.
const SMALL_PAGE: usize = 4096;

impl Scripts {
    /// The file to execute for `script` with `context` as its last argument, if this node can start it now.
    /// What cannot be known beforehand (a loader, a security policy, a file that may be executed but not
    /// read) is left to the start itself.
    ///
    /// # Errors
    /// [`Refusal`], each cause by its own code.
    pub fn startable(&self, script: &Script, context: &str) -> Result<PathBuf, Refusal> {
        let program = script.argv.first().ok_or(Refusal::NoProgram)?;
        let path = self.executable(program)?;
        check_arguments(&script.argv, context)?;
        Ok(path)
    }

    /// The file to execute for `program`, whatever it is given.
    pub(super) fn executable(&self, program: &str) -> Result<PathBuf, Refusal> {
        if program.contains('\0') {
            return Err(Refusal::Nul { at: 0 });
        }
        let path = self.allow.permit(program, &self.cwd)?;
        may_execute(&path)?;
        check_beginning(&path, &self.cwd)?;
        Ok(path)
    }
}

/// Whether the kernel takes these arguments, the program being the first, and the context after them.
pub(super) fn check_arguments(argv: &[String], context: &str) -> Result<(), Refusal> {
    match argv.iter().position(|argument| argument.contains('\0')) {
        Some(at) => Err(Refusal::Nul { at }),
        None => check_lengths(argv, context),
    }
}

fn may_execute(path: &Path) -> Result<(), Refusal> {
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()) {
        Err(Errno::ACCESS) => {
            let user = rustix::process::geteuid().as_raw();
            Err(Refusal::NotPermitted { path: path.to_owned(), user })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// By the kernel's own rules: a program, or `#!` and an interpreter.
fn check_beginning(path: &Path, cwd: &Path) -> Result<(), Refusal> {
    let Some(beginning) = beginning_of(path) else { return Ok(()) };
    if beginning.starts_with(b"\x7fELF") {
        return Ok(());
    }
    match interpreter_in(&beginning) {
        Some(interpreter) => check_interpreter(path, interpreter, cwd),
        None if knows_other_formats() => Ok(()),
        None => Err(Refusal::Format { path: path.to_owned() }),
    }
}

/// Nothing if it cannot be read, which need not keep it from being executed.
fn beginning_of(path: &Path) -> Option<Vec<u8>> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).ok()?;
    let mut beginning = Vec::new();
    file.take(BEGINNING).read_to_end(&mut beginning).ok()?;
    Some(beginning)
}

fn interpreter_in(beginning: &[u8]) -> Option<&[u8]> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = &line[line.iter().position(|byte| !is_space(byte))?..];
    let name = line.split(|byte| is_space(byte) || *byte == 0).next()?;
    (!name.is_empty()).then_some(name)
}

/// Relative ones are so to where the script starts.
fn check_interpreter(path: &Path, name: &[u8], cwd: &Path) -> Result<(), Refusal> {
    let file = cwd.join(OsStr::from_bytes(name));
    let interpreter = String::from_utf8_lossy(name).into_owned();
    match file.metadata() {
        Ok(meta) if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 => {
            Err(Refusal::BadInterpreter { path: path.to_owned(), interpreter })
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Refusal::NoInterpreter { path: path.to_owned(), interpreter })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether this system was taught to execute other files (`binfmt_misc`): which ones is its own matter.
fn knows_other_formats() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc/sys/fs/binfmt_misc") else { return false };
    entries.flatten().any(|entry| entry.file_name() != "register" && entry.file_name() != "status")
}

fn check_lengths(argv: &[String], context: &str) -> Result<(), Refusal> {
    let arguments = argv.iter().map(String::as_str).chain([context]);
    let long = |(_, argument): &(usize, &str)| argument.len() >= ARGUMENT_PAGES * SMALL_PAGE;
    let Some((at, argument)) = arguments.enumerate().find(long) else { return Ok(()) };
    let limit = ARGUMENT_PAGES * page_size() - 1;
    if argument.len() <= limit {
        return Ok(());
    }
    Err(Refusal::TooLong { at, is_context: at == argv.len(), bytes: argument.len(), limit })
}

/// As the kernel told this process at its start.
fn page_size() -> usize {
    const PAGE_SIZE_ENTRY: usize = 6;
    let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().unwrap_or_default());
    let told = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let entries = told.chunks_exact(2 * size_of::<usize>());
    let found = entries
        .map(|entry| entry.split_at(size_of::<usize>()))
        .find_map(|(kind, value)| (word(kind) == PAGE_SIZE_ENTRY).then(|| word(value)));
    found.unwrap_or(SMALL_PAGE).max(SMALL_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read_as_the_kernel_reads_it() {
        for (beginning, interpreter) in [
            (&b"#!/bin/sh\nexit"[..], Some(&b"/bin/sh"[..])),
            (b"#! \t/bin/sh -e\n", Some(b"/bin/sh")),
            (b"#!/bin/sh\r\n", Some(b"/bin/sh\r")),
            (b"#!/bin/sh", Some(b"/bin/sh")),
            (b"#!\n/bin/sh\n", None),
            (b"#!  \n", None),
            (b"#!", None),
            (b"# !/bin/sh\n", None),
            (b"", None),
            (b"\xef\xbb\xbf#!/bin/sh\n", None),
        ] {
            let shown = beginning.escape_ascii().to_string();
            assert_eq!(interpreter_in(beginning), interpreter, "{shown}");
        }
    }

    #[test]
    fn the_longest_argument_is_just_short_of_32_pages() {
        let page = page_size();
        assert!(page.is_power_of_two());
        let argv = ["x".to_owned(), "y".repeat(32 * page - 1)];
        assert!(check_lengths(&argv, "{}").is_ok());
        let refused = check_lengths(&argv[..1], &"z".repeat(32 * page)).unwrap_err().to_string();
        assert!(refused.starts_with("ARGUMENT_TOO_LONG: argument 1, the context"), "{refused}");
    }
}
