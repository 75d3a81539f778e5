//! Reading many entries in few round trips.

use crate::{AdminError, Operator};
use flockwork_registry::{Answer, Entry, Failure, Key, Request, Ticket};

/// How many questions are under way at once: enough to hide the way to the registry, far below what
/// any registry takes.
const UNDER_WAY: usize = 64;

impl Operator {
    /// Reads many entries, in the order of the keys.
    pub(crate) async fn entries(
        &mut self,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Entry>>, AdminError> {
        let answers = self.ask(keys.into_iter().map(Request::Get)).await?;
        answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Entry(entry) => Ok(entry),
                other => Err(unasked(&other)),
            })
            .collect()
    }

    /// The children of many keys, in their order; of a key that does not exist there are none.
    pub(crate) async fn children(
        &mut self,
        keys: Vec<Key>,
    ) -> Result<Vec<Vec<String>>, AdminError> {
        let answers = self.ask(keys.into_iter().map(Request::Children)).await?;
        answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Children(names) => Ok(names.unwrap_or_default()),
                other => Err(unasked(&other)),
            })
            .collect()
    }

    /// Whether many keys exist.
    pub(crate) async fn exist(&mut self, keys: Vec<Key>) -> Result<Vec<bool>, AdminError> {
        Ok(self.entries(keys).await?.iter().map(Option::is_some).collect())
    }

    async fn ask(
        &mut self,
        requests: impl Iterator<Item = Request>,
    ) -> Result<Vec<Answer>, AdminError> {
        let requests: Vec<Request> = requests.collect();
        let mut answers = Vec::with_capacity(requests.len());
        for batch in requests.chunks(UNDER_WAY) {
            let tickets: Vec<Ticket> =
                batch.iter().map(|request| self.client.send(request.clone())).collect();
            for ticket in tickets {
                match self.client.answer(ticket).await {
                    Answer::Failed(why) => return Err(AdminError::asking(why)),
                    answer => answers.push(answer),
                }
            }
        }
        Ok(answers)
    }
}

fn unasked(answer: &Answer) -> AdminError {
    AdminError::asking(Failure::NotSent(format!(
        "the registry answered something else: {answer:?}"
    )))
}
