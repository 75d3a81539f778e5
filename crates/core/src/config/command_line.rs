//! ElasticJob's command line of a script, split as the library does that ElasticJob uses for it.
//!
//! There is no shell in it: spaces separate, quotes group. Its peculiarity is kept, since existing
//! scripts rely on it: an argument that holds a space or a quote arrives with quotes around it.

/// A command line that ElasticJob cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommandLine {
    /// Nothing, or white space only.
    #[error("the command line is empty")]
    Empty,
    /// A quote without its partner.
    #[error("a quote is never closed")]
    UnbalancedQuote,
    /// Which ElasticJob cannot pass on.
    #[error("single and double quotes stand in one argument")]
    BothQuotes,
}

/// The program and its arguments as ElasticJob 3 starts them.
///
/// # Errors
/// [`BadCommandLine`] where ElasticJob throws.
pub fn parse(line: &str) -> Result<Vec<String>, BadCommandLine> {
    if line.trim_matches(|c| c <= ' ').is_empty() {
        return Err(BadCommandLine::Empty);
    }
    let mut tokens = split(line)?.into_iter();
    let program = tokens.next().filter(|token| !token.trim().is_empty());
    let program = program.ok_or(BadCommandLine::Empty)?.replace('\\', "/");
    std::iter::once(Ok(program)).chain(tokens.map(|token| quoted(&token))).collect()
}

/// `argv` as a command line that [`parse`] reads back the same; none if there is no such line.
#[must_use]
pub fn format(argv: &[String]) -> Option<String> {
    let line = argv.iter().map(|arg| written(arg)).collect::<Vec<_>>().join(" ");
    (parse(&line).as_deref() == Ok(argv)).then_some(line)
}

fn written(arg: &str) -> String {
    let inner = |quote: char| {
        arg.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).map(str::to_owned)
    };
    if let Some(text) = inner('"').filter(|text| !text.contains('"')) {
        return format!("\"{text}\"");
    }
    if let Some(text) = inner('\'').filter(|text| !text.contains('\'')) {
        return format!("'{text}'");
    }
    if arg.is_empty() { "''".to_owned() } else { arg.to_owned() }
}

fn split(line: &str) -> Result<Vec<String>, BadCommandLine> {
    let (mut tokens, mut current) = (Vec::new(), String::new());
    let (mut quote, mut was_quoted) = (None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => (quote, was_quoted) = (None, true),
            (Some(_), _) => current.push(c),
            (None, '\'' | '"') => (quote, was_quoted) = (Some(c), false),
            (None, ' ') => {
                if was_quoted || !current.is_empty() {
                    tokens.push(std::mem::take(&mut current));
                }
                was_quoted = false;
            }
            (None, _) => {
                current.push(c);
                was_quoted = false;
            }
        }
    }
    if quote.is_some() {
        return Err(BadCommandLine::UnbalancedQuote);
    }
    if was_quoted || !current.is_empty() {
        tokens.push(current);
    }
    Ok(tokens)
}

fn quoted(token: &str) -> Result<String, BadCommandLine> {
    let bare = token.trim_matches(|c| c <= ' ').trim_matches(['\'', '"']);
    match (bare.contains('"'), bare.contains('\''), bare.contains(' ')) {
        (true, true, _) => Err(BadCommandLine::BothQuotes),
        (true, false, _) => Ok(format!("'{bare}'")),
        (false, true, _) | (false, false, true) => Ok(format!("\"{bare}\"")),
        (false, false, false) => Ok(bare.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        parse(line).unwrap()
    }

    #[test]
    fn a_command_line_is_split_as_elasticjob_does() {
        assert_eq!(argv("/bin/echo  a b"), ["/bin/echo", "a", "b"]);
        assert_eq!(argv("sh 'z w'"), ["sh", "\"z w\""]);
        assert_eq!(argv("sh \"it's\""), ["sh", "\"it's\""]);
        assert_eq!(argv("sh 'say \"hi\" now'"), ["sh", "'say \"hi\" now'"]);
        assert_eq!(argv("sh a''b ''"), ["sh", "ab", ""]);
        assert_eq!(argv("bin\\run"), ["bin/run"]);
    }

    #[test]
    fn what_elasticjob_cannot_run_is_refused() {
        assert_eq!(parse(" \t"), Err(BadCommandLine::Empty));
        assert_eq!(parse("'' a"), Err(BadCommandLine::Empty));
        assert_eq!(parse("sh 'a"), Err(BadCommandLine::UnbalancedQuote));
        assert_eq!(parse("sh \"a'b\"'\"c'"), Err(BadCommandLine::BothQuotes));
    }

    #[test]
    fn only_what_reads_back_is_written_as_a_line() {
        let line = |argv: &[&str]| format(&argv.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["sh", "\"z w\"", ""]), Some("sh \"z w\" ''".to_owned()));
        assert_eq!(line(&["./hello.sh", "--flag"]), Some("./hello.sh --flag".to_owned()));
        for argv in [&["sh", "z w"][..], &["sh", "a\"b"], &[""], &["a b"], &["sh", " a"]] {
            assert_eq!(line(argv), None, "{argv:?}");
        }
    }
}
