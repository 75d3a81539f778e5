//! What is generated from tables is committed as it is generated. `FLOCKWORK_BLESS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use flockwork_layout::settings::{reference_markdown, schema::job_file_schema};
use std::path::Path;

fn is_committed(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("FLOCKWORK_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let same = committed == generated;
    assert!(same, "{} is not what is generated; run with FLOCKWORK_BLESS=1", path.display());
}

#[test]
fn the_schema_of_job_files_is_the_generated_one() {
    is_committed("schema/flockwork-job-file.schema.json", &job_file_schema());
}

#[test]
fn the_reference_of_settings_is_the_generated_one() {
    is_committed("docs/reference-settings.md", &reference_markdown());
}
