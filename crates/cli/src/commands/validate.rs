//! `flockwork validate`: what is wrong with job files, as `run` would say. Touches no registry and
//! runs nothing.

use crate::args::ValidateArgs;
use crate::fault::Fault;
use crate::runnable::For;
use crate::{clock, files, reply, runnable, show};
use std::fmt::Write as _;

pub(crate) fn run(args: &ValidateArgs) -> Result<(), Fault> {
    let loaded = files::load(&args.files, args.time_zone.as_deref(), clock::now())?;
    let warnings = runnable::check(&loaded, For::People)?;
    let mut text = String::new();
    for job in &loaded.jobs {
        let _ = writeln!(
            text,
            "{}: {} shards, {}",
            job.name,
            job.shards,
            show::schedule(&job.schedule)
        );
    }
    let jobs = loaded.jobs.len();
    let _ = match warnings {
        0 => writeln!(text, "{jobs} jobs, nothing wrong"),
        1 => writeln!(text, "{jobs} jobs, of which 1 would not run on this host"),
        _ => writeln!(text, "{jobs} jobs, of which {warnings} would not run on this host"),
    };
    reply::whole(&text)
}
