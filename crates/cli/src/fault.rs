//! What a command answers when it cannot do what it was asked: `error[CODE]: what`, `hint: what to
//! do`, and an exit code that scripts can rely on.

use serde_json::json;
use std::fmt::Write as _;

/// The exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The operation failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file, an expression or a setting is wrong.
    Invalid = 3,
    /// There is no such thing.
    NotFound = 4,
    /// It contradicts what is.
    Conflict = 5,
    /// The registry is away, or gave no answer.
    Registry = 7,
    /// It took too long.
    Timeout = 8,
}

/// Why a command did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The stable code; see docs/errors.md.
    pub(crate) code: &'static str,
    /// What the process exits with.
    pub(crate) exit: Exit,
    /// What is wrong, and where.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, exit, message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// As lines for people. What was quoted from outside cannot steer a terminal.
    pub(crate) fn text(&self) -> String {
        let message = crate::output::escaped(&self.message);
        let mut text = format!("error[{}]: {message}\n", self.code);
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {}", crate::output::escaped(hint));
        }
        text
    }

    /// As [`Self::text`], of what is told and not refused.
    pub(crate) fn warning(&self) -> String {
        self.text().replacen("error[", "warning[", 1)
    }

    /// As one line of JSON for programs.
    pub(crate) fn json(&self) -> String {
        let problem = json!({ "code": self.code, "detail": self.message, "hint": self.hint });
        format!("{problem}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_code_a_sentence_and_a_hint() {
        let fault = Fault::new(Exit::NotFound, "JOB_NOT_FOUND", "no job \u{1b}[2Jx").hint("try y");
        assert_eq!(fault.text(), "error[JOB_NOT_FOUND]: no job \\u{1b}[2Jx\nhint: try y\n");
        assert_eq!(
            fault.json(),
            "{\"code\":\"JOB_NOT_FOUND\",\"detail\":\"no job \\u001b[2Jx\",\"hint\":\"try y\"}\n"
        );
    }
}
