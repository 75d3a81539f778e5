//! `flockwork-soak`: one soak; see `USAGE`.

use anyhow::{Context, Result, bail, ensure};
use flockwork_checker::trace;
use flockwork_soak::registry::Which;
use flockwork_soak::soak::{Outcome, Plan, run};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: flockwork-soak [--registry zookeeper|etcd|embedded] [--minutes M] \
    [--fault-every 20s] [--calm 90s] [--seed N] [--keep DIR]";

/// Runs per second that eight jobs are sure to make, faults or not.
const LEAST_RUNS: u64 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match soak(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // A closed pipe ends the telling, and changes nothing of what is found.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn soak(args: &[String]) -> Result<bool> {
    let scratch = tempfile::tempdir()?;
    let wish = wish(args, scratch.path().to_owned())?;
    let outcome = run(&wish.plan, &mut |line| say(line))?;
    let is_well = outcome.is_well();
    if !is_well || wish.keep {
        let at = if wish.keep { wish.plan.directory } else { std::env::temp_dir() };
        keep(&outcome, &at)?;
    }
    say(outcome.report().trim_end());
    Ok(is_well)
}

struct Wish {
    plan: Plan,
    keep: bool,
}

fn keep(outcome: &Outcome, at: &std::path::Path) -> Result<()> {
    let name = |end: &str| at.join(format!("flockwork-soak-{}.{end}", std::process::id()));
    std::fs::write(name("timeline"), outcome.timeline())?;
    std::fs::write(name("trace"), trace::write(&outcome.trace))?;
    say(&format!("timeline and trace: {}, .trace", name("timeline").display()));
    Ok(())
}

fn wish(args: &[String], scratch: PathBuf) -> Result<Wish> {
    let beside = std::env::current_exe()?.with_file_name("flockwork");
    let mut plan = Plan {
        registry: Which::ZooKeeper,
        faulty: Duration::from_secs(600),
        every: Duration::from_secs(20),
        calm: Duration::from_secs(90),
        session: Duration::from_secs(4),
        seed: 1,
        least_runs: 0,
        flockwork: beside,
        directory: scratch,
    };
    let mut keep = false;
    for pair in args.chunks(2) {
        let [name, value] = pair else { bail!("{USAGE}") };
        match name.as_str() {
            "--registry" => plan.registry = Which::named(value).context(USAGE)?,
            "--minutes" => plan.faulty = Duration::from_secs_f64(value.parse::<f64>()? * 60.0),
            "--fault-every" => plan.every = seconds(value)?,
            "--calm" => plan.calm = seconds(value)?,
            "--seed" => plan.seed = value.parse()?,
            "--keep" => (plan.directory, keep) = (value.into(), true),
            _ => bail!("{USAGE}"),
        }
    }
    ensure!(plan.flockwork.is_file(), "{} is not built", plan.flockwork.display());
    plan.least_runs = LEAST_RUNS * (plan.faulty + plan.calm).as_secs();
    Ok(Wish { plan, keep })
}

fn seconds(text: &str) -> Result<Duration> {
    let number = text.strip_suffix('s').unwrap_or(text);
    Ok(Duration::from_secs(number.parse().with_context(|| format!("{text:?}: write 20s"))?))
}
