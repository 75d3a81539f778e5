//! A process with a wall clock of its own, by `libfaketime`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Mounts shared memory that is the process's alone, finds the library there and becomes the program.
///
/// The library, and the command that tells where it is, name what they share after a process number,
/// and leave it behind where they are killed: where numbers come again, as in namespaces, the command
/// would fail, and the clock be the true one.
const ALONE: &str = r#"mount -t tmpfs none /dev/shm || exit 70
library=$(faketime -f +0 printenv LD_PRELOAD) || exit 71
LD_PRELOAD=$library exec "$0" "$@""#;

/// A program whose wall clock is as far from the true one as a file says, in seconds (`-60`, `+3600`),
/// all the time. It has no other environment than that and what is added; its process number is the
/// one that is spawned.
pub fn with_clock(program: impl AsRef<OsStr>, file: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ALONE]).arg(program).env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn its_clock_is_as_far_off_as_the_file_says() {
        let directory = tempfile::tempdir().expect("there is room");
        let file = directory.path().join("clock");
        std::fs::write(&file, "-3600").expect("it can be written");
        let output = with_clock("date", &file).arg("+%s").output();
        let output = output.expect("unshare is there: run `cargo xtask setup`");
        let told = String::from_utf8_lossy(&output.stdout).trim().parse::<i64>();
        let told = told.unwrap_or_else(|_| panic!("{}: {output:?}", output.status));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        assert!((now.cast_signed() - 3_600 - told).abs() < 60, "{told} at {now}");
    }
}
