//! The settings of a node, as one table: names, environment variables, flags, defaults and bounds.
//! What a file says is overridden by the environment, and that by the command line.
//!
//! In reading order: the table ([`SETTINGS`]), addresses ([`registry`], [`listen`]), which source
//! wins ([`resolve()`]), the reference generated from all this ([`reference_markdown`]).

mod argument;
pub mod listen;
mod reference;
pub mod registry;
mod resolve;
pub mod schema;

pub use argument::{text_of_argument, unreadable};
pub use reference::reference_markdown;
pub use resolve::{NodeSettings, Origin, Resolved, SecurityFiles, Source, Written};
pub use resolve::{parse_namespace, resolve};

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number between two bounds.
    Count(u64, u64),
    /// A duration between two bounds, in milliseconds.
    Duration(u64, u64),
    /// A registry's address.
    Registry,
    /// An address and port to listen on.
    Listen,
    /// A namespace.
    Namespace,
    /// A time zone.
    Zone,
    /// The path of a file.
    File,
    /// A list of paths; in a file only.
    Paths,
}

/// A setting of a node.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key under `node` in a job file; a dot parts a group from its member.
    pub name: &'static str,
    /// Its environment variable; none where only the file may say it.
    pub env: Option<&'static str>,
    /// Its flag, without dashes.
    pub flag: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// Its default as it would be written; empty for none.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What goes wrong with bad values.
    pub trouble: &'static str,
}

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "registry",
        env: Some("FLOCKWORK_REGISTRY"),
        flag: Some("registry"),
        kind: Kind::Registry,
        default: "embedded:",
        about: "Where nodes agree: memory: (this process), embedded:DIR (this host; without DIR in the data directory), zookeeper://HOST:PORT,HOST:PORT/ROOT?session_timeout=4s (its digest, user:password, comes from the environment variable FLOCKWORK_REGISTRY_DIGEST or the file that FLOCKWORK_REGISTRY_DIGEST_FILE names), or etcd://HOST:PORT,HOST:PORT/ROOT?session_timeout=4s (experimental; its user:password from FLOCKWORK_REGISTRY_USER or the file that FLOCKWORK_REGISTRY_USER_FILE names).",
        trouble: "Nodes with different registries do not see each other: each runs every job.",
    },
    Setting {
        name: "registry_ca_file",
        env: Some("FLOCKWORK_REGISTRY_CA_FILE"),
        flag: Some("registry-ca-file"),
        kind: Kind::File,
        default: "",
        about: "The certificates, as PEM, of those who vouch for the servers of a ZooKeeper or etcd registry. With it connections are made under TLS; without it in the clear.",
        trouble: "Servers whose certificates it does not vouch for, for the names in the address, are not talked to.",
    },
    Setting {
        name: "registry_certificate_file",
        env: Some("FLOCKWORK_REGISTRY_CERTIFICATE_FILE"),
        flag: Some("registry-certificate-file"),
        kind: Kind::File,
        default: "",
        about: "Our own certificate and its chain, as PEM, where the registry's servers ask for one.",
        trouble: "Needs registry_ca_file and registry_key_file.",
    },
    Setting {
        name: "registry_key_file",
        env: Some("FLOCKWORK_REGISTRY_KEY_FILE"),
        flag: Some("registry-key-file"),
        kind: Kind::File,
        default: "",
        about: "The key of that certificate, as PEM.",
        trouble: "A file that others may read is refused.",
    },
    Setting {
        name: "registry_login_file",
        env: Some("FLOCKWORK_REGISTRY_LOGIN_FILE"),
        flag: Some("registry-login-file"),
        kind: Kind::File,
        default: "",
        about: "A file that holds user:password on one line: ZooKeeper's digest, or etcd's user.",
        trouble: "A file that others may read is refused. Not beside FLOCKWORK_REGISTRY_DIGEST, FLOCKWORK_REGISTRY_USER or their _FILE.",
    },
    Setting {
        name: "data",
        env: Some("FLOCKWORK_DATA"),
        flag: Some("data"),
        kind: Kind::Text,
        default: "flockwork-data",
        about: "The data directory: embedded registry and output of scripts. On a local file system.",
        trouble: "A relative one depends on where the node is started: two nodes then do not meet.",
    },
    Setting {
        name: "namespace",
        env: Some("FLOCKWORK_NAMESPACE"),
        flag: Some("namespace"),
        kind: Kind::Namespace,
        default: "flockwork",
        about: "Under which name the jobs stand in the registry; ElasticJob nodes need the same.",
        trouble: "Nodes with different namespaces do not see each other.",
    },
    Setting {
        name: "ip",
        env: Some("FLOCKWORK_IP"),
        flag: Some("ip"),
        kind: Kind::Text,
        default: "",
        about: "The address by which other nodes know this server; the first that is no loopback if absent.",
        trouble: "Two hosts of one address are disabled together.",
    },
    Setting {
        name: "listen",
        env: Some("FLOCKWORK_LISTEN"),
        flag: Some("listen"),
        kind: Kind::Listen,
        default: "127.0.0.1:8087",
        about: "Where status page, health and metrics are served. Port 0 takes a free one. The default moves to the next free port, one that is written must be free.",
        trouble: "Loopback only: nothing else is safe before there is authentication.",
    },
    Setting {
        name: "max_running",
        env: Some("FLOCKWORK_MAX_RUNNING"),
        flag: Some("max-running"),
        kind: Kind::Count(1, 100_000),
        default: "256",
        about: "How many runs this node has at a time; fires beyond wait unclaimed, in due order.",
        trouble: "Too few start late; too many exhaust memory and processes.",
    },
    Setting {
        name: "drain_timeout",
        env: Some("FLOCKWORK_DRAIN_TIMEOUT"),
        flag: Some("drain-timeout"),
        kind: Kind::Duration(0, HOUR),
        default: "25s",
        about: "How long runs may go on after SIGTERM, SIGINT or SIGHUP.",
        trouble: "Too short cuts runs off; longer than the service manager waits ends in SIGKILL, and a crash.",
    },
    Setting {
        name: "cancel_grace",
        env: Some("FLOCKWORK_CANCEL_GRACE"),
        flag: Some("cancel-grace"),
        kind: Kind::Duration(0, HOUR),
        default: "5s",
        about: "How long a cancelled script has between SIGTERM and SIGKILL.",
        trouble: "Too short leaves half-done work; too long holds the shard after a time-out.",
    },
    Setting {
        name: "session_timeout",
        env: Some("FLOCKWORK_SESSION_TIMEOUT"),
        flag: Some("session-timeout"),
        kind: Kind::Duration(2 * SECOND, 600 * SECOND),
        default: "4s",
        about: "After how long without a sign of life a node counts as gone.",
        trouble: "Too short takes a paused node for a dead one; too long leaves its shards waiting.",
    },
    Setting {
        name: "reconcile_interval",
        env: Some("FLOCKWORK_RECONCILE_INTERVAL"),
        flag: Some("reconcile-interval"),
        kind: Kind::Duration(SECOND, HOUR),
        default: "60s",
        about: "How often the node looks again at a shard that waits for another instance.",
        trouble: "Too often is load; too rarely leaves a lost notice unnoticed.",
    },
    Setting {
        name: "time_zone",
        env: Some("FLOCKWORK_TIME_ZONE"),
        flag: Some("time-zone"),
        kind: Kind::Zone,
        default: "UTC",
        about: "The zone of cron expressions in ElasticJob documents of job files that name none.",
        trouble: "ElasticJob takes the zone of its process: nodes that differ fire at different instants.",
    },
    Setting {
        name: "log",
        env: Some("FLOCKWORK_LOG"),
        flag: Some("log"),
        kind: Kind::Text,
        default: "info",
        about: "What is logged to standard error: off, error, warn, info, debug, trace, or by target.",
        trouble: "trace writes several lines for each fire.",
    },
    Setting {
        name: "log_format",
        env: Some("FLOCKWORK_LOG_FORMAT"),
        flag: Some("log-format"),
        kind: Kind::Word(&["text", "json"]),
        default: "text",
        about: "How log lines are written.",
        trouble: "",
    },
    Setting {
        name: "scripts.allow",
        env: None,
        flag: None,
        kind: Kind::Paths,
        default: "",
        about: "Programs this node may run: exact paths, or directories with all below them; relative to the file.",
        trouble: "Without it no script runs here, whatever the registry says.",
    },
    Setting {
        name: "scripts.pid_namespace",
        env: Some("FLOCKWORK_SCRIPTS_PID_NAMESPACE"),
        flag: Some("scripts-pid-namespace"),
        kind: Kind::Switch,
        default: "false",
        about: "Whether each script has a PID namespace of its own: the kernel then ends all of it even if node, guard and runner are killed at the same instant. Needs CAP_SYS_ADMIN.",
        trouble: "With it a script sees and signals no process outside of it; without it what a script started may live on after such a kill, until a node starts on this host.",
    },
];

/// The setting named `name`, if there is one.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
