//! Opening the registry, and the node's end of it.

use crate::bell::Bell;
use crate::footing::{Ground, Identity};
use crate::lock::{WriterLock, holder};
use crate::place::Place;
use crate::shared::Shared;
use crate::writer::{self, Tools};
use crate::{OpenError, Options, schema, watchman};
use flockwork_registry::{Clock, Inbox, Limits, Registry, Request, Ticket, inbox};
use rusqlite::Connection;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long the first opening of a directory waits for another process that is making it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The registry of one host.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

impl Embedded {
    /// Makes the registry in this directory, or joins the processes that use it. Another opening in
    /// the same process joins too, with a session of its own.
    ///
    /// It does not wait for the session: [`SessionState`](flockwork_registry::SessionState) tells
    /// of it. It does wait, at most 2 s, where the database is yet to be made.
    ///
    /// # Errors
    /// [`OpenError`], which says where, why, and what to do; see [`OpenError::is_temporary`].
    pub fn open(dir: &Path, options: &Options) -> Result<(Arc<dyn Registry>, Inbox), OpenError> {
        options.check()?;
        let place = Place::prepare(dir)?;
        let ground = Ground::open(&place)?;
        let tools = Tools { lock: WriterLock::open(&place)?, bell: Bell::open(&place)? };
        let (connection, database) = open_database(&place, &ground, &tools.lock)?;
        let footing = ground.hold(&place, &tools.lock, database)?;
        let (sender, inbox) = inbox::channel();
        let timeout = options.timeout_millis();
        let shared = Arc::new(Shared::new((place, footing), options.limits, timeout, sender)?);
        start(&shared, connection, tools)?;
        Ok((Arc::new(Connected { shared }), inbox))
    }
}

fn open_database(
    place: &Place,
    ground: &Ground,
    lock: &WriterLock,
) -> Result<(Connection, Identity), OpenError> {
    if let Some(opened) = open_existing(place, ground)? {
        schema::search_for_damage(&opened.0, &place.database())?;
        return Ok(opened);
    }
    let path = place.lock();
    match lock.take_within(PATIENCE) {
        Ok(true) => {}
        Ok(false) => return Err(OpenError::Held { holder: holder(&path), path }),
        Err(cause) => return Err(OpenError::io(path, "lock it", cause)),
    }
    let made = schema::create(place);
    lock.release();
    made?;
    // It is empty though it was just made.
    open_existing(place, ground)?.ok_or_else(|| OpenError::Moved(place.database()))
}

/// The database, and which file its name stood for when it was opened.
fn open_existing(
    place: &Place,
    ground: &Ground,
) -> Result<Option<(Connection, Identity)>, OpenError> {
    let Some(database) = ground.database(place)? else { return Ok(None) };
    Ok(schema::open_existing(place)?.map(|connection| (connection, database)))
}

fn start(shared: &Arc<Shared>, connection: Connection, tools: Tools) -> Result<(), OpenError> {
    let failed = |cause| OpenError::io(shared.place.dir(), "start a thread for it", cause);
    let watched = Arc::clone(shared);
    thread::Builder::new()
        .name("registry-watch".to_owned())
        .spawn(move || watchman::watch_over(&watched))
        .map_err(failed)?;
    let writing = Arc::clone(shared);
    let started = thread::Builder::new().name("registry-write".to_owned()).spawn(move || {
        // Also if it panics, so that nobody waits for ever.
        let _finish = Finish(&writing);
        writer::run(&writing, connection, &tools);
    });
    if started.is_err() {
        shared.finish();
    }
    started.map(|_| ()).map_err(failed)
}

struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The node's end.
#[derive(Debug)]
struct Connected {
    shared: Arc<Shared>,
}

impl Registry for Connected {
    fn submit(&self, ticket: Ticket, request: Request) {
        self.shared.submit(ticket, request);
    }

    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn clock(&self) -> Clock {
        Clock::OfThisHost
    }

    fn describe(&self) -> String {
        format!("embedded:{}", self.shared.place.dir().display())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let mut finished = self.shared.finished();
            self.shared.ask_to_close();
            // An error means that the sender is gone, which it is not: it is in `self`.
            let _ = finished.wait_for(|finished| *finished).await;
        })
    }
}

/// Without `close`, the session ends all the same, a little later.
impl Drop for Connected {
    fn drop(&mut self) {
        self.shared.ask_to_close();
    }
}
