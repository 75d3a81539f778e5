//! Clients of the status page that mean no good.

use crate::is_start;
use crate::process::{Node, get, scene};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may take beside them, on a loaded host.
const PROMPT: Duration = Duration::from_secs(5);

fn is_healthy(address: &str) {
    let asked = Instant::now();
    let answer = get(address, "/healthz", address);
    assert!(answer.contains("\"live\":true"), "{answer}");
    assert!(asked.elapsed() < PROMPT, "health took {:?}", asked.elapsed());
}

fn open_files(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.child.id())).unwrap().count()
}

#[test]
fn thousands_of_idle_connections_and_slow_heads_hold_up_neither_page_nor_node() {
    let directory = scene("1s", "true");
    let mut node = Node::start(directory.path());
    let address = node.page();
    node.await_line(is_start);
    // As many as this process may open at once: each is opened anew until 10,000 were.
    let mut held = std::collections::VecDeque::new();
    let mut most = 0;
    for n in 0..10_000 {
        let mut stream = TcpStream::connect(&address).unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").unwrap();
        }
        held.push_back(stream);
        if held.len() > 600 {
            held.pop_front();
        }
        if n % 1_000 == 999 {
            is_healthy(&address);
            most = most.max(open_files(&node));
        }
    }
    assert!(most < 400, "{most} files are open");
    assert!(get(&address, "/", &address).contains("href=\"/jobs/work\""));
    node.seen();
    node.await_line(is_start);
    // Whoever made room was told why.
    let mut told = String::new();
    let mut oldest = held.pop_front().unwrap();
    oldest.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    oldest.read_to_string(&mut told).unwrap();
    assert!(told.contains("error[TOO_MANY_CONNECTIONS]"), "{told}");
    // Whoever stays is told when its time is over.
    let mut told = String::new();
    let mut newest = held.pop_back().unwrap();
    newest.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    newest.read_to_string(&mut told).unwrap();
    assert!(told.contains("error[REQUEST_TIMEOUT]"), "{told}");
}
