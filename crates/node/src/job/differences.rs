//! The differences between the registry's definition and a node's own, for people.

use flockwork_core::config::JobConfig;
use flockwork_layout::document;
use std::collections::BTreeMap;

/// Returns one line for each setting that differs: `key: registry's value (this node: own value)`. A setting
/// that only concerns this node (`overwrite`) is not compared.
pub(crate) fn differences(registry: &JobConfig, own: &JobConfig) -> Vec<String> {
    let (registry, own) = (document::encode(registry), document::encode(own));
    let (registry, own) = (settings(&registry), settings(&own));
    let keys: std::collections::BTreeSet<&str> =
        registry.keys().chain(own.keys()).copied().filter(|key| *key != "overwrite").collect();
    let shown = |value: Option<&&str>| value.map_or("not set", |value| *value).to_owned();
    keys.into_iter()
        .filter(|key| registry.get(key) != own.get(key))
        .map(|key| {
            format!("{key}: {} (this node: {})", shown(registry.get(key)), shown(own.get(key)))
        })
        .collect()
}

/// Returns the document's lines by key; keys stand on lines of their own.
fn settings(document: &str) -> BTreeMap<&str, &str> {
    document
        .lines()
        .filter_map(|line| line.trim_start().split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::config;

    #[test]
    fn each_setting_that_differs_is_shown_with_both_values_except_whose_definition_wins() {
        let own = "shardingTotalCount: 2\nprops:\n  flockwork.every: 1s";
        for (registry, shown) in [
            (own.to_owned(), vec![]),
            (format!("overwrite: true\n{own}"), vec![]),
            (own.replace('2', "3"), vec!["shardingTotalCount: 3 (this node: 2)"]),
            (format!("label: a\n{own}"), vec!["label: a (this node: not set)"]),
        ] {
            assert_eq!(differences(&config(&registry), &config(own)), shown, "{registry}");
        }
    }
}
