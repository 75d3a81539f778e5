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
    /// Remove a job from the registry, with all its records
    Remove(RemoveArgs),
    /// Check job files and say everything that is wrong with them
    Validate(ValidateArgs),
    /// Print the next due instants of Quartz cron expressions, one RFC 3339 instant a line
    Next(NextArgs),
    /// List all settings: their keys in files, environment variables, flags and defaults
    Settings(OutputArgs),
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

/// How logs are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// Where the jobs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// Where the nodes agree: embedded:DIR (one host, several processes), or memory: (one process)
    #[arg(long, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// The data directory; holds the embedded registry unless --registry says otherwise
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Which jobs of the registry: those under this name
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Job files (YAML)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where the status page listens; loopback addresses only. The default moves to the next free
    /// port if 8087 is taken
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
    /// Let these files win where the registry's definitions differ
    #[arg(long)]
    pub(crate) apply: bool,
    /// This node's lasting name, for shards that should stay where they are
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The address that other nodes see as this server's
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// How many runs this node has at a time
    #[arg(long, value_name = "N")]
    pub(crate) max_running: Option<u32>,
    /// How long runs may go on after SIGTERM, e.g. 25s
    #[arg(long, value_name = "DURATION")]
    pub(crate) drain_timeout: Option<String>,
    /// What is logged to standard error, e.g. info, flockwork_node=debug
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How logs are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
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
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Job files (YAML)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NextArgs {
    /// Quartz cron expressions, quoted; - reads them from standard input, one a line, and answers
    /// each with a block that an empty line ends
    #[arg(required = true, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expressions: Vec<String>,
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
