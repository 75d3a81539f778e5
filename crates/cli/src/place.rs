//! Where the jobs are: which registry, which namespace, which directory.

use crate::args::Place;
use crate::credentials;
use crate::fault::{Exit, Fault};
use crate::problem;
use flockwork_admin::Operator;
use flockwork_engine::{Connecting, Link, NoLink};
use flockwork_layout::keys::Namespace;
use flockwork_layout::settings::registry::{Cluster, RegistryUrl};
use flockwork_layout::settings::{NodeSettings, Origin, Resolved, Source, Written, resolve};
use flockwork_registry as registry;
use flockwork_registry::client::Client;
use flockwork_registry::memory::MemoryRegistry;
use flockwork_registry_embedded::{Embedded, OpenError, Options};
use flockwork_registry_etcd as etcd;
use flockwork_registry_zookeeper as zookeeper;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command waits for each answer of the registry: longer than any healthy one takes,
/// shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A registry this release can use.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// In this process alone.
    Memory,
    /// In a directory of this host.
    Embedded(PathBuf),
    /// On ZooKeeper, and by which right.
    ZooKeeper(registry::Address, zookeeper::Credentials),
    /// On etcd, and by which right.
    Etcd(registry::Address, etcd::Credentials),
}

/// Where jobs are found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) address: Address,
    pub(crate) namespace: Namespace,
    /// After how long without a heartbeat a process counts as gone.
    pub(crate) session_timeout: Duration,
}

impl Found {
    /// What a command's flags and the environment say.
    pub(crate) fn of(place: &Place) -> Result<Self, Fault> {
        let resolved = resolve(&Written::default(), &environment, &|name| place.flag(name));
        Self::resolved(&accepted(resolved)?.0)
    }

    pub(crate) fn resolved(settings: &NodeSettings) -> Result<Self, Fault> {
        let address = match &settings.registry {
            RegistryUrl::Memory => Address::Memory,
            RegistryUrl::Embedded(Some(directory)) => Address::Embedded(directory.into()),
            RegistryUrl::Embedded(None) => {
                Address::Embedded(Path::new(&settings.data).join("registry"))
            }
            RegistryUrl::ZooKeeper(cluster) => Address::ZooKeeper(
                on_network(cluster, settings),
                credentials::for_zookeeper(&settings.security)?,
            ),
            RegistryUrl::Etcd(cluster) => Address::Etcd(
                on_network(cluster, settings),
                credentials::for_etcd(&settings.security)?,
            ),
        };
        let namespace = settings.namespace.clone();
        Ok(Self { address, namespace, session_timeout: settings.session_timeout })
    }

    fn options(&self) -> Options {
        Options { session_timeout: self.session_timeout, ..Options::default() }
    }

    /// What a node connects by.
    pub(crate) fn connector(&self) -> Connector {
        let describe = self.address.to_string();
        let address = self.address.clone();
        let (options, memory) = (self.options(), MemoryRegistry::default());
        Connecting::new(describe, Box::new(move || connect(&address, &options, &memory)))
    }

    /// Connects a command to a registry that is there already: asking must not make one.
    pub(crate) async fn operator(&self) -> Result<Operator, Fault> {
        let directory = match &self.address {
            Address::Embedded(directory) => directory,
            Address::ZooKeeper(address, rights) => {
                return self.asks(on_zookeeper(address, rights)).await;
            }
            Address::Etcd(address, rights) => return self.asks(on_etcd(address, rights)).await,
            Address::Memory => {
                let why = "memory: is within one process; a command cannot see into another";
                return Err(Fault::new(Exit::Invalid, "REGISTRY_ADDR", why)
                    .hint("run the node with an embedded registry: --registry embedded:DIR"));
            }
        };
        if !directory.is_dir() {
            let what = format!("there is no registry at {}", directory.display());
            return Err(Fault::new(Exit::NotFound, "REGISTRY_NOT_FOUND", what).hint(
                "name the node's own --data or --registry, or start a node: flockwork run FILE",
            ));
        }
        let (registry, inbox) =
            Embedded::open(directory, &self.options()).map_err(|why| refused(&why))?;
        self.asks(Link { registry, inbox }).await
    }

    async fn asks(&self, Link { registry, inbox }: Link) -> Result<Operator, Fault> {
        let mut client = Client::new(registry, inbox, PATIENCE);
        client
            .session()
            .await
            .map_err(|why| Fault::new(Exit::Registry, "REGISTRY_UNAVAILABLE", why.to_string()))?;
        Ok(Operator::new(client, self.namespace.clone()))
    }
}

/// Opens a connection each time it is asked.
pub(crate) type Connector = Connecting<Box<dyn FnMut() -> Result<Link, NoLink> + Send>>;

fn connect(address: &Address, options: &Options, memory: &MemoryRegistry) -> Result<Link, NoLink> {
    let directory = match address {
        Address::Embedded(directory) => directory,
        Address::Memory => {
            let (registry, inbox) = memory.connect();
            return Ok(Link { registry, inbox });
        }
        Address::ZooKeeper(address, rights) => return Ok(on_zookeeper(address, rights)),
        Address::Etcd(address, rights) => return Ok(on_etcd(address, rights)),
    };
    match Embedded::open(directory, options) {
        Ok((registry, inbox)) => Ok(Link { registry, inbox }),
        Err(why) if why.is_temporary() => Err(NoLink::Away(why.to_string())),
        Err(why) => Err(NoLink::Refused(why.to_string())),
    }
}

fn on_zookeeper(address: &registry::Address, credentials: &zookeeper::Credentials) -> Link {
    let (registry, inbox) = zookeeper::open(address, credentials);
    Link { registry, inbox }
}

fn on_etcd(address: &registry::Address, credentials: &etcd::Credentials) -> Link {
    let (registry, inbox) = etcd::open(address, credentials);
    Link { registry, inbox }
}

fn on_network(cluster: &Cluster, settings: &NodeSettings) -> registry::Address {
    let session_timeout = settings.session_timeout;
    registry::Address { session_timeout, ..cluster.address.clone() }
}

/// The settings and where each came from, or what is wrong with them.
pub(crate) fn accepted(resolved: Resolved) -> Result<(NodeSettings, Vec<Origin>), Fault> {
    let Resolved { settings, origins, problems } = resolved;
    let problems: Vec<_> = problems.into_iter().map(|problem| (None, problem)).collect();
    problem::warn(&problems);
    let Some(mut settings) = settings else { return Err(problem::refused(&problems)) };
    let is_default = |name: &str| {
        origins.iter().any(|origin| origin.name == name && origin.source == Source::Default)
    };
    // On one host a dead process is seen by its lock at once: the registry's own default is about
    // stopped ones, and far shorter than what a network needs.
    let is_remote = matches!(settings.registry, RegistryUrl::ZooKeeper(_) | RegistryUrl::Etcd(_));
    if is_default("session_timeout") && !is_remote {
        settings.session_timeout = Options::default().session_timeout;
    }
    Ok((settings, origins))
}

/// An environment variable that is text.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn refused(why: &OpenError) -> Fault {
    match why.is_temporary() {
        true => Fault::new(Exit::Registry, "REGISTRY_UNAVAILABLE", why.to_string()),
        false => Fault::new(Exit::Invalid, "DATA_DIR", why.to_string()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Embedded(directory) => write!(f, "embedded:{}", directory.display()),
            Self::ZooKeeper(address, _) => address.fmt(f),
            Self::Etcd(address, _) => address.fmt(f),
        }
    }
}

/// A directory for this user alone, made if it is not there: outputs and definitions are not for
/// every user of the host.
pub(crate) fn make_private(directory: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|why| {
        let what = format!("cannot make the data directory {}: {why}", directory.display());
        Fault::new(Exit::Invalid, "DATA_DIR", what).hint("name a writable one: --data DIR")
    })
}
