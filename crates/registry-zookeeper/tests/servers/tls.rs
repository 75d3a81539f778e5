//! The registry under TLS, each side showing a certificate.

use crate::fixture::{PATIENCE, opened};
use crate::server::{Release, Server};
use flockwork_registry::client::Client;
use flockwork_registry::{Failure, Key, Op};
use flockwork_registry_zookeeper::{Address, Credentials, SCHEME, Tls, open};
use flockwork_trials::ports::free_port;
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

    fn tls(&self, identity: bool) -> Tls {
        let identity = identity.then_some((self.chain.as_bytes(), self.key.as_bytes()));
        Tls::new(self.authority.as_bytes(), identity).expect("they are in order")
    }

    fn server(&self, port: u16, dir: &Path) -> String {
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("there is room");
            path.display().to_string()
        };
        let own = write("own.pem", &format!("{}{}", self.key, self.chain));
        let authority = write("authority.pem", &self.authority);
        format!(
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
             ssl.keyStore.location={own}\nssl.keyStore.type=PEM\n\
             ssl.trustStore.location={authority}\nssl.trustStore.type=PEM\nssl.clientAuth=need\n"
        )
    }
}

fn address(host: &str, port: u16) -> Address {
    Address::parse(SCHEME, &format!("zookeeper://{host}:{port}/tls")).expect("well-formed")
}

fn under(tls: Option<Tls>) -> Credentials {
    Credentials { digest: None, tls }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_show_who_they_are() {
    let (papers, port) = (Papers::issued(), free_port().expect("ports are left"));
    let _server = Server::start_with(Release::Debian, |dir| papers.server(port, dir));
    for host in ["localhost", "127.0.0.1"] {
        let (registry, inbox) = opened(&address(host, port), &under(Some(papers.tls(true)))).await;
        let mut client = Client::new(registry, inbox, PATIENCE);
        let key = Key::new(&format!("/{host}")).expect("short");
        // Larger than one record of TLS.
        let value = vec![b'x'; 100_000];
        client.commit(vec![Op::create(key.clone(), value.clone())]).await.expect("made");
        let read = client.get(&key).await.expect("read").expect("it is there");
        assert_eq!(read.value, value);
        client.close().await;
    }
    let strangers = [
        ("no certificate of its own", under(Some(papers.tls(false)))),
        ("another authority", under(Some(Papers::issued().tls(true)))),
        ("no TLS", under(None)),
    ];
    for (what, credentials) in strangers {
        let (registry, inbox) = open(&address("localhost", port), &credentials);
        let mut client = Client::new(registry, inbox, Duration::from_secs(2));
        let session = client.session().await;
        assert!(matches!(session, Err(Failure::NotSent(_))), "{what}: {session:?}");
    }
}
