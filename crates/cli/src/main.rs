//! The flockwork command: a node, and questions and commands to the jobs of a registry.

mod args;
mod clock;
mod commands;
mod credentials;
mod fault;
mod files;
mod live;
mod logs;
mod outlet;
mod output;
mod page;
mod place;
mod problem;
mod reply;
mod runnable;
mod show;
mod state;

use args::{Cli, Command};
use clap::Parser;
use fault::{Exit, Fault};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A process that was started to watch over a script does that, and nothing below.
    flockwork_worker::runner::run_if_asked();
    match read_arguments(std::env::args_os().collect()) {
        Ok(cli) => {
            let is_for_programs = cli.command.is_for_programs();
            answer(run(cli.command), is_for_programs)
        }
        Err(Parsed::Help(text)) => answer(reply::whole(&text), false),
        Err(Parsed::Wrong(text)) => {
            output::complain(&text);
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// What the command line asks for instead of a command.
enum Parsed {
    Help(String),
    Wrong(String),
}

fn read_arguments(args: Vec<OsString>) -> Result<Cli, Parsed> {
    if let Some(bad) = args.iter().skip(1).find(|arg| arg.to_str().is_none()) {
        let shown: String =
            bad.as_encoded_bytes().escape_ascii().to_string().chars().take(120).collect();
        let fault = Fault::new(Exit::Usage, "ARG_NOT_UTF8", format!("not UTF-8: {shown}"));
        return Err(Parsed::Wrong(fault.text()));
    }
    Cli::try_parse_from(args).map_err(|error| {
        let text = error.render().to_string();
        match error.use_stderr() {
            false => Parsed::Help(text),
            true => Parsed::Wrong(usage(&text)),
        }
    })
}

/// The parser's complaint with our code in front; it names the argument, the usage and what may have
/// been meant.
fn usage(text: &str) -> String {
    match text.strip_prefix("error: ") {
        Some(rest) => format!("error[USAGE]: {rest}"),
        None => text.to_owned(),
    }
}

fn answer(done: Result<(), Fault>, is_for_programs: bool) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            output::complain(&if is_for_programs { fault.json() } else { fault.text() });
            ExitCode::from(fault.exit as u8)
        }
    }
}

fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Run(args) => commands::run::run(&args),
        Command::Ps(args) => commands::jobs::ps(&args),
        Command::Describe(args) => commands::jobs::describe(&args),
        Command::Trigger(args) => commands::jobs::trigger(&args),
        Command::Enable(args) => commands::jobs::switch(&args, true),
        Command::Disable(args) => commands::jobs::switch(&args, false),
        Command::Remove(args) => commands::jobs::remove(&args),
        Command::Validate(args) => commands::validate::run(&args),
        Command::Next(args) => commands::next::run(&args),
        Command::Settings(args) => commands::settings::run(&args),
        Command::Schema => reply::whole(&flockwork_layout::settings::schema::job_file_schema()),
    }
}
