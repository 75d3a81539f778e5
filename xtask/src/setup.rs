//! `cargo xtask setup`: what the tests need and a Rust toolchain does not bring.
//!
//! The cron engine is compared with the real Quartz, the reading of YAML with the real SnakeYAML, and a
//! registry is tried on real ZooKeeper and etcd servers: a JDK, Maven and all of them are needed. All
//! is said before it is done; a second run finds everything in place and touches neither disk nor net.

use crate::step;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether installing needs a question first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--yes`, or a CI run.
    Given,
    /// Ask on the terminal.
    Ask,
}

/// What the command line and the environment say about asking.
pub(crate) fn consent(yes: bool) -> Consent {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1");
    if yes || is_ci { Consent::Given } else { Consent::Ask }
}

/// A program, or a file by its whole path, and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "javac",
        package: "default-jdk-headless",
        what_for: "runs Quartz, SnakeYAML and ZooKeeper beside us",
    },
    Program {
        name: "/usr/share/java/zookeeper.jar",
        package: "zookeeper",
        what_for: "the distribution's ZooKeeper; no service is started",
    },
    Program {
        name: "etcd",
        package: "etcd-server",
        what_for: "the distribution's etcd; its package may start a service, which is not needed",
    },
    Program { name: "etcdctl", package: "etcd-client", what_for: "asks it beside us" },
    Program { name: "mvn", package: "maven", what_for: "fetches them" },
    Program { name: "strace", package: "strace", what_for: "records syncs, slows and fails them" },
    Program { name: "faketime", package: "faketime", what_for: "steps the clock of one process" },
    Program { name: "cc", package: "gcc", what_for: "builds the bundled SQLite" },
];

/// A library from Maven Central, and where its jar goes under `target/oracles`.
struct Artifact {
    coordinates: &'static str,
    folder: &'static str,
    jar: &'static str,
}

const ARTIFACTS: [Artifact; 10] = [
    Artifact {
        coordinates: "org.quartz-scheduler:quartz:2.3.2",
        folder: "quartz",
        jar: "quartz-2.3.2.jar",
    },
    Artifact {
        coordinates: "org.slf4j:slf4j-api:1.7.36",
        folder: "quartz",
        jar: "slf4j-api-1.7.36.jar",
    },
    // What ElasticJob reads its job documents with.
    Artifact {
        coordinates: "org.yaml:snakeyaml:2.2",
        folder: "snakeyaml",
        jar: "snakeyaml-2.2.jar",
    },
    // A ZooKeeper server newer than distributions have, with what it needs to run.
    Artifact {
        coordinates: "org.apache.zookeeper:zookeeper:3.9.3",
        folder: "zookeeper",
        jar: "zookeeper-3.9.3.jar",
    },
    Artifact {
        coordinates: "org.apache.zookeeper:zookeeper-jute:3.9.3",
        folder: "zookeeper",
        jar: "zookeeper-jute-3.9.3.jar",
    },
    Artifact {
        coordinates: "org.apache.yetus:audience-annotations:0.12.0",
        folder: "zookeeper",
        jar: "audience-annotations-0.12.0.jar",
    },
    Artifact {
        coordinates: "commons-io:commons-io:2.17.0",
        folder: "zookeeper",
        jar: "commons-io-2.17.0.jar",
    },
    Artifact {
        coordinates: "io.dropwizard.metrics:metrics-core:4.1.12.1",
        folder: "zookeeper",
        jar: "metrics-core-4.1.12.1.jar",
    },
    Artifact {
        coordinates: "org.slf4j:slf4j-api:1.7.30",
        folder: "zookeeper",
        jar: "slf4j-api-1.7.30.jar",
    },
    Artifact {
        coordinates: "org.xerial.snappy:snappy-java:1.1.10.5",
        folder: "zookeeper",
        jar: "snappy-java-1.1.10.5.jar",
    },
];

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy";

/// Installs what is missing.
pub(crate) fn run(root: &Path, consent: Consent) -> Result<(), String> {
    let programs: Vec<_> = PROGRAMS.iter().filter(|program| !is_there(program.name)).collect();
    let artifacts: Vec<_> = ARTIFACTS
        .iter()
        .filter(|artifact| !home(root, artifact).join(artifact.jar).is_file())
        .collect();
    if programs.is_empty() && artifacts.is_empty() {
        println!("setup: everything the tests need is here");
        return Ok(());
    }
    println!("setup: the tests need");
    for program in &programs {
        println!("  {} (Debian package {}): {}", program.name, program.package, program.what_for);
    }
    for artifact in &artifacts {
        println!("  {} from Maven Central, into {}", artifact.jar, home(root, artifact).display());
    }
    agree(consent)?;
    if !programs.is_empty() {
        install(root, &programs)?;
    }
    artifacts.iter().try_for_each(|artifact| fetch(root, artifact))
}

fn home(root: &Path, artifact: &Artifact) -> PathBuf {
    root.join("target/oracles").join(artifact.folder)
}

/// Whether a program of this name is on the path, or this file is there.
fn is_there(name: &str) -> bool {
    if name.starts_with('/') {
        return Path::new(name).is_file();
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

fn agree(consent: Consent) -> Result<(), String> {
    if consent == Consent::Given {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err("nobody is here to be asked; say `cargo xtask setup --yes`".into());
    }
    print!("install them? [y/N] ");
    std::io::stdout().flush().map_err(|why| why.to_string())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|why| why.to_string())?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("not installed".into()),
    }
}

fn install(root: &Path, programs: &[&Program]) -> Result<(), String> {
    if !is_there("apt-get") {
        let names: Vec<_> = programs.iter().map(|program| program.name).collect();
        return Err(format!("no apt-get here; install {} yourself", names.join(", ")));
    }
    let packages: Vec<_> = programs.iter().map(|program| program.package).collect();
    let install = ["install", "--yes", "--no-install-recommends"];
    // A container that was just made has no package lists; one that has them need not ask the net.
    if apt(root, &[&install[..], &packages].concat()).is_ok() {
        return Ok(());
    }
    apt(root, &["update"])?;
    apt(root, &[&install[..], &packages].concat())
}

fn apt(root: &Path, args: &[&str]) -> Result<(), String> {
    let mut command = match is_root() {
        true => step::command(root, "apt-get", args),
        false => step::command(root, "sudo", &[&["apt-get"], args].concat()),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    step::run(command)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn fetch(root: &Path, artifact: &Artifact) -> Result<(), String> {
    let folder = home(root, artifact);
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let what = format!("-Dartifact={}", artifact.coordinates);
    let to = format!("-DoutputDirectory={}", folder.display());
    let mut command = step::command(root, "mvn", &["-q", "-B", COPY, &what, &to]);
    // Outside the workspace, so that Maven takes no file of ours for its own.
    command.current_dir(std::env::temp_dir());
    step::run(command)?;
    let jar = folder.join(artifact.jar);
    jar.is_file().then_some(()).ok_or(format!("maven ended well, yet {} is missing", jar.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found_and_another_is_not() {
        assert!(is_there("cargo"));
        assert!(!is_there("no-such-program-anywhere"));
        assert!(is_there("/proc/self/exe") && !is_there("/no/such/file"));
    }

    #[test]
    fn yes_needs_no_question() {
        assert_eq!(consent(true), Consent::Given);
    }
}
