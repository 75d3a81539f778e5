//! A program whose registry is deleted under it.

use flockwork::{Connecting, EngineError, Error, Job, Link, NoLink, Node, Registry};
use flockwork_registry::memory::MemoryRegistry;
use flockwork_registry::{Event, inbox};
use std::io;
use std::time::Duration;

#[tokio::test]
async fn a_node_whose_registry_was_replaced_ends_its_run_with_that_error() {
    let (sender, inbox) = inbox::channel();
    sender.push(Event::Replaced("its directory was deleted".to_owned()));
    let mut link = Some(Link { registry: MemoryRegistry::default().connect().0, inbox });
    let gone = || NoLink::Refused("it was connected once".to_owned());
    let connect = Connecting::new("embedded:data", move || link.take().ok_or_else(gone));
    let node = Node::builder()
        .registry(Registry::custom(connect))
        .address("10.0.0.1")
        .job(Job::every("settle", Duration::from_secs(1)), async |_| Ok::<_, io::Error>(()));
    let ended = tokio::time::timeout(Duration::from_secs(60), node.run()).await;
    let Ok(Err(Error::Ended(EngineError::RegistryReplaced { text, .. }))) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(text, "its directory was deleted");
    drop(sender);
}
