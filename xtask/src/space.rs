//! Room on the disk: a build that runs out of it fails in a hundred places, none of which says so.

use crate::step;
use std::path::Path;

/// What a clean checkout's builds for the tests take in all, in KiB: 3.2 GiB, and room for the tests.
const NEEDED: u64 = 7 * 1024 * 1024 / 2;

/// Says so if the disk that `target` lies on has no room for what is still to be built.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), |dir| root.join(dir));
    std::fs::create_dir_all(&target).map_err(|why| format!("{}: {why}", target.display()))?;
    let path = target.to_string_lossy();
    let free = number(&step::output(root, "df", &["-Pk", &path])?, 1, 3);
    let built = number(&step::output(root, "du", &["-sk", &path])?, 0, 0);
    match (free, built) {
        (Some(free), Some(built)) => judge(free, built, &path),
        // Not known is not too little.
        _ => Ok(()),
    }
}

fn judge(free: u64, built: u64, path: &str) -> Result<(), String> {
    let missing = NEEDED.saturating_sub(built);
    if free >= missing {
        return Ok(());
    }
    let mib = |kib: u64| kib / 1024;
    Err(format!(
        "{path}: its disk has {} MiB free, the builds still take up to {} MiB; make room, or set \
         CARGO_TARGET_DIR to a folder on another disk",
        mib(free),
        mib(missing)
    ))
}

/// The number in a column of a line of a table.
fn number(table: &str, line: usize, column: usize) -> Option<u64> {
    table.lines().nth(line)?.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_said_and_what_is_built_counts() {
        assert_eq!(judge(NEEDED, 0, "/t"), Ok(()));
        assert_eq!(judge(10, NEEDED, "/t"), Ok(()));
        let why = judge(1024, NEEDED - 2048, "/t").unwrap_err();
        assert!(
            why.starts_with("/t: its disk has 1 MiB free, the builds still take up to 2 MiB"),
            "{why}"
        );
    }

    #[test]
    fn this_disk_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let table = step::output(root, "df", &["-Pk", "."]).unwrap();
        assert!(number(&table, 1, 3).is_some(), "{table}");
        let table = step::output(root, "du", &["-sk", "src"]).unwrap();
        assert!(number(&table, 0, 0).is_some_and(|kib| kib > 0), "{table}");
    }
}
