//! `flockwork validate`: what is wrong with job files, as `run` would say. Touches no registry and
//! runs nothing.

use crate::args::ValidateArgs;
use crate::fault::Fault;
use crate::{clock, files, output, runnable, show};
use std::fmt::Write as _;

pub(crate) fn run(args: &ValidateArgs) -> Result<(), Fault> {
    let loaded = files::load(&args.files, args.time_zone.as_deref(), clock::now())?;
    runnable::check(&loaded)?;
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
    let _ = writeln!(text, "{} jobs, nothing wrong", loaded.jobs.len());
    let _ = output::write(&text);
    Ok(())
}
