//! Counts what test runners report.

use std::ops::AddAssign;

/// Tests counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Reads `test result: ok. 3 passed; 1 failed; 2 ignored; ...`; nothing for any other line. An
    /// ignored test counts as failed: what is not run proves nothing.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let numbers = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let of = |word: &str| {
            numbers.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok())
        };
        Some(Self { passed: of("passed")?, failed: of("failed")? + of("ignored").unwrap_or(0) })
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runners_summary_is_counted_and_ignored_tests_fail() {
        let line = "test result: FAILED. 7 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out";
        assert_eq!(Count::from_line(line), Some(Count { passed: 7, failed: 3 }));
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in ["", "running 3 tests", "test a::b ... ok", "test result: strange"] {
            assert_eq!(Count::from_line(line), None, "{line}");
        }
    }
}
