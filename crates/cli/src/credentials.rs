//! By which right and how securely a registry on a network is talked to: from files and the
//! environment, never from the command line itself.

use crate::fault::{Exit, Fault};
use crate::place::environment;
use flockwork_layout::settings::SecurityFiles;
use flockwork_registry::Login;
use flockwork_registry_etcd as etcd;
use flockwork_registry_zookeeper as zookeeper;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The largest of these files: a bundle of all public authorities has a quarter of it.
const MOST_BYTES: u64 = 1024 * 1024;

/// Which bits of a file's mode let others than its owner at it.
const OTHERS: u32 = 0o077;

/// What ZooKeeper is shown.
pub(crate) fn for_zookeeper(files: &SecurityFiles) -> Result<zookeeper::Credentials, Fault> {
    let digest = login(files, "DIGEST")?;
    let tls = papers(files)?.map(|papers| papers.checked(files)).transpose()?;
    Ok(zookeeper::Credentials { digest, tls })
}

/// What etcd is shown.
pub(crate) fn for_etcd(files: &SecurityFiles) -> Result<etcd::Credentials, Fault> {
    let user = login(files, "USER")?;
    let Some(papers) = papers(files)? else { return Ok(etcd::Credentials::of(user)) };
    // By the one that says at once what is wrong with them.
    papers.checked(files)?;
    let Papers { authorities, identity } = papers;
    Ok(etcd::Credentials { user, tls: Some(etcd::Tls { roots: authorities, identity }) })
}

/// Whom to believe, and our certificate with its key, as PEM.
struct Papers {
    authorities: String,
    identity: Option<(String, String)>,
}

impl Papers {
    fn checked(&self, files: &SecurityFiles) -> Result<zookeeper::Tls, Fault> {
        let identity =
            self.identity.as_ref().map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
        zookeeper::Tls::new(self.authorities.as_bytes(), identity).map_err(|why| {
            let named = [&files.authorities, &files.certificate, &files.key];
            let named: Vec<&str> = named.into_iter().flatten().map(String::as_str).collect();
            refused("REGISTRY_TLS", format!("{}: {why}", named.join(", ")))
                .hint("PEM begins with -----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY-----")
        })
    }
}

fn papers(files: &SecurityFiles) -> Result<Option<Papers>, Fault> {
    let Some(authorities) = &files.authorities else { return Ok(None) };
    let authorities = read(authorities, "REGISTRY_TLS", false)?;
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let certificate = read(certificate, "REGISTRY_TLS", false)?;
            Some((certificate, read(key, "REGISTRY_TLS", true)?))
        }
        _ => None,
    };
    Ok(Some(Papers { authorities, identity }))
}

/// A secret has no place in an address, in a file of jobs or on a command line.
fn login(files: &SecurityFiles, kind: &str) -> Result<Option<Login>, Fault> {
    let variable = format!("FLOCKWORK_REGISTRY_{kind}");
    let variable_file = format!("{variable}_FILE");
    let said = [
        ("registry_login_file", files.login.clone()),
        (variable.as_str(), environment(&variable)),
        (variable_file.as_str(), environment(&variable_file)),
    ];
    let said: Vec<(&str, String)> =
        said.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let (name, text) = match said.as_slice() {
        [] => return Ok(None),
        [one] => one,
        [one, other, ..] => {
            let what = format!("{} and {} are both set", one.0, other.0);
            return Err(refused("CONFLICT", what).hint("unset one of them"));
        }
    };
    let code = if kind == "DIGEST" { "REGISTRY_DIGEST" } else { "REGISTRY_USER" };
    let login = match *name {
        "registry_login_file" => {
            let line = read(text, code, true)?;
            Login::new(line.trim_end_matches(['\n', '\r']), text)
        }
        name if name == variable => Login::new(text, &variable),
        _ => Login::from_file(Path::new(text)),
    };
    login.map(Some).map_err(|why| refused(code, why.to_string()))
}

/// Reads a file; what it holds is never part of what is said of it.
fn read(path: &str, code: &'static str, is_secret: bool) -> Result<String, Fault> {
    let unread = |why: std::io::Error| refused(code, format!("{path}: cannot be read: {why}"));
    let no_file = || refused(code, format!("{path}: not a file of at most 1 MiB"));
    // Before it is opened: that of a pipe would wait for somebody who writes.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(no_file());
    }
    let file = File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(no_file());
    }
    if is_secret && about.mode() & OTHERS != 0 {
        let mode = about.mode() & 0o777;
        let what = format!("{path}: others than its owner may read or write it (mode {mode:03o})");
        return Err(refused(code, what).hint(format!("chmod 600 {path}")));
    }
    let mut text = String::new();
    let read = file.take(MOST_BYTES).read_to_string(&mut text);
    read.map_err(|_| refused(code, format!("{path}: not a text")))?;
    Ok(text)
}

fn refused(code: &'static str, what: String) -> Fault {
    Fault::new(Exit::Invalid, code, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let why = read(&path.to_string_lossy(), "LOGIN", true).unwrap_err();
        assert!(format!("{why:?}").contains("not a file"), "{why:?}");
    }
}
