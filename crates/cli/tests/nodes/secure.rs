//! Nodes and commands on registries under TLS, where both sides show who they are.

use crate::is_start;
use crate::process::{Node, PATIENCE, asked, flockwork, scene};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A server, ended with its test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files of an authority, and of what it has signed for this host.
struct Papers {
    at: PathBuf,
}

impl Papers {
    fn issued(at: &Path, name: &str) -> Self {
        let key = || KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (params, own) = (CertificateParams::new(names).unwrap(), key());
        let signed = params.signed_by(&own, &authority).unwrap();
        let papers = Self { at: at.join(name) };
        std::fs::create_dir(&papers.at).unwrap();
        papers.write("ca.pem", &authority.pem());
        papers.write("own.pem", &signed.pem());
        papers.write("key.pem", &own.serialize_pem());
        papers.write("both.pem", &format!("{}{}", own.serialize_pem(), signed.pem()));
        papers
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.file(name), mode).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.at.join(name).display().to_string()
    }

    fn flags(&self) -> Vec<String> {
        let files = [("ca", "ca.pem"), ("certificate", "own.pem"), ("key", "key.pem")];
        let flags = files.iter().map(|(flag, file)| [flag_of(flag), self.file(file)]);
        flags.flatten().collect()
    }
}

fn flag_of(name: &str) -> String {
    format!("--registry-{name}-file")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ready(mut command: Command, port: u16, log: &Path) -> Server {
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.spawn().expect("it is installed: run `cargo xtask setup`");
    let server = Server { child, port };
    let deadline = Instant::now() + PATIENCE;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {port}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    server
}

fn zookeeper(at: &Path, papers: &Papers) -> Server {
    let port = free_port();
    let text = format!(
        "tickTime=200\ndataDir={}\nadmin.enableServer=false\nmaxSessionTimeout=60000\n\
         serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
         secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
         ssl.keyStore.location={}\nssl.keyStore.type=PEM\n\
         ssl.trustStore.location={}\nssl.trustStore.type=PEM\nssl.clientAuth=need\n",
        at.join("zookeeper").display(),
        papers.file("both.pem"),
        papers.file("ca.pem"),
    );
    std::fs::write(at.join("zoo.cfg"), text).unwrap();
    // The jar's manifest names the rest, but for what TLS needs.
    let java = "/usr/share/java";
    let netty = ["codec", "resolver", "transport-native-unix-common"]
        .map(|part| format!(":{java}/netty-{part}.jar"));
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{java}/zookeeper.jar{}", netty.concat()))
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(at.join("zoo.cfg"));
    ready(command, port, &at.join("zookeeper.log"))
}

fn etcd(at: &Path, papers: &Papers) -> Server {
    let (port, peers) = (free_port(), free_port());
    let clients = format!("https://127.0.0.1:{port}");
    let peers = format!("http://127.0.0.1:{peers}");
    let mut command = Command::new("etcd");
    command
        .args(["--name", "alone", "--log-level", "warn", "--logger", "zap", "--data-dir"])
        .arg(at.join("etcd"))
        .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("alone={peers}"), "--client-cert-auth"])
        .args(["--cert-file", &papers.file("own.pem"), "--key-file", &papers.file("key.pem")])
        .args(["--trusted-ca-file", &papers.file("ca.pem")]);
    ready(command, port, &at.join("etcd.log"))
}

/// A node and commands that show the right papers work; those that do not are kept out, by name.
fn is_served_to_those_it_knows(kind: &str, start: fn(&Path, &Papers) -> Server) {
    let directory = scene("1s", "true");
    let at = directory.path().canonicalize().unwrap();
    let papers = Papers::issued(&at, "papers");
    let strangers = Papers::issued(&at, "strangers");
    let server = start(&at, &papers);
    let url = format!("{kind}://localhost:{}/apps", server.port);
    // By the environment and the file for the node, by flags for commands.
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    let node = format!(
        "node: {{registry: '{url}', registry_ca_file: '{}', scripts:",
        papers.file("ca.pem")
    );
    std::fs::write(at.join("jobs.yaml"), jobs.replace("node: {scripts:", &node)).unwrap();
    let mut command = flockwork(&at);
    command.env("FLOCKWORK_REGISTRY_CERTIFICATE_FILE", papers.file("own.pem"));
    command.env("FLOCKWORK_REGISTRY_KEY_FILE", papers.file("key.pem"));
    let mut node = Node::run(command);
    node.await_line(is_start);

    let asking = |papers: &[String]| {
        let args = ["ps".to_owned(), "--registry".to_owned(), url.clone()];
        let args: Vec<&str> = args.iter().chain(papers).map(String::as_str).collect();
        asked(&at, &args)
    };
    let (code, text, complaint) = asking(&papers.flags());
    assert_eq!(code, Some(0), "{complaint}");
    assert!(text.contains("work"), "{text}");
    for (what, flags) in [
        ("no TLS", &[][..]),
        ("no certificate of its own", &papers.flags()[..2]),
        ("another authority", &strangers.flags()[..]),
    ] {
        let (code, _, complaint) = asking(flags);
        assert_eq!(code, Some(7), "{what}: {complaint}");
        assert!(complaint.starts_with("error[REGISTRY_UNAVAILABLE]"), "{what}: {complaint}");
    }
}

#[test]
fn a_zookeeper_under_tls_serves_those_who_show_who_they_are() {
    is_served_to_those_it_knows("zookeeper", zookeeper);
}

#[test]
fn an_etcd_under_tls_serves_those_who_show_who_they_are() {
    is_served_to_those_it_knows("etcd", etcd);
}

#[test]
fn papers_that_are_none_are_refused_at_once_by_their_name() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let papers = Papers::issued(at, "papers");
    let others = Papers::issued(at, "others");
    papers.write("none.pem", "hunter2");
    papers.write("open.pem", &std::fs::read_to_string(papers.file("key.pem")).unwrap());
    papers.write("login", "user:hunter2\n");
    papers.write("open-login", "user:hunter2\n");
    papers.write("no-login", "hunter2\n");
    for open in ["open.pem", "open-login"] {
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(papers.file(open), mode).unwrap();
    }
    let ca = || vec![flag_of("ca"), papers.file("ca.pem")];
    let identity = |certificate: String, key: String| {
        [ca(), vec![flag_of("certificate"), certificate, flag_of("key"), key]].concat()
    };
    let own = || papers.file("own.pem");
    let login = |file: &str| vec![flag_of("login"), papers.file(file)];
    let table = [
        (vec![flag_of("ca"), "/nowhere/ca.pem".to_owned()], "REGISTRY_TLS", "cannot be read"),
        (vec![flag_of("ca"), papers.file("none.pem")], "REGISTRY_TLS", "not PEM"),
        (vec![flag_of("ca"), "/".to_owned()], "REGISTRY_TLS", "not a file"),
        (identity(papers.file("none.pem"), papers.file("key.pem")), "REGISTRY_TLS", "not PEM"),
        (identity(own(), papers.file("none.pem")), "REGISTRY_TLS", "not PEM"),
        (identity(own(), papers.file("open.pem")), "REGISTRY_TLS", "mode 640"),
        (identity(own(), others.file("key.pem")), "REGISTRY_TLS", "key"),
        (vec![flag_of("key"), papers.file("key.pem")], "CONFLICT", "registry_certificate_file"),
        (login("open-login"), "", "chmod 600"),
        (login("no-login"), "", "user:password"),
    ];
    for kind in ["zookeeper", "etcd"] {
        let url = format!("{kind}://127.0.0.1:1");
        for (flags, code, said) in &table {
            let args: Vec<&str> = ["ps", "--registry", &url]
                .into_iter()
                .chain(flags.iter().map(String::as_str))
                .collect();
            let (exit, _, complaint) = asked(at, &args);
            let code = match (*code, kind) {
                ("", "zookeeper") => "REGISTRY_DIGEST",
                ("", _) => "REGISTRY_USER",
                (code, _) => code,
            };
            assert_eq!(exit, Some(3), "{args:?}: {complaint}");
            assert!(complaint.starts_with(&format!("error[{code}]")), "{args:?}: {complaint}");
            assert!(complaint.contains(said), "{args:?}: {complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
        let mut command = flockwork(at);
        command.args(["ps", "--registry", &url]).args(login("login"));
        let output = command.env("FLOCKWORK_REGISTRY_DIGEST", "a:hunter2");
        let output = output.env("FLOCKWORK_REGISTRY_USER", "a:hunter2").output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.starts_with("error[CONFLICT]"), "{complaint}");
    }
}
