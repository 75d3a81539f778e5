//! The status page: what this node knows, read only. Loopback only, until there is authentication.
//!
//! Pages are made on the server from the node's own view, so they answer while the registry does
//! not. In reading order: where it listens ([`bind`]), who may hold a connection ([`door`]), which
//! requests are answered ([`guard`]), what they show ([`html`]).

mod door;
mod guard;
mod html;

use crate::fault::{Exit, Fault};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flockwork_core::time::Timestamp;
use flockwork_engine::{Clock, Handle, SystemClock, metrics};
use flockwork_node::Status;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How many ports above the default one are tried: as many nodes as one would start on a desk.
const PORTS_TRIED: u16 = 100;

/// What the pages say about the node that does not change.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The registry's address.
    pub(crate) registry: String,
    /// The namespace.
    pub(crate) namespace: String,
    /// When the node started.
    pub(crate) started: Timestamp,
}

/// Listens at `address`; a default that is taken moves on to the next free port.
pub(crate) async fn bind(address: SocketAddr, is_explicit: bool) -> Result<TcpListener, Fault> {
    let tried = if is_explicit { 1 } else { PORTS_TRIED };
    let mut refused = None;
    for offset in 0..tried {
        let Some(port) = address.port().checked_add(offset) else { break };
        match TcpListener::bind(SocketAddr::new(address.ip(), port)).await {
            Ok(listener) => return Ok(listener),
            Err(why) => refused.get_or_insert(why),
        };
    }
    let why = refused.map_or("no port left".to_owned(), |why| why.to_string());
    Err(Fault::new(Exit::Failed, "BIND", format!("cannot listen on {address}: {why}"))
        .hint("name another port, or 0 for any free one: --listen 127.0.0.1:0"))
}

/// What every page is made from.
#[derive(Clone, Debug)]
struct Desk {
    handle: Handle,
    about: Arc<About>,
}

/// Answers requests until it is told to stop; the node does not depend on it.
pub(crate) async fn serve(listener: TcpListener, handle: Handle, about: About) {
    let desk = Desk { handle, about: Arc::new(about) };
    door::serve(listener, router(desk), door::Bounds::default()).await;
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(jobs))
        .route("/jobs/{job}", get(job))
        .route("/healthz", get(health))
        .route("/healthz/live", get(live))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(numbers))
        .route("/style.css", get(style))
        .route("/icon.svg", get(icon))
        .fallback(absent)
        .layer(middleware::from_fn(guard::guard))
        .with_state(desk)
}

type Options = Query<BTreeMap<String, String>>;

async fn jobs(State(desk): State<Desk>, Query(options): Options) -> Response {
    match desk.handle.status().await {
        Ok(status) => html::jobs(&desk.about, &status, &html::View::of(&options)).into_response(),
        Err(why) => unavailable(&desk, &why.to_string()),
    }
}

async fn job(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(options): Options,
) -> Response {
    let status = match desk.handle.status().await {
        Ok(status) => status,
        Err(why) => return unavailable(&desk, &why.to_string()),
    };
    match status.jobs.iter().find(|job| job.name.as_str() == name) {
        Some(job) => {
            html::job(&desk.about, &status, job, &html::View::of(&options)).into_response()
        }
        None => absent().await,
    }
}

/// The page without the node's view: what it waits for, and that asking again may help.
fn unavailable(desk: &Desk, why: &str) -> Response {
    let page = html::waiting(&desk.about, desk.handle.instance(), why);
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], page).into_response()
}

async fn absent() -> Response {
    (StatusCode::NOT_FOUND, html::absent()).into_response()
}

/// Whether the node's session is proven now, so that it may start work.
fn is_trusted(status: &Status) -> bool {
    !status.is_suspended && SystemClock.now().mono <= status.trusted_until
}

async fn is_ready(desk: &Desk) -> bool {
    desk.handle.status().await.is_ok_and(|status| is_trusted(&status) && !status.is_draining)
}

/// Both in one: a process that answers is alive, and is ready while its session is proven.
async fn health(State(desk): State<Desk>) -> Response {
    let text = format!("{{\"live\":true,\"ready\":{}}}\n", is_ready(&desk).await);
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(desk): State<Desk>) -> Response {
    match is_ready(&desk).await {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn numbers(State(desk): State<Desk>) -> Response {
    let waiting = desk.handle.status().await.ok().map(|status| status.waiting);
    let metrics = desk.handle.metrics();
    for (stream, lines) in crate::output::dropped() {
        metrics.lines_dropped(stream, lines);
    }
    let text = metrics.render(waiting);
    ([(header::CONTENT_TYPE, metrics::exposition::CONTENT_TYPE)], text).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page/style.css"))
        .into_response()
}

async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("page/icon.svg")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_default_port_moves_on_and_a_written_one_does_not() {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let taken = bind(loopback, true).await.unwrap().local_addr().unwrap();
        let holder = TcpListener::bind(taken).await.unwrap();
        let fault = bind(taken, true).await.unwrap_err();
        assert_eq!((fault.code, fault.exit), ("BIND", Exit::Failed));
        let moved = bind(taken, false).await.unwrap().local_addr().unwrap();
        assert!(moved.port() > taken.port());
        drop(holder);
    }
}
