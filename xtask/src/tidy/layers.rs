//! A crate names only crates above it; what decides names no clock, no I/O.

use std::path::Path;

/// The crates from the top down: each may use those before it.
const ORDER: &[&str] = &[
    "core",
    "registry",
    "trials",
    "layout",
    "node",
    "worker",
    "registry-embedded",
    "zookeeper",
    "registry-zookeeper",
    "registry-etcd",
    "engine",
    "admin",
    "flockwork",
    "checker",
    "sim",
    "soak",
    "cli",
    "bench",
];

/// Crates that decide, and all that they may use from elsewhere.
const PURE: [(&str, &[&str]); 2] =
    [("core", &["jiff", "thiserror"]), ("node", &["bytes", "thiserror"])];

pub(super) fn broken(root: &Path) -> Result<Vec<String>, String> {
    let mut broken = Vec::new();
    for name in ORDER {
        let folder = if *name == "bench" { "bench".into() } else { format!("crates/{name}") };
        let path = root.join(folder).join("Cargo.toml");
        let text =
            std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        for used in dependencies(&text) {
            if let Some(why) = refused(name, used) {
                broken.push(format!("{}: {why}", path.display()));
            }
        }
    }
    Ok(broken)
}

/// The names in `[dependencies]`, where what ships is named (tests may use more).
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| {
        let name = line.split(['.', '=', ' ']).next()?;
        (!name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

fn refused(name: &str, used: &str) -> Option<String> {
    let own = if used == "flockwork" { Some(used) } else { used.strip_prefix("flockwork-") };
    if let Some(own) = own {
        let above = ORDER.iter().take_while(|above| **above != name).any(|above| *above == own);
        return (!above).then(|| format!("{name} may not use {own}: it does not stand above it"));
    }
    let (_, allowed) = PURE.iter().find(|(pure, _)| *pure == name)?;
    (!allowed.contains(&used)).then(|| format!("{name} decides, and may not use {used}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ships_is_a_dependency() {
        let text = "[package]\nname = \"x\"\n\n[dependencies]\nbytes.workspace = true\n# why\n\
                    tokio = { workspace = true }\n\n[dev-dependencies]\nproptest.workspace = true\n";
        assert_eq!(dependencies(text).collect::<Vec<_>>(), ["bytes", "tokio"]);
    }

    #[test]
    fn a_crate_may_use_those_above_it_alone() {
        assert_eq!(refused("node", "flockwork-layout"), None);
        assert!(refused("node", "flockwork-engine").is_some());
        assert!(refused("core", "tokio").is_some());
        assert_eq!(refused("engine", "tokio"), None);
    }
}
