//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The version with the commit it was built from.
pub(crate) const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("FLOCKWORK_COMMIT"), ")");

/// A decentralised, sharded job scheduler.
#[derive(Debug, Parser)]
#[command(name = "flockwork", version = VERSION, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid input, 4 not found, \
                        5 conflict, 7 registry unavailable or answer lost, 8 timed out."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node that serves the jobs of these files, until it is told to stop
    #[command(
        after_help = "Signals: SIGTERM, SIGINT and SIGHUP drain the node; a second SIGTERM or SIGINT \
                            ends it at once. SIGUSR1 and SIGQUIT print how it stands. No other signal that \
                            can be caught ends it."
    )]
    Run(RunArgs),
    /// List the jobs
    Ps(PsArgs),
    /// Show one job: next fires, shards, owners, last outcomes
    Describe(DescribeArgs),
    /// Run a job now, on the instances that serve it
    Trigger(JobArgs),
    /// Enable a job, a server or a shard
    Enable(SwitchArgs),
    /// Disable a job, a server or a shard: nothing new of it starts
    Disable(SwitchArgs),
    /// Remove a job from the registry; what became of its fires is kept
    Remove(RemoveArgs),
    /// Check job files and say everything that is wrong with them
    Validate(ValidateArgs),
    /// Print the next due instants of Quartz cron expressions, one RFC 3339 instant a line
    Next(NextArgs),
    /// Show the settings in force and where each came from
    Settings(SettingsArgs),
    /// Print the JSON Schema of job files
    Schema,
}

impl Command {
    /// Whether a program reads the answer, and so the complaint as well.
    pub(crate) fn is_for_programs(&self) -> bool {
        let output = match self {
            Self::Ps(args) => args.output.output,
            Self::Describe(args) => args.output.output,
            Self::Settings(args) => args.output.output,
            _ => Format::Text,
        };
        output == Format::Json
    }
}

/// How lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Text,
    /// One JSON document for programs.
    Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// Where the jobs are. Each flag has an environment variable, FLOCKWORK_ and its name.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Place {
    /// Where nodes agree: embedded:DIR (one host, several processes), memory: (one process),
    /// zookeeper://HOST:PORT,... or etcd://HOST:PORT,...
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Certificates (PEM) of those who vouch for the registry's servers: connect under TLS
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<String>,
    /// Our own certificate (PEM), where the registry's servers ask for one
    #[arg(long, value_name = "FILE")]
    registry_certificate_file: Option<String>,
    /// The key of that certificate (PEM), in a file that others may not read
    #[arg(long, value_name = "FILE")]
    registry_key_file: Option<String>,
    /// A file with user:password for the registry, that others may not read
    #[arg(long, value_name = "FILE")]
    registry_login_file: Option<String>,
    /// The data directory; holds the embedded registry unless --registry names another place
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Which jobs of the registry: those under this name
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Place {
    /// What a flag says, by its name in the table of settings.
    pub(crate) fn flag(&self, name: &str) -> Option<String> {
        match name {
            "registry" => self.registry.clone(),
            "registry-ca-file" => self.registry_ca_file.clone(),
            "registry-certificate-file" => self.registry_certificate_file.clone(),
            "registry-key-file" => self.registry_key_file.clone(),
            "registry-login-file" => self.registry_login_file.clone(),
            "data" => self.data.clone(),
            "namespace" => self.namespace.clone(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Job files (YAML)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Let these files win where the registry's definitions differ
    #[arg(long)]
    pub(crate) apply: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

/// The other settings of a node; `flockwork settings` explains them.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeFlags {
    /// Where the status page listens, on loopback only; the default moves on if 8087 is taken
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// The address by which other nodes know this server
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// How many runs this node has at a time
    #[arg(long, value_name = "N")]
    max_running: Option<String>,
    /// How long runs may go on after a signal to stop, e.g. 25s
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// How long a cancelled script has between SIGTERM and SIGKILL, e.g. 5s
    #[arg(long, value_name = "DURATION")]
    cancel_grace: Option<String>,
    /// After how long without a sign of life a node counts as gone, e.g. 30s
    #[arg(long, value_name = "DURATION")]
    session_timeout: Option<String>,
    /// Whether each script has a PID namespace of its own: true or false
    #[arg(long, value_name = "TRUE|FALSE")]
    scripts_pid_namespace: Option<String>,
    /// How often the node compares what it believes with the registry, e.g. 60s
    #[arg(long, value_name = "DURATION")]
    reconcile_interval: Option<String>,
    /// The zone of cron expressions in ElasticJob documents that name none
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What is logged to standard error, e.g. info or flockwork=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines are written: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl NodeFlags {
    /// What a flag says, by its name in the table of settings; `place` knows the others.
    pub(crate) fn flag(&self, place: &Place, name: &str) -> Option<String> {
        let node = self;
        let said = match name {
            "listen" => &node.listen,
            "ip" => &node.ip,
            "max-running" => &node.max_running,
            "drain-timeout" => &node.drain_timeout,
            "cancel-grace" => &node.cancel_grace,
            "session-timeout" => &node.session_timeout,
            "scripts-pid-namespace" => &node.scripts_pid_namespace,
            "reconcile-interval" => &node.reconcile_interval,
            "time-zone" => &node.time_zone,
            "log" => &node.log,
            "log-format" => &node.log_format,
            _ => return place.flag(name),
        };
        said.clone()
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's name
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The job's name
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Print outputs as they are, with the control characters in them
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Clone, Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["job", "server"])]
pub(crate) struct SwitchArgs {
    /// The job's name
    pub(crate) job: Option<String>,
    /// A server's address: the job on that server, or all jobs on it if none is named
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) server: Option<String>,
    /// One shard of the job
    #[arg(long, value_name = "N", requires = "job", conflicts_with = "server")]
    pub(crate) shard: Option<u32>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The job's name
    pub(crate) job: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Remove what became of its fires as well
    #[arg(long)]
    pub(crate) with_records: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Job files whose node part counts
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print the reference of all settings and job fields instead
    #[arg(long)]
    pub(crate) reference: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Job files (YAML)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The zone of cron expressions in ElasticJob documents that name none
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NextArgs {
    /// A Quartz cron expression, quoted; - reads them from standard input, one a line, and answers
    /// each with a block that an empty line ends
    #[arg(value_name = "EXPR")]
    pub(crate) expression: String,
    /// The zone that the expression means, an IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) tz: String,
    /// What happens when clocks change
    #[arg(long, value_name = "RULE", default_value = "quartz", value_parser = ["quartz", "sane"])]
    pub(crate) dst: String,
    /// Instants strictly after this one (RFC 3339); now if absent
    #[arg(long, value_name = "INSTANT")]
    pub(crate) after: Option<String>,
    /// How many instants, 1 to 10000
    #[arg(short, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) n: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use flockwork_layout::settings::SETTINGS;

    #[test]
    fn the_parser_stands() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_settings_is_a_flag_of_run() {
        for flag in SETTINGS.iter().filter_map(|setting| setting.flag) {
            let line = ["flockwork", "run", "x.yaml", &format!("--{flag}"), "a value"];
            let Command::Run(args) = Cli::try_parse_from(line).expect(flag).command else {
                panic!("{flag}")
            };
            assert_eq!(args.node.flag(&args.place, flag).as_deref(), Some("a value"), "{flag}");
        }
    }
}
