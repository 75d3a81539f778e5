//! Methods of the standard library that are called everywhere.
//!
//! A method is known by its name: without this list, the only file of a crate that defines a `get`
//! would seem to be needed by whoever looks into a map. The price is that calls of a crate's own
//! method of such a name are no sign either; so no name stands here that code seldom calls.

/// By the types that have them; a name stands under the first of them.
#[rustfmt::skip]
const NAMES: [&[&str]; 7] = [
    // Option, Result
    &["and_then", "as_mut", "as_ref", "cloned", "copied", "err", "expect", "insert", "is_err",
      "is_none", "is_ok", "is_some", "map", "ok", "ok_or", "or", "or_else", "replace", "take"],
    // Iterator, and what gives one
    &["all", "any", "chain", "count", "filter", "find", "flatten", "fold", "into_iter", "iter",
      "last", "max", "min", "next", "peek", "position", "rev", "skip", "sum", "zip"],
    // Vec, slices, VecDeque
    &["append", "clear", "concat", "contains", "drain", "extend", "fill", "first", "get", "get_mut",
      "is_empty", "join", "len", "pop", "pop_back", "pop_front", "push", "push_back", "push_front",
      "remove", "reserve", "resize", "retain", "sort", "split", "swap", "to_vec", "truncate"],
    // str, String
    &["as_bytes", "as_str", "bytes", "chars", "ends_with", "lines", "parse", "push_str", "repeat",
      "starts_with", "to_owned", "to_string", "trim"],
    // BTreeMap, HashMap and their entries
    &["entry", "keys", "or_default", "range", "values"],
    // Duration, numbers, and what is derived
    &["abs", "as_millis", "as_secs", "clone", "cmp", "elapsed", "eq", "fmt", "hash", "into", "pow"],
    // Arc, locks, channels, processes, files
    &["borrow", "flush", "kill", "lock", "read", "recv", "send", "spawn", "try_recv", "upgrade",
      "wait", "write"],
];

pub(super) fn has(name: &str) -> bool {
    NAMES.iter().any(|names| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_in_order() {
        let mut all: Vec<&str> = NAMES.concat();
        assert!(NAMES.iter().all(|names| names.is_sorted()));
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
