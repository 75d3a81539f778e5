//! ARCHITECTURE.md numbers what must always hold; each names the test that holds it.
//!
//! An invariant is a paragraph or list item that starts with `I1`, `I2`, ... (bold or not) and has
//! `held by` and after it, in backticks, the names of tests or of checks of this tool (`tidy`).

use super::source::Source;
use std::path::Path;

pub(super) fn broken(root: &Path, sources: &[Source]) -> Result<Vec<String>, String> {
    let path = root.join("ARCHITECTURE.md");
    let text =
        std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let exists = |name: &str| {
        let definition = format!("fn {name}(");
        sources.iter().any(|source| source.text.contains(&definition))
    };
    Ok(unheld(&text, exists))
}

fn unheld(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let invariants: Vec<_> =
        blocks(text).into_iter().filter_map(|b| Some((number(&b)?, b))).collect();
    if invariants.is_empty() {
        return vec!["ARCHITECTURE.md: numbers no invariant (I1, I2, ...)".to_owned()];
    }
    let mut broken = Vec::new();
    for (at, (number, block)) in invariants.iter().enumerate() {
        let holders = holders(block);
        if holders.is_empty() {
            broken.push(format!("ARCHITECTURE.md: I{number} names no test (held by `...`)"));
        }
        if invariants[..at].iter().any(|(other, _)| other == number) {
            broken.push(format!("ARCHITECTURE.md: I{number} stands there twice"));
        }
        for name in holders.iter().filter(|name| **name != "tidy" && !exists(name)) {
            broken.push(format!("ARCHITECTURE.md: I{number} is held by {name}, which is no test"));
        }
    }
    broken
}

/// Paragraphs, list items and table rows, each as one text.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        let starts_one = ["- ", "* ", "|"].iter().any(|mark| line.starts_with(mark));
        if line.trim().is_empty() || starts_one || number(line).is_some() {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("there is always one");
        block.push_str(line);
        block.push(' ');
    }
    blocks
}

fn number(block: &str) -> Option<u32> {
    let digits = block.trim_start_matches(['-', '*', '|', ' ', '#']).strip_prefix('I')?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

/// The last path segment of each name in backticks after `held by`.
fn holders(block: &str) -> Vec<&str> {
    let lower = block.to_lowercase();
    let Some(from) = lower.find("held by") else { return Vec::new() };
    let Some(rest) = block.get(from..) else { return Vec::new() };
    let quoted = rest.split('`').skip(1).step_by(2);
    quoted.map(|name| name.rsplit("::").next().unwrap_or(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invariant_without_an_existing_test_is_found() {
        let text = "# Invariants\n\n- **I1** Never early. Held by `core::never_early`.\n\
                    - **I2** Never twice.\n  Held by: `never_twice`, `tidy`.\n\nI3 says nothing\n";
        assert!(unheld("I1 x. Held by `a`.", |_| true).is_empty());
        let broken = unheld(text, |name| name == "never_early");
        assert_eq!(
            broken,
            [
                "ARCHITECTURE.md: I2 is held by never_twice, which is no test",
                "ARCHITECTURE.md: I3 names no test (held by `...`)"
            ]
        );
    }

    #[test]
    fn a_document_without_invariants_is_no_pass() {
        assert_eq!(unheld("It just works.", |_| true).len(), 1);
    }
}
