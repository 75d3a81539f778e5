//! The registry under TLS, each side showing a certificate.

use crate::fixture::PATIENCE;
use crate::server::Server;
use flockwork_registry::client::Client;
use flockwork_registry::{Failure, Key, Op};
use flockwork_registry_etcd::{Address, Credentials, SCHEME, Tls, open};
use flockwork_trials::server::Server as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use std::time::Duration;

/// An authority and what it has signed for this host, as PEM.
struct Papers {
    authority: String,
    chain: String,
    key: String,
}

impl Papers {
    fn issued() -> Self {
        let key = || KeyPair::generate().expect("there is randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("signed");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (params, own) = (CertificateParams::new(names).expect("two names"), key());
        let signed = params.signed_by(&own, &authority).expect("signed");
        Self { authority: authority.pem(), chain: signed.pem(), key: own.serialize_pem() }
    }

    fn tls(&self, identity: bool) -> Option<Tls> {
        let identity = identity.then(|| (self.chain.clone(), self.key.clone()));
        Some(Tls { roots: self.authority.clone(), identity })
    }

    fn options(&self, dir: &Path) -> Vec<String> {
        let files = [
            ("--cert-file", "own.pem", &self.chain),
            ("--key-file", "key.pem", &self.key),
            ("--trusted-ca-file", "authority.pem", &self.authority),
        ];
        let options = files.into_iter().map(|(option, name, text)| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("there is room");
            format!("{option}={}", path.display())
        });
        options.chain(["--client-cert-auth".to_owned()]).collect()
    }
}

fn join(host: &str, server: &Server, tls: Option<Tls>, patience: Duration) -> Client {
    let address = format!("etcd://{host}:{}/tls", server.address().port());
    let credentials = Credentials { tls, ..Credentials::default() };
    let (registry, inbox) =
        open(&Address::parse(SCHEME, &address).expect("well-formed"), &credentials);
    Client::new(registry, inbox, patience)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_show_who_they_are() {
    let papers = Papers::issued();
    let server = Server::start_under_tls(|dir| papers.options(dir));
    for host in ["localhost", "127.0.0.1"] {
        let mut client = join(host, &server, papers.tls(true), PATIENCE);
        client.session().await.expect("it is let in");
        let key = Key::new(&format!("/{host}")).expect("short");
        // Larger than one record of TLS.
        let value = vec![b'x'; 100_000];
        client.commit(vec![Op::create(key.clone(), value.clone())]).await.expect("made");
        let read = client.get(&key).await.expect("read").expect("it is there");
        assert_eq!(read.value, value);
        client.close().await;
    }
    let strangers = [
        ("no certificate of its own", papers.tls(false)),
        ("another authority", Papers::issued().tls(true)),
        ("no TLS", None),
    ];
    for (what, tls) in strangers {
        let mut client = join("localhost", &server, tls, Duration::from_secs(2));
        let session = client.session().await;
        assert!(matches!(session, Err(Failure::NotSent(_))), "{what}: {session:?}");
    }
}
