//! Who runs what: deals a job's shards to the instances that may take them.
//!
//! ElasticJob's strategies are functions of the live instances alone, so one that comes or goes
//! moves most shards. [`Strategy::Sticky`] also looks at who has what, and moves what an even deal needs.

use crate::config::Strategy;
use crate::id::{InstanceId, JobName};
use std::collections::VecDeque;

/// What is to be dealt.
#[derive(Clone, Copy, Debug)]
pub struct Deal<'a> {
    /// The job, whose name's hash spreads jobs with few shards over the instances.
    pub job: &'a JobName,
    /// By which rule.
    pub strategy: Strategy,
    /// Whether a shard stays with its server, even while nobody lives there.
    pub is_static: bool,
    /// The instances that may take shards, in descending order of their ids, as ElasticJob has it.
    pub live: &'a [InstanceId],
    /// Who has each shard now; as long as the job has shards.
    pub held: &'a [Option<InstanceId>],
    /// Milliseconds since the epoch; only [`Strategy::SingleBalance`] looks at it.
    pub now_ms: i64,
}

/// Who is to have each shard. With nobody live, everything stays as it is.
#[must_use]
pub fn deal(deal: &Deal<'_>) -> Vec<Option<InstanceId>> {
    // What turns with the clock is dealt when someone comes or goes, not whenever it is looked at.
    let turns = deal.strategy == Strategy::SingleBalance;
    let is_dealt =
        deal.held.iter().all(|held| held.as_ref().is_some_and(|h| deal.live.contains(h)));
    if deal.live.is_empty() || (turns && is_dealt) {
        return deal.held.to_vec();
    }
    let owners = match deal.strategy {
        Strategy::Sticky => sticky(deal),
        fixed => by_position(fixed, deal),
    };
    if deal.is_static { keep_by_server(deal, &owners) } else { owners }
}

/// Shards stay with their instance up to an equal share; only the rest is dealt.
fn sticky(deal: &Deal<'_>) -> Vec<Option<InstanceId>> {
    let positions: Vec<Option<usize>> = deal
        .held
        .iter()
        .map(|held| deal.live.iter().position(|live| Some(live) == held.as_ref()))
        .collect();
    let mut room = shares(deal);
    let mut owners: Vec<Option<usize>> = positions
        .iter()
        .map(|position| {
            let at = (*position)?;
            let has_room = room[at] > 0;
            room[at] -= usize::from(has_room);
            has_room.then_some(at)
        })
        .collect();
    let mut free = (0..room.len()).flat_map(|at| std::iter::repeat_n(at, room[at]));
    for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
        *owner = free.next();
    }
    owners.into_iter().map(|at| at.map(|at| deal.live[at].clone())).collect()
}

/// How many shards each instance is to have: the same, and one more for those who come first in the
/// job's own order. That does not depend on who has what, so whoever joins has its part of jobs with
/// few shards, too: of n instances, one in n of them.
fn shares(deal: &Deal<'_>) -> Vec<usize> {
    let n = deal.live.len();
    let (each, rest) = (deal.held.len() / n, deal.held.len() % n);
    let mut shares = vec![each; n];
    if rest == 0 {
        return shares;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(|at| std::cmp::Reverse(weight(deal.job, &deal.live[*at])));
    for at in &order[..rest] {
        shares[*at] += 1;
    }
    shares
}

/// Rendezvous hashing (Thaler and Ravishankar, 1998): where each pair of a job and an instance has a
/// weight of its own, one that comes or goes changes the order of no two others. Both hashes are
/// mixed as SplitMix64 does (Steele, Lea and Flood, 2014), the same in every release.
fn weight(job: &JobName, instance: &InstanceId) -> u64 {
    let hash = |text| u64::from(java_hash(text).cast_unsigned());
    let mixed = hash(job.as_str()) << 32 | hash(instance.as_str());
    let mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// ElasticJob's strategies: the average allocation over a turned list of instances.
fn by_position(strategy: Strategy, deal: &Deal<'_>) -> Vec<Option<InstanceId>> {
    let hash = java_hash(deal.job.as_str());
    let mut order: VecDeque<&InstanceId> = deal.live.iter().collect();
    let n = order.len();
    match strategy {
        Strategy::Parity if hash % 2 == 0 => order.make_contiguous().reverse(),
        // Java's Math.abs leaves -2^31 negative and ElasticJob then fails; the unsigned value is
        // what it would have meant.
        Strategy::RoundRobin => order.rotate_left(hash.unsigned_abs() as usize % n),
        Strategy::SingleBalance => {
            #[expect(clippy::cast_possible_truncation, reason = "Java's (int) cast of the millis")]
            let turned = hash.wrapping_add(deal.now_ms as i32);
            order.rotate_left(turned.unsigned_abs() as usize % n);
        }
        Strategy::Parity | Strategy::Average | Strategy::Sticky => {}
    }
    average(deal.held.len(), order.make_contiguous())
}

/// Each instance gets a run of consecutive shards; of what is left the first ones one each.
fn average(total: usize, order: &[&InstanceId]) -> Vec<Option<InstanceId>> {
    let each = total / order.len();
    (0..total)
        .map(|shard| {
            let dealt_evenly = shard < each * order.len();
            let at = if dealt_evenly { shard / each } else { shard - each * order.len() };
            Some(order[at].clone())
        })
        .collect()
}

/// Static sharding: a shard that someone has stays on that server; if nobody lives there it waits.
fn keep_by_server(deal: &Deal<'_>, dealt: &[Option<InstanceId>]) -> Vec<Option<InstanceId>> {
    let stay = |held: &InstanceId| match deal.live.contains(held) {
        true => held.clone(),
        false => {
            deal.live.iter().find(|live| live.server() == held.server()).unwrap_or(held).clone()
        }
    };
    deal.held
        .iter()
        .zip(dealt)
        .map(|(held, dealt)| held.as_ref().map(stay).or_else(|| dealt.clone()))
        .collect()
}

/// Java's `String.hashCode`: over UTF-16 code units, in 32 wrapping bits.
#[must_use]
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit.cast_signed()) & 0xffff)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(n: usize) -> Vec<InstanceId> {
        (0..n).rev().map(|i| InstanceId::new(&format!("10.0.0.{i}@-@1")).unwrap()).collect()
    }

    fn dealt(strategy: Strategy, job: &str, n: usize, total: usize) -> Vec<Vec<usize>> {
        let live = instances(n);
        let held = vec![None; total];
        let job = JobName::new(job).unwrap();
        let owners = deal(&Deal {
            job: &job,
            strategy,
            is_static: false,
            live: &live,
            held: &held,
            now_ms: 0,
        });
        live.iter()
            .map(|id| (0..total).filter(|i| owners[*i].as_ref() == Some(id)).collect())
            .collect()
    }

    #[test]
    fn hashes_are_javas() {
        let vectors = [
            ("", 0),
            ("a", 97),
            ("0", 48),
            ("test_job", -1_146_456_432),
            ("job1", 3_267_604),
            ("testJob", -1_422_475_829),
            ("rustJob", 1_555_550_521),
            ("测试", 903_146),
            ("AaAaAa", 1_952_508_096),
            ("polygenelubricants", i32::MIN),
        ];
        for (text, hash) in vectors {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn elasticjobs_strategies_deal_as_observed() {
        use Strategy::{Average, Parity, RoundRobin};
        let none: Vec<usize> = vec![];
        let vectors = [
            (Average, "j", 3, 2, vec![vec![0], vec![1], none.clone()]),
            (Average, "j", 3, 3, vec![vec![0], vec![1], vec![2]]),
            (Average, "j", 3, 8, vec![vec![0, 1, 6], vec![2, 3, 7], vec![4, 5]]),
            (Average, "j", 3, 10, vec![vec![0, 1, 2, 9], vec![3, 4, 5], vec![6, 7, 8]]),
            (Average, "j", 4, 6, vec![vec![0, 4], vec![1, 5], vec![2], vec![3]]),
            (Average, "j", 2, 5, vec![vec![0, 1, 4], vec![2, 3]]),
            (Average, "j", 5, 4, vec![vec![0], vec![1], vec![2], vec![3], none.clone()]),
            (Parity, "1", 3, 2, vec![vec![0], vec![1], none.clone()]),
            (Parity, "0", 3, 2, vec![none.clone(), vec![1], vec![0]]),
            (Parity, "job1", 3, 8, vec![vec![4, 5], vec![2, 3, 7], vec![0, 1, 6]]),
            (Parity, "job2", 2, 3, vec![vec![0, 2], vec![1]]),
            (RoundRobin, "1", 3, 2, vec![none.clone(), vec![0], vec![1]]),
            (RoundRobin, "2", 3, 2, vec![vec![1], none.clone(), vec![0]]),
            (RoundRobin, "3", 3, 2, vec![vec![0], vec![1], none]),
            (RoundRobin, "job2", 3, 8, vec![vec![2, 3, 7], vec![4, 5], vec![0, 1, 6]]),
            (RoundRobin, "job1", 2, 3, vec![vec![0, 2], vec![1]]),
        ];
        for (strategy, job, n, total, expected) in vectors {
            assert_eq!(dealt(strategy, job, n, total), expected, "{strategy:?} {job} {n},{total}");
        }
    }

    #[test]
    fn a_hash_that_java_cannot_turn_by_is_turned_by() {
        let shares = dealt(Strategy::RoundRobin, "polygenelubricants", 3, 3);
        assert!(shares.iter().all(|share| share.len() == 1));
    }

    #[test]
    fn what_turns_with_the_clock_is_not_dealt_anew_while_its_owner_lives() {
        let live = instances(3);
        let job = JobName::new("j").unwrap();
        let single = |held: &[Option<InstanceId>], now_ms| {
            deal(&Deal {
                job: &job,
                strategy: Strategy::SingleBalance,
                is_static: false,
                live: &live,
                held,
                now_ms,
            })
        };
        let first = single(&[None], 1);
        assert_eq!(single(&first, 2), first);
        let gone = Some(InstanceId::new("10.9.9.9@-@1").unwrap());
        assert_ne!(single(std::slice::from_ref(&gone), 1), single(&[gone], 2));
    }

    #[test]
    fn dealing_to_nobody_changes_nothing() {
        let held = vec![Some(instances(1).remove(0)), None];
        let job = JobName::new("j").unwrap();
        let owners = deal(&Deal {
            job: &job,
            strategy: Strategy::Sticky,
            is_static: false,
            live: &[],
            held: &held,
            now_ms: 0,
        });
        assert_eq!(owners, held);
    }

    #[test]
    fn a_static_shard_waits_for_its_server_and_follows_it() {
        let job = JobName::new("j").unwrap();
        let old = InstanceId::new("10.0.0.7@-@1").unwrap();
        let again = InstanceId::new("10.0.0.7@-@2").unwrap();
        let other = InstanceId::new("10.0.0.1@-@1").unwrap();
        let held = vec![Some(old.clone()), Some(other.clone())];
        let owners = |live: &[InstanceId]| {
            deal(&Deal {
                job: &job,
                strategy: Strategy::Average,
                is_static: true,
                live,
                held: &held,
                now_ms: 0,
            })
        };
        assert_eq!(owners(std::slice::from_ref(&other)), vec![Some(old), Some(other.clone())]);
        assert_eq!(owners(&[again.clone(), other.clone()]), vec![Some(again), Some(other)]);
    }

    /// Every change of membership among 1 to 6 instances and 0 to 13 shards.
    #[test]
    fn an_instance_that_comes_or_goes_moves_only_what_it_must() {
        let all = instances(6);
        let job = JobName::new("some-job").unwrap();
        let sticky = |live: &[InstanceId], held: &[Option<InstanceId>]| {
            deal(&Deal {
                job: &job,
                strategy: Strategy::Sticky,
                is_static: false,
                live,
                held,
                now_ms: 0,
            })
        };
        for total in 0..14_usize {
            for before in 1..=6 {
                for after in 1..=6 {
                    let first = sticky(&all[..before], &vec![None; total]);
                    let second = sticky(&all[..after], &first);
                    assert_eq!(sticky(&all[..after], &second), second, "dealt again");
                    let load = |owners: &[Option<InstanceId>], at: usize| {
                        owners.iter().filter(|o| o.as_ref() == Some(&all[at])).count()
                    };
                    let loads: Vec<usize> = (0..after).map(|at| load(&second, at)).collect();
                    let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
                    assert!(spread <= 1, "{total} shards, {before} to {after}: {loads:?}");
                    let moved = first.iter().zip(&second).filter(|(a, b)| a != b).count();
                    let gone: usize = (after..before).map(|at| load(&first, at)).sum();
                    let came: usize = (before..after).map(|at| load(&second, at)).sum();
                    assert_eq!(moved, gone.max(came), "{total} shards, {before} to {after}");
                }
            }
        }
    }

    #[test]
    fn jobs_with_one_shard_spread_over_the_instances() {
        let live = instances(4);
        let mut loads = [0_usize; 4];
        for i in 0..400 {
            let job = JobName::new(&format!("job-{i}")).unwrap();
            let owners = deal(&Deal {
                job: &job,
                strategy: Strategy::Sticky,
                is_static: false,
                live: &live,
                held: &[None],
                now_ms: 0,
            });
            loads[live.iter().position(|id| Some(id) == owners[0].as_ref()).unwrap()] += 1;
        }
        assert!(loads.iter().all(|load| *load > 75), "{loads:?}");
    }

    #[test]
    fn whoever_joins_has_its_part_of_the_jobs_with_one_shard() {
        let all = instances(4);
        let mut came = 0;
        for i in 0..400 {
            let job = JobName::new(&format!("job-{i}")).unwrap();
            let single = |live: &[InstanceId], held: &[Option<InstanceId>]| {
                let strategy = Strategy::Sticky;
                deal(&Deal { job: &job, strategy, is_static: false, live, held, now_ms: 0 })
            };
            let before = single(&all[..3], &[None]);
            let after = single(&all, &before);
            let moved = before != after;
            assert!(!moved || after[0].as_ref() == Some(&all[3]), "only to the one that came");
            came += usize::from(moved);
            assert_eq!(single(&all[..3], &after), before, "and back when it goes");
        }
        assert!((75..125).contains(&came), "{came} of 400");
    }
}
