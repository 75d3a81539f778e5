//! With etcd's authentication on.

use crate::fixture::{PATIENCE, address};
use crate::server::Server;
use flockwork_registry::client::{Client, CommitError};
use flockwork_registry::{Failure, Key, Op};
use flockwork_registry_etcd::{Credentials, Login, open};
use flockwork_trials::server::Server as _;
use std::time::Duration;
use tokio::time::sleep;

const SESSION: Duration = Duration::from_secs(4);

fn guarded(token_life: &str) -> Server {
    let server = Server::start_with(&["--auth-token-ttl", token_life]);
    for step in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "flock:hunter2"],
        &["role", "add", "flock"],
        &["role", "grant-permission", "flock", "readwrite", "/mine/", "--prefix=true"],
        &["user", "grant-role", "flock", "flock"],
        &["auth", "enable"],
    ] {
        assert!(server.ctl(step).is_some(), "{step:?}");
    }
    server
}

fn join(server: &Server, root: &str, user: Option<Login>) -> Client {
    let credentials = Credentials { user, ..Credentials::default() };
    let (registry, inbox) = open(&address(&[server.address()], root, SESSION), &credentials);
    Client::new(registry, inbox, PATIENCE)
}

fn user(password: &str) -> Option<Login> {
    Login::new(&format!("flock:{password}"), "this test").ok()
}

fn make(text: &str) -> Vec<Op> {
    vec![Op::create_for_session(Key::new(text).expect("short"), "")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_works_below_its_root_and_nowhere_else() {
    let server = guarded("300");
    let mut mine = join(&server, "/mine", user("hunter2"));
    mine.session().await.expect("it may");
    mine.commit(make("/a")).await.expect("it may");
    mine.close().await;
    let mut again = join(&server, "/mine", user("hunter2"));
    again.session().await.expect("it may");
    assert_eq!(
        again.get(&Key::new("/a").expect("short")).await,
        Ok(None),
        "it went with its session"
    );
    for (root, user, wanted) in [
        ("/other", user("hunter2"), "permission denied"),
        ("/mine", user("wrong"), "authentication failed"),
        ("/mine", None, "user name"),
    ] {
        let credentials = Credentials { user, ..Credentials::default() };
        let (registry, inbox) = open(&address(&[server.address()], root, SESSION), &credentials);
        let mut denied = Client::new(registry, inbox, Duration::from_secs(2));
        let Err(Failure::NotSent(why)) = denied.session().await else { panic!("{root}: let in") };
        assert!(why.contains(wanted) && !why.contains("hunter2"), "{why}");
        denied.close().await;
    }
}

/// A login runs out where nobody asks for a while, and is made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_has_run_out_is_made_again_within_the_session() {
    let server = guarded("1");
    let mut mine = join(&server, "/mine", user("hunter2"));
    let session = mine.session().await.expect("it may");
    let mut made = 0;
    for turn in 0..4 {
        sleep(Duration::from_secs(2)).await;
        match mine.commit(make(&format!("/{turn}"))).await {
            Ok(_) => made += 1,
            // Unknown, where it was a renewal that met it first.
            Err(CommitError::Failed(Failure::NotSent(_) | Failure::Unknown(_))) => {}
            other => panic!("answered {other:?}"),
        }
        mine.session().await.expect("it comes back");
    }
    assert!(made > 0, "nothing was made");
    assert_eq!(mine.session().await, Ok(session));
}
