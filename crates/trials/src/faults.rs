//! What happens to servers and to the way to them, while four writers commit at full speed.

use crate::gate::Gate;
use crate::server::{Server, addresses, await_leader};
use crate::{Kind, WRITERS, rounds, told};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A time-out far above what a server needs to start again, or several to elect a leader.
const LONG: Duration = Duration::from_secs(8);

/// For less than any session's time-out, and than the silence that breaks a connection.
const MOMENT: Duration = Duration::from_millis(500);

/// The server is killed and started again, within the sessions' time-out.
pub async fn killed(kind: Kind, server: &mut impl Server) -> String {
    let writers = kind.writers(&kind.address(&[server.address()], "/killed", LONG)).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.kill();
        server.run();
        server.await_service();
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    assert_eq!(judged.sessions, WRITERS, "a session outlives a restart within its time-out");
    told("killed and restarted", judged)
}

/// The server stands still for a moment.
pub async fn still_within_the_session(kind: Kind, server: &impl Server) -> String {
    let address = kind.address(&[server.address()], "/still", kind.session);
    let writers = kind.writers(&address).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.stop();
        sleep(MOMENT).await;
        server.go_on();
    }
    writers.more(20).await;
    let judged = writers.judged().await;
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
    told("stopped within the session", judged)
}

/// The server stands still for longer than sessions last.
pub async fn still_beyond_the_session(kind: Kind, server: &impl Server) -> String {
    let address = kind.address(&[server.address()], "/longer", kind.session);
    let writers = kind.writers(&address).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        server.stop();
        sleep(kind.session * 3 / 2).await;
        server.go_on();
    }
    writers.more(20).await;
    told("stopped beyond the session", writers.judged().await)
}

/// The way to the server is cut, or lets nothing pass in one direction: three of them a round.
pub async fn cut(kind: Kind, server: &impl Server) -> String {
    let gate = Gate::before(server.address()).await;
    let writers = kind.writers(&kind.address(&[gate.address()], "/cut", kind.session)).await;
    for round in 0..rounds() * 3 {
        writers.more(10).await;
        match round % 3 {
            0 => gate.hold(true),
            1 => gate.hold_up(true),
            _ => {
                gate.shut(true);
                gate.cut();
            }
        }
        // Beyond the silence that breaks a connection; now and then beyond the session.
        sleep(if round % 9 < 6 { kind.session * 3 / 4 } else { kind.session * 5 / 4 }).await;
        gate.hold(false);
        gate.hold_up(false);
        gate.shut(false);
    }
    writers.more(20).await;
    told("cut in each direction", writers.judged().await)
}

/// The leader is killed and started again, and the others go on meanwhile.
pub async fn leader_killed<S: Server>(kind: Kind, servers: &mut [S]) -> String {
    let writers = kind.writers(&kind.address(&addresses(servers), "/three", LONG)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(servers);
        servers[leader].kill();
        let killed = Instant::now();
        writers.more(4).await;
        slowest = slowest.max(killed.elapsed());
        servers[leader].run();
        await_leader(servers);
    }
    let judged = writers.judged().await;
    assert_eq!(judged.sessions, WRITERS, "a session outlives its leader");
    format!("{}; the slowest was back after {slowest:?}", told("leader killed", judged))
}

/// The leader stands still, and leads still, as far as it knows, when it goes on: for no longer than a
/// small part of what sessions last, also where the others are kept from running meanwhile.
pub async fn leader_still<S: Server>(kind: Kind, servers: &[S]) -> String {
    let address = kind.address(&addresses(servers), "/stale", LONG * 2);
    let writers = kind.writers(&address).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(servers);
        servers[leader].stop();
        // The others go on without it.
        sleep(MOMENT * 4).await;
        writers.more(20).await;
        servers[leader].go_on();
        await_leader(servers);
    }
    let judged = writers.judged().await;
    assert_eq!(judged.sessions, WRITERS, "a session outlives its leader");
    told("leader stopped", judged)
}

/// The leader stands still beyond the session: how many sessions that takes is told, not claimed.
pub async fn leader_still_beyond_the_session<S: Server>(kind: Kind, servers: &[S]) -> String {
    let writers = kind.writers(&kind.address(&addresses(servers), "/deposed", kind.session)).await;
    for _ in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(servers);
        servers[leader].stop();
        sleep(kind.session * 3 / 2).await;
        // The others go on without it.
        writers.more(20).await;
        servers[leader].go_on();
        await_leader(servers);
    }
    writers.more(20).await;
    told("leader stopped beyond the session", writers.judged().await)
}
