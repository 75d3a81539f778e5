//! The pages themselves.

use super::{About, is_trusted};
use crate::clock;
use crate::output::escaped;
use flockwork_core::id::InstanceId;
use flockwork_core::time::Timestamp;
use flockwork_layout::clock::difference;
use flockwork_node::{JobStatus, Phase, ShardStatus, Status};
use maud::{DOCTYPE, Markup, html};
use std::collections::BTreeMap;

/// Jobs on one page.
const JOBS: usize = 50;
/// Shards on one page.
const SHARDS: usize = 200;
/// Shards that are drawn one by one; more are counted.
const DRAWN: usize = 64;

/// What the address of a page asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    from: usize,
    refresh: bool,
}

impl View {
    pub(super) fn of(options: &BTreeMap<String, String>) -> Self {
        let from = options.get("from").and_then(|text| text.parse().ok()).unwrap_or(0);
        Self { from, refresh: options.contains_key("refresh") }
    }

    /// The same page from another row on.
    fn link(self, from: usize) -> String {
        let refresh = if self.refresh { "&refresh=1" } else { "" };
        format!("?from={from}{refresh}")
    }

    fn toggled(self) -> String {
        let refresh = if self.refresh { "" } else { "&refresh=1" };
        format!("?from={}{refresh}", self.from)
    }
}

pub(super) fn jobs(about: &About, status: &Status, view: &View) -> Markup {
    let now = clock::now();
    let title = format!("{}, {} running here", counted(status.jobs.len(), "job"), status.running);
    let shown = status.jobs.iter().skip(view.from).take(JOBS);
    let body = html! {
        h1 { (title) }
        p.lead { (lead(status)) }
        (trust(status))
        @if status.jobs.is_empty() {
            div.frame { div.empty {
                "No job is served here. " code { "flockwork run FILE" } " serves the jobs of a file."
            } }
        } @else {
            div.frame { table {
                thead { tr {
                    th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Next due" }
                    th scope="col" { "Shards" } th.num scope="col" { "Instances" }
                } }
                tbody { @for job in shown { (job_row(job, &status.instance, now)) } }
            } }
            (legend())
            (pager(*view, JOBS, status.jobs.len()))
        }
        (running(status))
    };
    page(about, &status.instance, *view, &title, &body)
}

fn lead(status: &Status) -> String {
    let waiting = match status.waiting {
        0 => String::new(),
        n => format!("; {} due and waiting for a free place", counted(n, "fire")),
    };
    let draining = if status.is_draining { "; this node is on its way out" } else { "" };
    format!("What this node knows, and runs itself{waiting}{draining}.")
}

fn trust(status: &Status) -> Markup {
    html! {
        @if !is_trusted(status) {
            div.band.late role="alert" {
                "The registry session is not proven at the moment: this node starts nothing new. \
                 Jobs may be running elsewhere unseen."
            }
        }
    }
}

fn clock_differs(job: &JobStatus) -> Markup {
    html! {
        @if let Some(clock) = &job.clock {
            div.band.late role="alert" {
                "CLOCK_DIFFERS: this node's clock is " (difference(clock.ahead))
                ", the limit is " (clock.limit.as_millis()) " ms: it takes up nothing of this job \
                 until they agree."
            }
        }
    }
}

fn job_row(job: &JobStatus, me: &InstanceId, now: Timestamp) -> Markup {
    let (class, word) = phase(job.phase);
    html! {
        tr {
            td { a href=(link(job)) { (escaped(job.name.as_str())) } small.mono { (escaped(&job.schedule)) } }
            td data-name="State" {
                span.chip.(class) { (word) }
                @if job.clock.is_some() { " " span.chip.late { "clock differs" } }
            }
            td.nowrap data-name="Next due" { (due(job.next, now)) }
            td data-name="Shards" { (strip(job, me)) }
            td.num data-name="Instances" { (job.instances.len()) }
        }
    }
}

fn link(job: &JobStatus) -> String {
    let name = job.name.as_str().bytes();
    let encoded: String = name
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("/jobs/{encoded}")
}

fn due(next: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @match next {
            Some(next) => { (instant(next)) small { (clock::relative(next, now)) } }
            None => span.quiet { "not planned" }
        }
    }
}

/// `2026-11-22 12:03:07` in UTC, which the page's foot says.
fn instant(instant: Timestamp) -> String {
    let text = Timestamp::from_millis(instant.as_millis().div_euclid(1_000) * 1_000).to_string();
    text.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}

fn phase(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Joining => ("wait", "joining"),
        Phase::Serving => ("ok", "served"),
        Phase::Refused => ("bad", "refused"),
        Phase::Leaving => ("late", "leaving"),
        Phase::Left => ("off", "left"),
        Phase::Removed => ("off", "removed"),
    }
}

/// A shard's class, and the same in words.
fn state(shard: &ShardStatus, me: &InstanceId) -> (&'static str, &'static str) {
    match (&shard.run, &shard.owner, shard.last) {
        (Some(_), ..) if shard.is_overdue => ("bad", "overdue here"),
        (Some(_), ..) => ("run", "running here"),
        (None, None, _) => ("lost", "no owner"),
        (None, Some(_), Some(code)) if code != "OK" => ("bad", "failed last"),
        (None, Some(owner), _) if owner == me => ("mine", "idle here"),
        (None, Some(_), _) => ("", "elsewhere"),
    }
}

fn strip(job: &JobStatus, me: &InstanceId) -> Markup {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in &job.shards {
        *counts.entry(state(shard, me).1).or_default() += 1;
    }
    let words: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    html! {
        @if job.shards.len() <= DRAWN {
            div.strip aria-hidden="true" {
                @for shard in &job.shards {
                    @let (class, word) = state(shard, me);
                    i class=(class) title=(format!("shard {}: {word}", shard.shard)) {}
                }
            }
        }
        small { (words.join(", ")) }
    }
}

fn legend() -> Markup {
    let entries = [
        ("run", "running here"),
        ("mine", "idle here"),
        ("", "on another instance"),
        ("bad", "failed last"),
        ("lost", "no owner"),
    ];
    html! {
        ul.legend {
            @for (class, word) in entries {
                li { span.strip aria-hidden="true" { i class=(class) {} } (word) }
            }
        }
    }
}

fn running(status: &Status) -> Markup {
    let runs = status.jobs.iter().flat_map(|job| job.shards.iter());
    let runs: Vec<_> = runs.filter_map(|shard| shard.run.as_ref()).take(SHARDS).collect();
    html! {
        @if !runs.is_empty() {
            h2 { "Running here now" }
            div.frame { table {
                thead { tr {
                    th scope="col" { "Job" } th.num scope="col" { "Shard" } th scope="col" { "Fire" }
                    th scope="col" { "Cause" } th.num scope="col" { "Attempt" } th.num scope="col" { "Epoch" }
                } }
                tbody { @for run in runs { tr {
                    td { (escaped(run.job.as_str())) }
                    td.num data-name="Shard" { (run.shard) }
                    td.nowrap data-name="Fire" { (instant(run.fire.due)) }
                    td data-name="Cause" { (run.fire.source.as_str()) }
                    td.num data-name="Attempt" { (run.attempt) }
                    td.num data-name="Epoch" { (run.epoch) }
                } } }
            } }
        }
    }
}

pub(super) fn job(about: &About, status: &Status, job: &JobStatus, view: &View) -> Markup {
    let now = clock::now();
    let (class, word) = phase(job.phase);
    let title = escaped(job.name.as_str());
    let shown = job.shards.iter().skip(view.from).take(SHARDS);
    let body = html! {
        h1 { (title) " " span.chip.(class) { (word) } }
        p.lead { a href="/" { "All jobs" } }
        (trust(status))
        (clock_differs(job))
        dl.facts {
            dt { "Schedule" } dd.mono { (escaped(&job.schedule)) }
            dt { "Next due" } dd { (due(job.next, now)) }
            dt { "Instances" } dd {
                @if job.instances.is_empty() { "none" }
                @for instance in &job.instances { div { (named(instance, &status.instance))
                    @if job.leader.as_ref() == Some(instance) { span.quiet { " assigns the shards" } } } }
            }
        }
        h2 { (counted(job.shards.len(), "shard")) }
        div.frame { table {
            thead { tr {
                th.num scope="col" { "Shard" } th scope="col" { "State" } th scope="col" { "Owner" }
                th scope="col" { "Fire" } th scope="col" { "Last outcome here" }
                th.num scope="col" { "Runs here" }
            } }
            tbody { @for shard in shown { (shard_row(shard, &status.instance)) } }
        } }
        (pager(*view, SHARDS, job.shards.len()))
    };
    page(about, &status.instance, *view, &title, &body)
}

fn shard_row(shard: &ShardStatus, me: &InstanceId) -> Markup {
    let (class, word) = state(shard, me);
    let chip = if matches!(class, "mine" | "") { "wait" } else { class };
    let fire = shard.run.as_ref().map(|run| run.fire).or(shard.waiting);
    html! {
        tr {
            td.num data-name="Shard" { (shard.shard) }
            td { span.chip.(chip) { (word) } @if shard.waiting.is_some() { " " span.chip.late { "waits for a free place" } } }
            td data-name="Owner" { @match &shard.owner { Some(owner) => (named(owner, me)), None => "none" } }
            td.nowrap data-name="Fire" { @if let Some(fire) = fire { (instant(fire.due)) " " span.quiet { (fire.source.as_str()) } } }
            td data-name="Last outcome here" { (outcome(shard.last)) }
            td.num data-name="Runs here" { (shard.ran) }
        }
    }
}

fn outcome(last: Option<&'static str>) -> Markup {
    html! {
        @match last {
            None => span.quiet { "none yet" },
            Some("OK") => span.chip.ok { "ok" },
            Some(code) => span.chip.bad { (code) },
        }
    }
}

fn named(instance: &InstanceId, me: &InstanceId) -> Markup {
    html! { span.mono { (escaped(instance.as_str())) } @if instance == me { " " span.quiet { "this node" } } }
}

fn pager(view: View, size: usize, total: usize) -> Markup {
    let end = view.from.saturating_add(size);
    html! {
        @if total > size {
            nav.pager {
                span { (view.from.saturating_add(1)) " to " (end.min(total)) " of " (total) }
                @if view.from > 0 { a href=(view.link(view.from.saturating_sub(size))) { "Previous" } }
                @if end < total { a href=(view.link(end)) { "Next" } }
            }
        }
    }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The page of a node that has no registry yet.
pub(super) fn waiting(about: &About, me: &InstanceId, why: &str) -> Markup {
    let body = html! {
        h1 { "Waiting for the registry" }
        p.lead { "The node is alive, starts nothing, and goes on as soon as the registry answers." }
        div.band.late role="alert" { (escaped(why)) }
    };
    page(about, me, View { from: 0, refresh: true }, "Waiting for the registry", &body)
}

pub(super) fn absent() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Not here", false))
            body { main { h1 { "Not here" } p.lead { "There is no such page, or no such job on this node. " a href="/" { "All jobs" } } } }
        }
    }
}

fn head(title: &str, refresh: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            @if refresh { meta http-equiv="refresh" content="5"; }
            title { (title) " · flockwork" }
            link rel="icon" href="/icon.svg" type="image/svg+xml";
            link rel="stylesheet" href="/style.css";
        }
    }
}

fn page(about: &About, me: &InstanceId, view: View, title: &str, body: &Markup) -> Markup {
    let now = clock::now();
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, view.refresh))
            body {
                header.top {
                    a.brand href="/" { img src="/icon.svg" alt=""; "flockwork" }
                    span.where { (escaped(&about.registry)) " / " (escaped(&about.namespace)) }
                    span.asof { "as of " (instant(now)) " · "
                        a href=(view.toggled()) { @if view.refresh { "stop refreshing" } @else { "refresh every 5 s" } } }
                }
                main { (body) }
                footer {
                    "Times are UTC. Instance " span.mono { (escaped(me.as_str())) } ", up since "
                    (instant(about.started)) ". " a href="/metrics" { "Metrics" } " · " a href="/healthz" { "Health" }
                }
            }
        }
    }
}
