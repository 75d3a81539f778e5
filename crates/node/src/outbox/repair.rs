//! The repair of changes that were refused for a reason that does not matter to them: what is missing is
//! made, what is gone is left out, and the rest is sent once more.

use super::{Change, Outbox};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_registry::{Lifetime, Op, Refusal, Why};

impl Outbox {
    /// Alters a change and sends it once more, if that may help. Returns whether the change was sent.
    pub(crate) fn repair(
        &mut self,
        namespace: &Namespace,
        change: &mut Change,
        refusal: &Refusal,
    ) -> bool {
        if !change.may_be_repaired() {
            return false;
        }
        if refusal.why == Why::NoParent {
            return self.make_parent(namespace, change, refusal);
        }
        if change.is_parent() || refusal.at >= change.ops.len() {
            return false;
        }
        let facet = namespace.parse(&refusal.key).map(|(_, facet)| facet);
        let Some(facet) = facet else { return false };
        let is_mended =
            match mend(change.makes_the_tree(), &facet, &change.ops[refusal.at], refusal.why) {
                Mend::None => false,
                Mend::With(op) => {
                    change.replace(refusal.at, op);
                    true
                }
                Mend::Without => change.leave_out(refusal.at),
            };
        if is_mended {
            self.gather_first(change.clone());
        }
        is_mended
    }

    /// Sends the missing parent first. ElasticJob's election folders come and go by themselves.
    fn make_parent(&mut self, namespace: &Namespace, change: &Change, refusal: &Refusal) -> bool {
        let Some(parent) = refusal.key.parent() else { return false };
        // A removed job must not come back by way of its shards' marks.
        let is_mark = |facet: &Facet| {
            matches!(
                facet,
                Facet::Running(_)
                    | Facet::Failover(_)
                    | Facet::Owner(_)
                    | Facet::Clocks
                    | Facet::Leavers
                    | Facet::Ineligibles
            )
        };
        let parsed = namespace.parse(&refusal.key);
        if parsed.as_ref().is_some_and(|(_, facet)| is_mark(facet)) {
            return false;
        }
        let mut ops = vec![Op::create(parent, "")];
        // A removed job must not come back by way of its folders either: a removal deletes the definition
        // first.
        if let Some((job, facet)) = parsed
            && !(facet.is_own() || change.makes_the_tree())
        {
            let config = namespace.key(&job, &Facet::Config);
            ops.insert(0, Op::Check(config, None));
        }
        self.gather_first(change.clone());
        self.gather_first(Change::parent_of(change, ops));
        true
    }
}

/// The way to make a refused operation go through.
enum Mend {
    /// The operation cannot go through.
    None,
    /// The operation is not needed.
    Without,
    /// This operation is sent instead.
    With(Op),
}

fn mend(makes_tree: bool, facet: &Facet, op: &Op, why: Why) -> Mend {
    let (is_gone, exists) = (why == Why::Absent, why == Why::Exists);
    match (facet, op) {
        // The key that was to be deleted does not exist.
        (
            Facet::Running(_)
            | Facet::Failover(_)
            | Facet::Retry(_)
            | Facet::Instance(_)
            | Facet::Clock(_)
            | Facet::Leaver(_)
            | Facet::Ineligible(_)
            | Facet::Leader
            | Facet::Owner(_)
            | Facet::Disabled(_)
            | Facet::Necessary,
            Op::Delete(..),
        ) if is_gone => Mend::Without,
        // The job's folder exists already because a removal was interrupted.
        (facet, Op::Create { .. }) if exists && makes_tree && facet.is_folder() => Mend::Without,
        // A mark that was left, or whose answer was lost, stands for the new one.
        (Facet::Failover(_) | Facet::Leaver(_), Op::Create { .. }) if exists => Mend::Without,
        (Facet::Running(_), Op::Set(key, value, _)) if is_gone => Mend::With(Op::Create {
            key: key.clone(),
            value: value.clone(),
            lifetime: Lifetime::Lasting,
            sequence: false,
        }),
        (Facet::Retry(_), Op::Create { key, value, .. }) if exists => {
            Mend::With(Op::Set(key.clone(), value.clone(), None))
        }
        _ => Mend::None,
    }
}

#[cfg(test)]
mod tests;
