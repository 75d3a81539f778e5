//! Sessions and what lives with them.

use super::scene::{ensure, same, tells};
use super::{Case, Scene, Stop};
use crate::client::CommitError;
use crate::{Event, Failure, Op, Scope, SessionState};

pub(super) const CASES: &[Case] = &[
    Case { name: "session_entries_vanish_when_it_closes", run: |s| Box::pin(closed(s)) },
    Case { name: "session_entries_vanish_when_it_ends", run: |s| Box::pin(ended(s)) },
    Case { name: "session_entries_stay_while_it_lives", run: |s| Box::pin(stay(s)) },
    Case { name: "lasting_entries_outlive_their_session", run: |s| Box::pin(lasting(s)) },
    Case {
        name: "an_entry_made_again_lives_with_its_new_session",
        run: |s| Box::pin(made_again(s)),
    },
    Case { name: "vanishing_is_told", run: |s| Box::pin(vanishing_told(s)) },
    Case { name: "a_new_session_follows_with_a_resync", run: |s| Box::pin(follows(s)) },
    Case { name: "watches_outlive_their_session", run: |s| Box::pin(watches_outlive(s)) },
    Case { name: "commits_of_an_ended_session_are_refused", run: |s| Box::pin(zombie(s)) },
    Case { name: "a_closed_connection_commits_nothing", run: |s| Box::pin(after_close(s)) },
    Case { name: "many_sessions_end_each_for_itself", run: |s| Box::pin(many(s)) },
];

async fn closed(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let key = scene.key("here");
    goes.client.commit(vec![Op::create_for_session(key.clone(), "x")]).await?;
    stays.put(&scene.key(""), "").await?;
    same("seen by another: its session", &stays.read(&key).await?.session, &Some(goes.session))?;
    goes.client.close().await;
    stays.put(&scene.key(""), "").await?;
    same("once closed it exists", &stays.exists(&key).await?, &false)
}

async fn ended(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let keys = [scene.key("a"), scene.key("b")];
    for key in &keys {
        goes.client.commit(vec![Op::create_for_session(key.clone(), "")]).await?;
    }
    goes.control.end_session().await?;
    for key in &keys {
        stays.until(key, false, scene.patience()).await?;
    }
    Ok(())
}

async fn stay(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let (kept, gone) = (scene.key("kept"), scene.key("gone"));
    stays.client.commit(vec![Op::create_for_session(kept.clone(), "")]).await?;
    goes.client.commit(vec![Op::create_for_session(gone.clone(), "")]).await?;
    goes.client.close().await;
    stays.until(&gone, false, scene.patience()).await?;
    same("the session", &stays.client.session().await?, &stays.session)?;
    same("the owner", &stays.read(&kept).await?.session, &Some(stays.session))
}

async fn lasting(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let (lasts, goes_too) = (scene.key("lasts"), scene.key("goes"));
    let both = vec![Op::create(lasts.clone(), "v"), Op::create_for_session(goes_too.clone(), "v")];
    goes.client.commit(both).await?;
    goes.client.close().await;
    stays.until(&goes_too, false, scene.patience()).await?;
    let entry = stays.read(&lasts).await?;
    same("the entry", &(&entry.value[..], entry.session), &(&b"v"[..], None))
}

/// Who deletes another's entry and makes it again owns it, and the first one's end leaves it be.
async fn made_again(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut first, mut second) = (scene.node().await?, scene.node().await?);
    let (key, sign) = (scene.key("key"), scene.key("sign"));
    for mine in [&key, &sign] {
        first.client.commit(vec![Op::create_for_session(mine.clone(), "")]).await?;
    }
    let taken = vec![Op::Delete(key.clone(), None), Op::create_for_session(key.clone(), "")];
    second.client.commit(taken).await?;
    first.client.close().await;
    second.until(&sign, false, scene.patience()).await?;
    same("the owner", &second.read(&key).await?.session, &Some(second.session))
}

async fn vanishing_told(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut stays, mut goes) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    stays.make(&own, "").await?;
    goes.client.commit(vec![Op::create_for_session(key.clone(), "")]).await?;
    let watched = [(key.clone(), Scope::Value), (scene.key(""), Scope::Children)];
    for (key, scope) in &watched {
        stays.client.watch(key, *scope).await?;
    }
    stays.client.kept();
    goes.client.close().await;
    let mut told = Vec::new();
    while !watched.iter().all(|(key, scope)| tells(&told, key, *scope)) {
        let event = stays.client.next_event().await;
        told.push(event.ok_or_else(|| Stop::Failed(format!("told only {told:?}")))?);
    }
    same("it exists", &stays.exists(&key).await?, &false)
}

async fn follows(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut node = scene.node().await?;
    let old = node.session;
    node.control.end_session().await?;
    let (mut ended, mut resynced) = (false, false);
    let new = loop {
        match node.client.next_event().await {
            Some(Event::Session(SessionState::Ended(session))) => {
                same("which ended", &session, &old)?;
                ended = true;
            }
            Some(Event::Resync) => resynced = ended,
            Some(Event::Session(SessionState::Live { session, .. })) if session != old => {
                break session;
            }
            Some(_) => {}
            None => return Err(Stop::Failed("no new session followed".to_owned())),
        }
    };
    ensure(ended && resynced, || format!("{new}: ended {ended}, then resync {resynced}"))?;
    let key = scene.key("key");
    node.client.commit(vec![Op::create_for_session(key.clone(), "")]).await?;
    same("the owner", &node.read(&key).await?.session, &Some(new))
}

async fn watches_outlive(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (key, own) = (scene.key("key"), scene.key("own"));
    node.make(&own, "").await?;
    node.client.watch(&key, Scope::Value).await?;
    node.control.end_session().await?;
    loop {
        match node.client.next_event().await {
            Some(Event::Session(SessionState::Live { session, .. })) if session != node.session => {
                break;
            }
            Some(_) => {}
            None => return Err(Stop::Failed("no new session followed".to_owned())),
        }
    }
    node.told_until_commit(&own).await?;
    other.make(&key, "").await?;
    let told = node.told_until_commit(&own).await?;
    ensure(tells(&told, &key, Scope::Value), || format!("told only {told:?}"))
}

/// A process that stood still does not know that its session has ended, and asks on.
async fn zombie(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let (claim, mine) = (scene.key("claim"), scene.key("mine"));
    node.client.commit(vec![Op::create_for_session(mine.clone(), "")]).await?;
    node.control.pause().await?;
    node.control.end_session().await?;
    other.until(&mine, false, scene.patience()).await?;
    let late = node.client.send(crate::Request::Commit(vec![Op::create(claim.clone(), "")]));
    node.control.resume().await?;
    match crate::client::committed(node.client.answer(late).await) {
        Err(CommitError::Failed(Failure::SessionEnded(session))) => {
            same("which ended", &session, &node.session)?;
        }
        Err(CommitError::Failed(Failure::Unknown(_) | Failure::NotSent(_))) => {}
        other => return Err(Stop::Failed(format!("answered {other:?}"))),
    }
    other.put(&scene.key(""), "").await?;
    same("the claim exists", &other.exists(&claim).await?, &false)
}

async fn after_close(scene: &Scene<'_>) -> Result<(), Stop> {
    let (mut node, mut other) = (scene.node().await?, scene.node().await?);
    let key = scene.key("key");
    node.client.registry().close().await;
    let made = node.client.commit(vec![Op::create(key.clone(), "")]).await;
    let failed = matches!(&made, Err(CommitError::Failed(why)) if !why.may_have_happened());
    ensure(failed, || format!("answered {made:?}"))?;
    other.put(&scene.key(""), "").await?;
    same("it exists", &other.exists(&key).await?, &false)
}

async fn many(scene: &Scene<'_>) -> Result<(), Stop> {
    let mut nodes = Vec::new();
    for n in 0..20 {
        let mut node = scene.node().await?;
        let key = scene.key(&format!("{n:02}"));
        node.client.commit(vec![Op::create_for_session(key.clone(), "")]).await?;
        nodes.push((node, key));
    }
    let mut watcher = scene.node().await?;
    let mut kept = Vec::new();
    for (n, (node, key)) in nodes.into_iter().enumerate() {
        if n % 2 == 0 {
            node.client.close().await;
            watcher.until(&key, false, scene.patience()).await?;
        } else {
            kept.push((node, key));
        }
    }
    let names: Vec<String> = kept.iter().map(|(_, key)| key.name().to_owned()).collect();
    same("what is left", &watcher.client.children(&scene.key("")).await?, &Some(names))
}
