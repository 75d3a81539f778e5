//! Whether a node may serve a job: what the job's definition asks for, compared with what the node offers.
//!
//! One function answers it, [`may_serve`], wherever it is asked: by a node before it registers for a job, and
//! by whoever checks a job file. What a node offers is found out elsewhere and comes in as an [`Offer`].

use crate::config::JobConfig;
use crate::execution::Work;
use std::fmt;

/// What a node offers for one job.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The implementation strings of the job, as the registry and as the node has it. `None` if the registry's
    /// job names none, which fits any.
    pub implementations: Option<(&'a str, &'a str)>,
    /// Whether the node's program has a function for the job.
    pub has_function: bool,
    /// Whether the node's program has a listener for the job.
    pub has_listener: bool,
    /// Whether the node can start the script that the definition names. It is not looked at if the definition
    /// names none.
    pub script: &'a Startable,
}

/// Whether a node can start a script, as far as the node knows. That is a matter of its files and its own
/// settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Startable {
    /// The script was not looked at yet.
    #[default]
    NotKnown,
    /// The script can be started.
    Yes,
    /// The script cannot be started.
    No(Hindrance),
}

/// Whether a node may serve a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// The node may serve it.
    May,
    /// Nothing that is known keeps the node from serving it, and not all is known.
    NotKnown,
    /// The node may not serve it, for each of these reasons. There is at least one.
    MayNot(Vec<Hindrance>),
}

/// A reason why a node may not serve a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The registry's job is another one of the same name.
    OtherImplementation {
        /// The registry's implementation string.
        registry: String,
        /// The node's own.
        own: String,
    },
    /// The definition names no script, and the node's program has no function for the job.
    NoFunction,
    /// The definition has a listener, and the node's program has none for the job.
    NoListener,
    /// The script cannot be started on this node.
    Script {
        /// The stable code of the reason.
        code: &'static str,
        /// What is wrong and what to do.
        text: String,
    },
}

impl Hindrance {
    /// Returns the stable code for people and stored forms.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherImplementation { .. } => "IMPLEMENTATION_CONFLICT",
            Self::NoFunction => "JOB_NOT_REGISTERED",
            Self::NoListener => "NO_LISTENER",
            Self::Script { code, .. } => code,
        }
    }
}

/// What is wrong and what to do, without the code.
impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherImplementation { registry, own } => write!(
                f,
                "the registry has it as {registry:?}, this node as {own:?}; give one of them another name"
            ),
            Self::NoFunction => f.write_str(
                "the registry's definition names no script, and this node's program has no function for the \
                 job; register one, or name a script in the definition",
            ),
            Self::NoListener => f.write_str(
                "the registry's definition has a listener, and this node's program has none for the job; \
                 register one, or take it out of the definition",
            ),
            Self::Script { text, .. } => f.write_str(text),
        }
    }
}

/// Returns whether a node that offers this may serve a definition, with all that keeps it from doing so.
#[must_use]
pub fn may_serve(definition: &JobConfig, offer: &Offer<'_>) -> Eligibility {
    let mut hindrances = Vec::new();
    if let Some((registry, own)) = offer.implementations.filter(|(registry, own)| registry != own) {
        let (registry, own) = (registry.to_owned(), own.to_owned());
        hindrances.push(Hindrance::OtherImplementation { registry, own });
    }
    let is_known = match (&*definition.work, offer.script) {
        (Work::Script(_), Startable::No(why)) => {
            hindrances.push(why.clone());
            true
        }
        (Work::Script(_), script) => *script == Startable::Yes,
        (Work::Function, _) => {
            hindrances.extend((!offer.has_function).then_some(Hindrance::NoFunction));
            true
        }
    };
    if definition.listener.is_some() && !offer.has_listener {
        hindrances.push(Hindrance::NoListener);
    }
    match (hindrances.is_empty(), is_known) {
        (false, _) => Eligibility::MayNot(hindrances),
        (true, false) => Eligibility::NotKnown,
        (true, true) => Eligibility::May,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Draft, Level, ListenerDraft, check};
    use crate::time::Timestamp;

    fn definition(script: bool, listener: bool) -> JobConfig {
        let draft = Draft {
            cron: Some("* * * * * ?".to_owned()),
            script: script.then(|| vec!["/bin/true".to_owned()]),
            listener: listener.then(ListenerDraft::default),
            ..Draft::native("j")
        };
        check(&draft, Level::Strict, Timestamp::default()).config.unwrap()
    }

    fn codes(definition: &JobConfig, offer: &Offer<'_>) -> Option<Vec<&'static str>> {
        match may_serve(definition, offer) {
            Eligibility::May => Some(Vec::new()),
            Eligibility::NotKnown => None,
            Eligibility::MayNot(why) => Some(why.iter().map(Hindrance::code).collect()),
        }
    }

    #[test]
    fn each_thing_that_a_node_lacks_is_named_and_only_if_it_is_asked_for() {
        let refused = Startable::No(Hindrance::Script { code: "X", text: "x".to_owned() });
        let fits = Offer {
            implementations: Some(("a", "a")),
            has_function: true,
            has_listener: true,
            script: &Startable::Yes,
        };
        let other = Some(("a", "b"));
        let table = [
            (false, false, fits, &[][..]),
            (true, true, fits, &[]),
            (false, false, Offer { script: &refused, has_listener: false, ..fits }, &[]),
            (true, false, Offer { has_function: false, has_listener: false, ..fits }, &[]),
            (false, true, Offer { implementations: None, ..fits }, &[]),
            (false, false, Offer { has_function: false, ..fits }, &["JOB_NOT_REGISTERED"]),
            (true, true, Offer { has_listener: false, ..fits }, &["NO_LISTENER"]),
            (true, false, Offer { script: &refused, ..fits }, &["X"]),
            (
                true,
                true,
                Offer { implementations: other, has_listener: false, script: &refused, ..fits },
                &["IMPLEMENTATION_CONFLICT", "X", "NO_LISTENER"],
            ),
        ];
        for (script, listener, offer, expected) in table {
            let definition = definition(script, listener);
            let told = codes(&definition, &offer);
            assert_eq!(told.as_deref(), Some(expected), "{script} {listener} {offer:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_neither_yes_nor_no_and_hides_no_reason() {
        let offer = Offer {
            implementations: None,
            has_function: false,
            has_listener: false,
            script: &Startable::NotKnown,
        };
        assert_eq!(codes(&definition(true, false), &offer), None);
        assert_eq!(codes(&definition(true, true), &offer), Some(vec!["NO_LISTENER"]));
        let has_function = Offer { has_function: true, ..offer };
        assert_eq!(codes(&definition(false, false), &has_function), Some(Vec::new()));
    }

    #[test]
    fn each_reason_says_what_to_do() {
        let (registry, own) = ("theirs".to_owned(), "ours".to_owned());
        for (why, told) in [
            (
                Hindrance::OtherImplementation { registry, own },
                "as \"theirs\", this node as \"ours\"",
            ),
            (Hindrance::NoFunction, "register one"),
            (Hindrance::NoListener, "take it out of the definition"),
        ] {
            assert!(why.to_string().contains(told), "{why}");
        }
    }
}
