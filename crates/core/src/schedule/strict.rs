//! What the strict level refuses on top of what Quartz refuses.

use super::cron::Cron;
use super::error::CronError;
use super::parse;
use crate::time::Timestamp;

pub(super) fn objections(cron: &Cron, now: Timestamp) -> Vec<CronError> {
    let mut found = parse::Objections::new();
    // It was read once, so it can be read again; a refusal is an objection all the same.
    if cron.objected
        && let Err(error) = parse::fields(cron.expression(), Some(&mut found))
    {
        found.push(error);
    }
    let unprintable = |char: char| char != ' ' && char != '\t' && !char.is_ascii_graphic();
    let foreign = cron.expression().char_indices().find(|(_, char)| unprintable(*char));
    if let Some((offset, _)) = foreign {
        found.push(CronError::Foreign { offset });
    }
    if cron.next_after(now).is_none() {
        found.push(CronError::Never { after: now });
    }
    found
}
