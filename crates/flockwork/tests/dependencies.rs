//! What a program gets that depends on this crate.

use std::process::Command;

/// The names of all crates that are linked with these features.
fn linked(features: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "flockwork", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--offline", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, as it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("names of crates");
    tree.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn default_features_bring_no_sqlite_tls_or_http() {
    let crates = linked("");
    assert!(crates.iter().any(|name| name == "tokio"), "the list is one: {crates:?}");
    for heavy in [
        "rusqlite",
        "libsqlite3-sys",
        "rustls",
        "openssl",
        "native-tls",
        "ring",
        "aws-lc-sys",
        "hyper",
        "axum",
        "prometheus-client",
    ] {
        assert!(!crates.iter().any(|name| name == heavy), "{heavy} is linked");
    }
}

#[test]
fn the_embedded_registry_is_what_brings_sqlite() {
    let crates = linked("embedded");
    assert!(crates.iter().any(|name| name == "libsqlite3-sys"), "{crates:?}");
}
