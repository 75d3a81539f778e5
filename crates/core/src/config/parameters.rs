//! ElasticJob's syntax of shard parameters: `0=Beijing,1=Shanghai`.

use std::collections::BTreeMap;

/// One parameter as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// For which shard; ElasticJob takes any integer here.
    pub shard: i32,
    /// Its text, trimmed.
    pub text: String,
}

/// Shard parameters that ElasticJob would refuse at each fire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("part {number} of the shard parameters does not read SHARD=TEXT")]
pub struct BadParameters {
    /// Which part, from 1.
    pub number: usize,
    /// What it reads.
    pub part: String,
}

/// Reads shard parameters exactly as ElasticJob 3 does: split at commas, each part into two pieces
/// at `=`, both trimmed; Java's split drops empty pieces at the end, so a trailing comma is no
/// error and an empty text is.
///
/// # Errors
/// [`BadParameters`] where ElasticJob throws.
pub fn parse(text: &str) -> Result<Vec<Parameter>, BadParameters> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    java_split(text, ',').into_iter().enumerate().map(parse_part).collect()
}

fn parse_part((index, part): (usize, &str)) -> Result<Parameter, BadParameters> {
    let bad = || BadParameters { number: index + 1, part: part.to_owned() };
    let pieces = java_split(java_trim(part), '=');
    let [shard, text] = pieces.as_slice() else { return Err(bad()) };
    let shard = java_trim(shard).parse().map_err(|_| bad())?;
    Ok(Parameter { shard, text: java_trim(text).to_owned() })
}

/// The map as ElasticJob's syntax; none if a text cannot be written so (it holds a comma or an
/// equals sign, is empty, or has white space at an end).
#[must_use]
pub fn format(parameters: &BTreeMap<u32, String>) -> Option<String> {
    let parts: Vec<String> =
        parameters.iter().map(|(shard, text)| format!("{shard}={text}")).collect();
    let out = parts.join(",");
    let written: Vec<(i64, &str)> =
        parameters.iter().map(|(shard, text)| (i64::from(*shard), text.as_str())).collect();
    let read = parse(&out).ok()?;
    let read: Vec<(i64, &str)> =
        read.iter().map(|p| (i64::from(p.shard), p.text.as_str())).collect();
    (read == written).then_some(out)
}

/// Java's `String.split` with one character: empty pieces at the end are dropped, unless there is
/// nothing else.
fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(separator).collect();
    if pieces.len() == 1 {
        return pieces;
    }
    while pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    pieces
}

/// Java's `String.trim`: everything up to U+0020.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(i32, String)>, usize> {
        parse(text)
            .map(|list| list.into_iter().map(|p| (p.shard, p.text)).collect())
            .map_err(|bad| bad.number)
    }

    fn pairs(list: &[(i32, &str)]) -> Vec<(i32, String)> {
        list.iter().map(|(shard, text)| (*shard, (*text).to_owned())).collect()
    }

    #[test]
    fn parameters_mean_what_elasticjob_makes_of_them() {
        for (text, expected) in [
            ("", pairs(&[])),
            (" 0 = a , 1 = b ", pairs(&[(0, "a"), (1, "b")])),
            ("0=a,", pairs(&[(0, "a")])),
            ("0=a,0=b", pairs(&[(0, "a"), (0, "b")])),
            ("-1=a", pairs(&[(-1, "a")])),
            ("+1=a", pairs(&[(1, "a")])),
            ("5=z", pairs(&[(5, "z")])),
            (",", pairs(&[])),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_elasticjob_refuses_at_each_fire_is_refused() {
        for (text, part) in [
            ("0=a,1=", 2),
            ("0=a=b", 1),
            ("x=1", 1),
            ("0=a,,1=b", 2),
            ("0", 1),
            ("=a", 1),
            ("9999999999=a", 1),
            (" ", 1),
        ] {
            assert_eq!(read(text), Err(part), "{text}");
        }
        // Java splits before it trims the piece, so white space is a piece of its own.
        assert_eq!(read("0= "), Err(1));
    }

    #[test]
    fn only_what_reads_back_is_written_in_this_syntax() {
        let map = |text: &str| BTreeMap::from([(0, "a".to_owned()), (3, text.to_owned())]);
        assert_eq!(format(&map("b c")), Some("0=a,3=b c".to_owned()));
        for text in ["", "a,b", "a=b", " a", "a\n"] {
            assert_eq!(format(&map(text)), None, "{text:?}");
        }
        assert_eq!(format(&BTreeMap::new()), Some(String::new()));
    }
}
