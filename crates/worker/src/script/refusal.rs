//! Why a script is not started.

use super::environment::PATH;
use std::io;
use std::path::PathBuf;

/// Why a script is not started. The text begins with the code and names the path, the limit and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No entry covers it.
    #[error(
        "SCRIPT_NOT_ALLOWED: {} is not permitted; name it or its directory in scripts.allow of \
         this node's own settings", .path.display()
    )]
    NotAllowed {
        /// The program, all links resolved where it exists.
        path: PathBuf,
    },
    /// Others than root and the node's user may change or replace it.
    #[error(
        "SCRIPT_WRITABLE: {} can be changed by others ({how}), so {} is not executed; take that \
         right away (chmod go-w, chown)", .at.display(), .path.display()
    )]
    Writable {
        /// The program.
        path: PathBuf,
        /// The file or directory that is not safe.
        at: PathBuf,
        /// Who may write it.
        how: String,
    },
    /// It is not there.
    #[error("PROGRAM_MISSING: {} does not exist; put it there, or correct the path", .path.display())]
    Missing {
        /// As it was looked for.
        path: PathBuf,
    },
    /// A name without a directory that the search path does not have.
    #[error("PROGRAM_MISSING: {name:?} is in none of {PATH}; give its path")]
    NotInPath {
        /// The name.
        name: String,
    },
    /// It is a directory.
    #[error("PROGRAM_IS_DIRECTORY: {} is a directory; name a program in it", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// It is a device, pipe or socket.
    #[error("PROGRAM_NOT_A_FILE: {} is no regular file; name a program", .path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// No one may execute it.
    #[error("NOT_EXECUTABLE: {} is not executable; chmod +x", .path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The node's user may not execute it.
    #[error(
        "NOT_EXECUTABLE: {} may not be executed by user {user}; its mode, an access list, or a file system \
         mounted noexec does not permit it", .path.display()
    )]
    NotPermitted {
        /// The file.
        path: PathBuf,
        /// The node's user.
        user: u32,
    },
    /// The kernel would not know what to do with it.
    #[error(
        "EXEC_FORMAT: {} is no program for this machine and no script with a first line like #!/bin/sh; \
         write that as its first line", .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Its first line names a program that is not there.
    #[error(
        "INTERPRETER_MISSING: the first line of {} names an interpreter that is not there: {interpreter:?}; \
         install it, or correct the line (a \\r in it is a line end of Windows)", .path.display()
    )]
    NoInterpreter {
        /// The script.
        path: PathBuf,
        /// As the line names it.
        interpreter: String,
    },
    /// Its first line names what is no program.
    #[error(
        "NOT_EXECUTABLE: the first line of {} names what cannot be executed: {interpreter:?}; correct it",
        .path.display()
    )]
    BadInterpreter {
        /// The script.
        path: PathBuf,
        /// As the line names it.
        interpreter: String,
    },
    /// There is no program.
    #[error("COMMAND_EMPTY: the script names no program; write its path")]
    NoProgram,
    /// An argument that no program can be given.
    #[error("ARGUMENT_CHAR: argument {at} of the script holds a NUL character; leave it out")]
    Nul {
        /// Which one, the program being 0.
        at: usize,
    },
    /// An argument that the kernel refuses.
    #[error(
        "ARGUMENT_TOO_LONG: {} has {bytes} bytes, the kernel takes {limit}; keep long parameters in a file, \
         and give the job its path", argument_name(*.at, *.is_context)
    )]
    TooLong {
        /// Which one, the program being 0.
        at: usize,
        /// Whether it is the context, with the job's parameters in it.
        is_context: bool,
        /// Its length.
        bytes: usize,
        /// The longest that can be given.
        limit: usize,
    },
    /// Whether it is permitted cannot be known.
    #[error("PROGRAM_UNREADABLE: {}: {source}; whether it may be run cannot be known", .path.display())]
    Unreadable {
        /// What could not be looked at.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn argument_name(at: usize, is_context: bool) -> String {
    match is_context {
        true => format!("argument {at}, the context with the job's parameters, escaped,"),
        false => format!("argument {at} of the script"),
    }
}

impl Refusal {
    /// What it is called, as docs/errors.md has it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "SCRIPT_NOT_ALLOWED",
            Self::Writable { .. } => "SCRIPT_WRITABLE",
            Self::Missing { .. } | Self::NotInPath { .. } => "PROGRAM_MISSING",
            Self::Directory { .. } => "PROGRAM_IS_DIRECTORY",
            Self::NotAFile { .. } => "PROGRAM_NOT_A_FILE",
            Self::NotExecutable { .. }
            | Self::NotPermitted { .. }
            | Self::BadInterpreter { .. } => "NOT_EXECUTABLE",
            Self::Format { .. } => "EXEC_FORMAT",
            Self::NoInterpreter { .. } => "INTERPRETER_MISSING",
            Self::NoProgram => "COMMAND_EMPTY",
            Self::Nul { .. } => "ARGUMENT_CHAR",
            Self::TooLong { .. } => "ARGUMENT_TOO_LONG",
            Self::Unreadable { .. } => "PROGRAM_UNREADABLE",
        }
    }

    /// What is wrong and what to do, without the code.
    #[must_use]
    pub fn message(&self) -> String {
        let text = self.to_string();
        let message = text.strip_prefix(self.code()).and_then(|rest| rest.strip_prefix(": "));
        message.map(str::to_owned).unwrap_or(text)
    }
}
