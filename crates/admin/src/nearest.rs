//! What may have been meant by a name that is not there.

/// How many names are offered.
const OFFERED: usize = 3;

/// The names that differ from `name` in at most a third of its letters, rounded up, nearest first.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let letters: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let most = letters.len().div_ceil(3);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let other: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            let is_part = !letters.is_empty() && candidate.to_lowercase().contains(name);
            let distance = if is_part { most } else { distance(&letters, &other) };
            (distance <= most).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(OFFERED).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// How many letters must be added, taken away or replaced (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_comes_first() {
        let known = ["settle-daily", "settle-hourly", "report", "settle-dayly2"];
        assert_eq!(nearest("setle-daily", known), ["settle-daily", "settle-dayly2"]);
        assert_eq!(nearest("settle", known).len(), 3);
        assert_eq!(nearest("REPORT", known), ["report"]);
        assert_eq!(nearest("reprot", known), ["report"]);
        assert!(nearest("zzz", known).is_empty());
        assert!(nearest("", known).is_empty());
    }
}
