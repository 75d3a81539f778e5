//! Being registered: whether others see this instance serve a job.

use crate::Phase;
use crate::alarms::Alarm;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Answer, Op};
use std::time::Duration;

impl Job {
    /// Whether others see this instance serve a job, and will go on to. Whoever is not registered
    /// under this session looks dead to them.
    pub(crate) fn is_registered(&mut self, turn: &Turn<'_>) -> bool {
        let session = turn.trust.session();
        let job = &mut *self;
        job.registered == session && !job.under_way.leave
    }

    /// Others must not count on an instance that runs nothing of a job. While it still does they must
    /// not take it for gone, or they would run again what runs here.
    pub(crate) fn deregister(&mut self, turn: &mut Turn<'_>) {
        if self.is_busy_with(turn) {
            return self.wait_to_leave(turn);
        }
        let job = &mut *self;
        if job.registered.is_none() || job.under_way.leave {
            return;
        }
        let leader = self.view.leader.last_seen();
        let leads = leader == Some(&turn.settings.instance);
        self.send_leave(turn, leads);
    }

    /// Makes this instance known as one that serves the job. Whoever finds nobody else there also
    /// notes since when there is someone again.
    pub(crate) fn register(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        let server = job.view.servers.get(me.server()).and_then(|server| server.known());
        let (Some(instances), Some(server), Some(plan), Some(config)) =
            (job.view.instances.value(), server, job.view.plan.known(), job.config.clone())
        else {
            return;
        };
        // Whoever is about to be taken off is put on again once that is done.
        if job.under_way.register || job.under_way.leave || job.phase == Phase::Refused {
            return;
        }
        if instances.contains(&me) {
            // Ours, if the answer to a registration was lost; else the old session's, with which it
            // goes.
            job.under_way.register = true;
            return self.look(turn, Facet::Instance(me));
        }
        let is_first = instances.is_empty();
        let plan = plan.map(|held| (held.value.clone(), held.stamp));
        let lacks_server = server.is_none();
        job.under_way.register = true;
        let document = format!("jobInstanceId: {me}\nserverIp: {}\n", me.server());
        let mut ops =
            vec![Op::create_for_session(self.key(turn, &Facet::Instance(me.clone())), document)];
        let server = self.key(turn, &Facet::Server(me.server().to_owned()));
        // Who is registered where no server is would be dealt nothing: it may have gone with the job,
        // which is there again.
        ops.push(match (lacks_server, config.disabled) {
            (true, true) => Op::create(server, "DISABLED"),
            (true, false) => Op::create(server, "ENABLED"),
            (false, _) => Op::Check(server, None),
        });
        if is_first {
            ops.push(self.begin_life(turn, plan));
        }
        turn.link.gather(Member::new(Aim::Register(turn.ix), ops));
    }

    /// Notes in the plan that from now on someone lives.
    fn begin_life(
        &mut self,
        turn: &mut Turn<'_>,
        plan: Option<(Plan, flockwork_registry::Stamp)>,
    ) -> Op {
        let key = self.key(turn, &Facet::Plan);
        let job = &mut *self;
        let shards = job.config.as_ref().map_or(1, |config| config.shards);
        match plan {
            None => Op::create(
                key,
                plan::encode(&Plan::new(job.schedule.clone(), shards, turn.now.wall)),
            ),
            Some((plan, stamp)) => {
                let alive = turn.now.wall.max(plan.alive);
                Op::Set(key, plan::encode(&Plan { alive, ..plan }), Some(stamp))
            }
        }
    }

    /// This instance is registered under the present session.
    pub(crate) fn registered(&mut self, turn: &mut Turn<'_>) {
        let session = turn.trust.session();
        let job = &mut *self;
        job.under_way.register = false;
        (job.registered, job.is_unlisted, job.was_taken_off) = (session, false, false);
        if job.phase == Phase::Left {
            // The answer came after it was left: what it tells of goes, too.
            (job.phase, job.leaving) = (Phase::Leaving, Some("it was left before"));
            turn.tend();
            return;
        }
        if job.phase == Phase::Refused {
            // That it deregistered was lost, and did not happen.
            return self.deregister(turn);
        }
        job.phase = Phase::Serving;
        let me = turn.settings.instance.clone();
        for facet in [Facet::Instances, Facet::Plan, Facet::Server(me.server().to_owned())] {
            self.look(turn, facet);
        }
        // Attempts released for this instance waited for this.
        for shard in 0..self.count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider(turn, shard);
        }
    }

    /// This instance's own node was read.
    pub(crate) fn own_node_read(&mut self, turn: &mut Turn<'_>, answer: &Answer) {
        let session = turn.trust.session();
        self.under_way.register = false;
        match answer {
            Answer::Entry(Some(entry)) if session.is_some() && entry.session == session => {
                self.registered(turn);
            }
            _ => {
                self.look(turn, Facet::Instances);
                turn.alarms
                    .add(turn.now.mono.plus(Duration::from_millis(500)), Alarm::Tend(turn.ix));
            }
        }
        turn.tend();
    }
}
