//! What comes from outside as bytes: arguments and paths.

use flockwork_core::config::{Code, Problem};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The text of a command line argument.
///
/// # Errors
/// `ARG_NOT_UTF8`, with the first byte that is none.
pub fn text_of_argument(argument: &OsStr) -> Result<&str, Problem> {
    std::str::from_utf8(argument.as_bytes()).map_err(|why| {
        let at = why.valid_up_to();
        let message = format!("an argument is not UTF-8 at byte {at}");
        let shown = argument.as_bytes().escape_ascii().to_string();
        Problem {
            value: Some(shown.chars().take(120).collect()),
            ..Problem::error(Code::ArgNotUtf8, "", message)
        }
    })
}

/// The problem of a file that the system does not let us read.
#[must_use]
pub fn unreadable(path: &Path, why: &io::Error) -> Problem {
    let path = path.display().to_string();
    Problem::error(Code::ConfigRead, "", format!("cannot be read: {why}")).with_value(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_no_text_is_shown_by_its_bytes() {
        assert_eq!(text_of_argument(OsStr::new("é")), Ok("é"));
        let problem = text_of_argument(OsStr::from_bytes(b"a\xff")).unwrap_err();
        assert_eq!((problem.code, problem.value.as_deref()), (Code::ArgNotUtf8, Some("a\\xff")));
    }
}
