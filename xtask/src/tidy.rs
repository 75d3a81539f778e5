//! Checks that no compiler makes: sizes, names, layers, walls inside crates, and that each invariant
//! has its test.

mod circles;
mod invariants;
mod layers;
mod modules;
mod outline;
mod source;
mod walls;

use source::Source;
use std::path::Path;

/// A rule: the sources in, what breaks it out, one line each.
type Rule = fn(&[Source]) -> Vec<String>;

const RULES: [Rule; 5] = [
    source::too_long,
    source::says_nothing,
    source::unfinished,
    source::spells_keys,
    source::prints,
];

/// Runs all checks and names everything that breaks one.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let sources = source::read_all(root)?;
    let mut broken: Vec<String> = RULES.iter().flat_map(|rule| rule(&sources)).collect();
    broken.extend(layers::broken(root)?);
    broken.extend(walls::broken(root, &sources)?);
    broken.extend(invariants::broken(root, &sources)?);
    for line in &broken {
        eprintln!("tidy: {line}");
    }
    match broken.len() {
        0 => Ok(()),
        n => Err(format!("{n} places are not tidy")),
    }
}
