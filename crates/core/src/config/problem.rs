//! What is wrong with a configuration, told so that it can be put right: a stable code, where, which
//! value, which limit, and what to write instead.

use std::borrow::Cow;
use std::fmt;

/// The longest value a problem shows, in characters.
pub const SHOWN_CHARACTERS: usize = 120;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Stable names of what can be wrong. They never change and are never used again for
        /// something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it is written in answers and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// A name is empty or white space.
    NameEmpty = "NAME_EMPTY",
    /// A name holds a character that not every registry takes.
    NameChar = "NAME_CHAR",
    /// A name belongs to the registry or means a path.
    NameReserved = "NAME_RESERVED",
    /// A name reads like another one that exists.
    NameConfusable = "NAME_CONFUSABLE",
    /// A name is too long.
    NameTooLong = "NAME_TOO_LONG",
    /// An argument is not UTF-8.
    ArgNotUtf8 = "ARG_NOT_UTF8",
    /// A cron expression is empty.
    CronEmpty = "CRON_EMPTY",
    /// A cron expression has too few or too many fields.
    CronFields = "CRON_FIELDS",
    /// A number in a cron expression is outside its field's range.
    CronRange = "CRON_RANGE",
    /// A step in a cron expression is 0 or wider than its field.
    CronStep = "CRON_STEP",
    /// A cron expression will never be due again.
    CronNever = "CRON_NEVER",
    /// Day of month and day of week contradict each other.
    CronDomDow = "CRON_DOM_DOW",
    /// A cron expression cannot be read.
    CronSyntax = "CRON_SYNTAX",
    /// A text is too long.
    TooLong = "TOO_LONG",
    /// A time zone is not known, or means different things in different places.
    TzUnknown = "TZ_UNKNOWN",
    /// A duration cannot be read, or is outside its bounds.
    Duration = "DURATION",
    /// An instant cannot be read.
    Timestamp = "TIMESTAMP",
    /// An end lies before its start, or in the past.
    RangeOrder = "RANGE_ORDER",
    /// A number is outside its bounds.
    Limit = "LIMIT",
    /// The number of shards is outside its bounds.
    ShardsRange = "SHARDS_RANGE",
    /// A shard has two parameters.
    ParamDuplicate = "PARAM_DUPLICATE",
    /// Shard parameters cannot be read.
    ParamSyntax = "PARAM_SYNTAX",
    /// A parameter is for a shard that does not exist.
    ParamIndex = "PARAM_INDEX",
    /// A parameter is longer than a program takes as an argument.
    ParamTooLong = "PARAM_TOO_LONG",
    /// A parameter holds a character that no program takes as an argument.
    ParamChar = "PARAM_CHAR",
    /// A sharding strategy is not known.
    StrategyUnknown = "STRATEGY_UNKNOWN",
    /// A word is none of those that are known here.
    ValueUnknown = "VALUE_UNKNOWN",
    /// A value has another type than its key takes.
    Type = "TYPE",
    /// A key that must be there is missing.
    Required = "REQUIRED",
    /// Two settings contradict each other.
    Conflict = "CONFLICT",
    /// A command has no program, or cannot be read.
    Command = "COMMAND",
    /// A file cannot be read.
    ConfigRead = "CONFIG_READ",
    /// A document is not YAML.
    ConfigSyntax = "CONFIG_SYNTAX",
    /// A document is larger, deeper or more repetitive than any real one.
    ConfigLimit = "CONFIG_LIMIT",
    /// A key is not known.
    UnknownKey = "UNKNOWN_KEY",
    /// A key is written twice.
    DuplicateKey = "DUPLICATE_KEY",
    /// A YAML tag asks for a type of some programming language.
    TagForbidden = "TAG_FORBIDDEN",
    /// An environment variable is not set, or not readable text.
    EnvMissing = "ENV_MISSING",
    /// A secret is written where a reference to one belongs.
    SecretLiteral = "SECRET_LITERAL",
    /// A port is no port.
    PortRange = "PORT_RANGE",
    /// An address to listen on cannot be read, or others could reach it.
    ListenAddr = "LISTEN_ADDR",
    /// A registry's address cannot be read.
    RegistryAddr = "REGISTRY_ADDR",
    /// A namespace cannot be used.
    Namespace = "NAMESPACE",
    /// A data directory cannot be used.
    DataDir = "DATA_DIR",
    /// A job has rules for a listener, and the program has no listener for it.
    NoListener = "NO_LISTENER",
    /// A script may not run on this node.
    ScriptForbidden = "SCRIPT_FORBIDDEN",
    /// A stored form was written by a newer release.
    UnsupportedSchema = "UNSUPPORTED_SCHEMA",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, and is worth knowing.
    Warning,
    /// Refused.
    Error,
}

/// Where in a document something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, for programs.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Which setting, e.g. `jobs.settle.cron`; empty for the whole document.
    pub place: String,
    /// Where that stands, if it came from a document.
    pub position: Option<Position>,
    /// The value as written: escaped, at most [`SHOWN_CHARACTERS`] characters.
    pub value: Option<Box<str>>,
    /// The bound that was passed.
    pub limit: Option<Box<str>>,
    /// What to write instead.
    pub hint: Option<Box<str>>,
    /// What, for people.
    pub message: String,
}

impl Problem {
    /// An error at `place`.
    #[must_use]
    pub fn error(code: Code, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            place: place.into(),
            position: None,
            value: None,
            limit: None,
            hint: None,
            message: message.into(),
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// With the value as written, which is escaped and cut here.
    #[must_use]
    pub fn with_value(self, value: &str) -> Self {
        Self { value: Some(shown(value).into()), ..self }
    }

    /// With the bound that was passed.
    #[must_use]
    pub fn with_limit(self, limit: impl Into<Box<str>>) -> Self {
        Self { limit: Some(limit.into()), ..self }
    }

    /// With what to write instead.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Box<str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// With where it stands.
    #[must_use]
    pub fn at(self, position: Option<Position>) -> Self {
        Self { position, ..self }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    /// `error[CODE]: PLACE (LINE:COLUMN): MESSAGE: "VALUE" (limit LIMIT); HINT`, without the parts
    /// that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_error() { "error" } else { "warning" };
        write!(f, "{word}[{}]: ", self.code)?;
        match (visible(&self.place).as_ref(), self.position) {
            ("", None) => {}
            ("", Some(position)) => write!(f, "{position}: ")?,
            (place, None) => write!(f, "{place}: ")?,
            (place, Some(position)) => write!(f, "{place} ({position}): ")?,
        }
        f.write_str(&self.message)?;
        if let Some(value) = &self.value {
            write!(f, ": \"{value}\"")?;
        }
        if let Some(limit) = &self.limit {
            write!(f, " (limit {limit})")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// `text` as it may be shown on a terminal and in a log line: control characters and direction
/// marks escaped, cut after [`SHOWN_CHARACTERS`].
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for c in text.chars() {
        let escaped: String = match c {
            '"' | '\\' => format!("\\{c}"),
            _ if is_invisible(c) => c.escape_default().to_string(),
            _ => c.to_string(),
        };
        count += escaped.chars().count();
        if count >= SHOWN_CHARACTERS {
            out.push('…');
            return out;
        }
        out.push_str(&escaped);
    }
    out
}

/// A place as it may be shown: keys stand in it that may have been written by anyone.
fn visible(place: &str) -> Cow<'_, str> {
    if !place.chars().any(is_invisible) {
        return Cow::Borrowed(place);
    }
    let escaped = |c: char| match is_invisible(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(place.chars().map(escaped).collect())
}

/// Control characters, and those that change how others are shown.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

/// The word of `known` that is meant by `text`, if one is near: at most two fifths of its letters
/// differ, case aside.
#[must_use]
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let wanted = text.to_lowercase();
    known
        .into_iter()
        .map(|word| (distance(&wanted, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance * 5 <= word.chars().count().max(3) * 2)
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[31m\"\u{202e}"), "a\\u{1b}[31m\\\"\\u{202e}");
        assert_eq!(shown(&"x".repeat(5000)).chars().count(), SHOWN_CHARACTERS);
        assert!(shown(&"\0".repeat(5000)).chars().count() <= SHOWN_CHARACTERS);
    }

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let known = ["average", "sticky", "round-robin", "shardingTotalCount"];
        assert_eq!(nearest("avreage", known), Some("average"));
        assert_eq!(nearest("shardingTotlaCount", known), Some("shardingTotalCount"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem::error(Code::ShardsRange, "jobs.a.shards", "not a number of shards")
            .at(Some(Position { line: 3, column: 11 }))
            .with_value("0")
            .with_limit("1 to 100000")
            .with_hint("write shards: 1");
        assert_eq!(
            problem.to_string(),
            "error[SHARDS_RANGE]: jobs.a.shards (3:11): not a number of shards: \"0\" \
             (limit 1 to 100000); write shards: 1"
        );
    }

    #[test]
    fn every_code_has_its_own_text() {
        let texts: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
