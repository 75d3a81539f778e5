//! Jobs that the registry has and this node's files have not: named once it can be read, and once more
//! if they went with what the registry lost.

use crate::output::{self, escaped};
use crate::place::{Address, Found};
use flockwork_engine::{Handle, Subscription, Told};
use flockwork_node::Report;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often it is asked whether the registry can be read.
const TRIES: u32 = 30;

/// How many jobs are named.
const NAMED: usize = 10;

/// How long other nodes are given to make anew what their own files define.
const SETTLES: Duration = Duration::from_secs(15);

/// Names them until the node has stopped.
pub(super) async fn name(found: Found, own: Vec<String>, handle: Handle) {
    if matches!(found.address, Address::Memory) {
        return;
    }
    let mut reports = handle.subscribe();
    let Some(mut known) = strangers(&found, &own, &handle).await else { return };
    if let Some(first) = known.first() {
        let _ = output::write(&format!(
            "in the registry and in none of these files: {}; they stay there until removed \
             (flockwork remove {})\n",
            listed(&known),
            escaped(first)
        ));
    }
    while was_lost(&mut reports).await {
        tokio::time::sleep(SETTLES).await;
        let Some(left) = strangers(&found, &own, &handle).await else { continue };
        let gone: BTreeSet<String> = known.difference(&left).cloned().collect();
        if !gone.is_empty() {
            let _ = output::write(&format!(
                "gone with the registry's data, as no node that runs defines them: {}\n",
                listed(&gone)
            ));
        }
        known = left;
    }
}

/// Waits until the registry has lost what it knew; false once the node has stopped.
async fn was_lost(reports: &mut Subscription) -> bool {
    while let Some(told) = reports.recv().await {
        let is_loss = match told {
            Told::Report(told) => {
                matches!(told.report, Report::Trouble { code: "REGISTRY_LOST_DATA", .. })
            }
            // It may be among those that were dropped.
            Told::Lost(_) => true,
        };
        if is_loss {
            return true;
        }
    }
    false
}

/// The registry's jobs that are in none of this node's files, if it can be read.
async fn strangers(found: &Found, own: &[String], handle: &Handle) -> Option<BTreeSet<String>> {
    for _ in 0..TRIES {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if handle.status().await.is_err() {
            continue;
        }
        let Ok(mut operator) = found.operator().await else { continue };
        let names = operator.names().await;
        operator.close().await;
        let Ok(names) = names else { continue };
        let names = names.iter().map(|name| name.as_str().to_owned());
        return Some(names.filter(|name| !own.contains(name)).collect());
    }
    None
}

fn listed(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", escaped(&shown.join(", ")))
}
