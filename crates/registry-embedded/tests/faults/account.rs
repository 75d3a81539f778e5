//! What a peer told of its load, held against what is there.

use crate::key;
use flockwork_registry::client::Client;
use std::collections::BTreeSet;

/// What one peer, or several one after the other in one name, told of their load.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    sent: BTreeSet<u64>,
    pub(crate) done: BTreeSet<u64>,
    /// Answered by a failure that says it has not happened, and never will.
    pub(crate) refused: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    /// How many sessions it was told to have ended before it closed.
    pub(crate) ended: usize,
}

/// What became of the commits that were sent and not acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    pub(crate) happened: usize,
    pub(crate) not: usize,
}

impl Account {
    /// Reads the lines of a peer with this load.
    pub(crate) fn of(name: &str, lines: &[String]) -> Self {
        let numbers = |start: &str, like: fn(&str) -> bool| {
            let number = |line: &String| {
                let rest = line.strip_prefix(start)?;
                let (number, why) = rest.split_once(' ').unwrap_or((rest, ""));
                like(why).then(|| number.parse().ok())?
            };
            lines.iter().filter_map(number).collect::<BTreeSet<u64>>()
        };
        let unknown = |why: &str| why.starts_with("Failed(Unknown");
        let account = Self {
            name: name.to_owned(),
            sent: numbers("sent ", |_| true),
            done: numbers("ack ", |_| true),
            refused: numbers("failed ", |why| !why.starts_with("Failed(Unknown")),
            unknown: numbers("failed ", unknown),
            ended: lines.windows(2).filter(ended_before_closing).count(),
        };
        let answered = account.done.iter().chain(&account.refused).chain(&account.unknown);
        let unasked: Vec<_> = answered.filter(|number| !account.sent.contains(number)).collect();
        assert!(unasked.is_empty(), "{name}: answers to what was not sent: {unasked:?}");
        account
    }

    /// Sent, and not answered, or answered that nobody knows.
    pub(crate) fn open(&self) -> BTreeSet<u64> {
        let settled = |number: &&u64| !self.done.contains(number) && !self.refused.contains(number);
        self.sent.iter().filter(settled).copied().collect()
    }

    /// As [`check`](Self::check); anything wrong ends the test.
    pub(crate) async fn holds(&self, client: &mut Client) -> Open {
        self.check(client).await.unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// All that was acknowledged is there, nothing that was refused, and each was applied once: the
    /// counter was set as often as there are entries.
    pub(crate) async fn check(&self, client: &mut Client) -> Result<Open, String> {
        let name = &self.name;
        let all = client.children(&key(&format!("/load/{name}"))).await.expect("it answers");
        let numbers = all.ok_or_else(|| format!("{name} is not there"))?.into_iter();
        let there: BTreeSet<u64> = numbers.map(|it| it.parse().expect("a number")).collect();
        let wrong = |what: &str, numbers: Vec<&u64>| match &numbers[..] {
            [] => Ok(()),
            _ => Err(format!("{name}: {what}: {numbers:?}")),
        };
        wrong("lost", self.done.difference(&there).collect())?;
        wrong("refused, yet there", self.refused.intersection(&there).collect())?;
        wrong("there, yet never sent", there.difference(&self.sent).collect())?;
        let count = client.get(&key(&format!("/count/{name}"))).await.expect("it answers");
        let count = count.map_or(0, |entry| u64::from(entry.stamp.version));
        if count != there.len() as u64 {
            return Err(format!("{name}: {} entries, set {count} times", there.len()));
        }
        let open = self.open();
        let happened = open.intersection(&there).count();
        Ok(Open { happened, not: open.len() - happened })
    }
}

fn ended_before_closing(lines: &&[String]) -> bool {
    lines[0].starts_with("ended") && lines[1] != "closed"
}
