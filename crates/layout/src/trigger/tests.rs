//! Requests to run a job now, on the memory registry's store.

use super::*;
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Key, SessionId};
use std::time::Duration;

const SERVERS: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

/// What is said of a case, what makes it, and what is told.
type Refused = (&'static str, fn(&mut Scene), NotTriggered);

/// A job that instances serve, the first from a server of its own, and what was asked about it.
struct Scene {
    store: Store,
    session: SessionId,
    limits: Limits,
    asked: Vec<Request>,
}

fn job() -> JobName {
    JobName::new("j").unwrap()
}

fn key(facet: &Facet) -> Key {
    Namespace::new("ns").unwrap().key(&job(), facet)
}

fn instance(n: usize) -> InstanceId {
    let server = if n == 0 { "10.0.0.1" } else { "10.0.0.2" };
    InstanceId::new(&format!("{server}@-@{n:04}-a")).unwrap()
}

fn request(n: usize) -> Key {
    key(&Facet::Trigger(instance(n)))
}

fn lost() -> Answer {
    Answer::Failed(Failure::Unknown("cut".to_owned()))
}

impl Scene {
    fn of(instances: usize) -> Self {
        let mut store = Store::new(Options::default());
        let session = store.open(0, Duration::from_secs(60));
        let limits = store.limits();
        let mut scene = Self { store, session, limits, asked: Vec::new() };
        scene.make(vec![Namespace::new("ns").unwrap().root()]);
        let folders = [Facet::Job, Facet::Config, Facet::Instances, Facet::Servers];
        let servers = SERVERS.map(|ip| Facet::Server(ip.to_owned()));
        scene.make(folders.iter().chain(&servers).map(key).collect());
        scene.make((0..instances).map(|n| key(&Facet::Instance(instance(n)))).collect());
        scene
    }

    fn make(&mut self, keys: Vec<Key>) {
        self.commit(keys.into_iter().map(|key| Op::create(key, "ENABLED")).collect());
    }

    fn commit(&mut self, ops: Vec<Op>) {
        let answer = self.store.apply(self.session, Request::Commit(ops));
        assert!(matches!(answer, Answer::Committed(_)), "{answer:?}");
    }

    fn disable(&mut self, ip: &str) {
        let server = key(&Facet::Server(ip.to_owned()));
        self.commit(vec![Op::Set(server, "DISABLED".into(), None)]);
    }

    fn run(&mut self, served: Option<Served>) -> Told {
        self.run_with(served, |_, _| None)
    }

    /// Makes a request; `answer` answers a commit, by its number from 0, in the registry's place, or does
    /// something before the registry does.
    fn run_with(
        &mut self,
        served: Option<Served>,
        mut answer: impl FnMut(&mut Self, usize) -> Option<Answer>,
    ) -> Told {
        let namespace = Namespace::new("ns").unwrap();
        let mut trigger = Trigger::new(namespace, job(), self.limits);
        let mut next = trigger.begin(served);
        for _ in 0..1_000 {
            let Next::Ask(request) = next else { break };
            let number = self.commits().len();
            let is_commit = matches!(request, Request::Commit(_));
            let own = if is_commit { answer(self, number) } else { None };
            let answer = own.unwrap_or_else(|| self.store.apply(self.session, request.clone()));
            self.asked.push(request);
            next = trigger.answered(answer);
        }
        let Next::Over(told) = next else { panic!("it goes on and on") };
        told
    }

    fn commits(&self) -> Vec<&Vec<Op>> {
        let ops = self.asked.iter().map(|request| match request {
            Request::Commit(ops) => Some(ops),
            _ => None,
        });
        ops.flatten().collect()
    }

    /// How many requests stand, and how many commits made them.
    fn stand(&self, instances: usize) -> (usize, usize) {
        let entries = (0..instances).filter_map(|n| self.store.get(&request(n)));
        let made: Vec<_> = entries.map(|entry| entry.stamp.created).collect();
        (made.len(), made.iter().collect::<BTreeSet<_>>().len())
    }
}

fn served(instances: usize) -> Option<Served> {
    Some(Served { instances: (0..instances).map(instance).collect(), is_enabled: true })
}

/// Some of the instances.
fn some(of: impl IntoIterator<Item = usize>) -> Vec<InstanceId> {
    of.into_iter().map(instance).collect()
}

#[test]
fn all_instances_are_asked_by_one_commit_whoever_knows_them() {
    for known in [None, served(40)] {
        let mut scene = Scene::of(40);
        let told = scene.run(known.clone()).unwrap();
        assert_eq!(told, Triggered { asked: some(0..40), ..Triggered::default() });
        assert_eq!(scene.stand(40), (40, 1));
        // Again, before they have seen it: both are one.
        let told = scene.run(known).unwrap();
        assert_eq!(told, Triggered { coalesced: some(0..40), ..Triggered::default() });
    }
}

#[test]
fn what_is_demanded_of_the_job_and_of_each_instance_stands_in_the_commit() {
    let mut scene = Scene::of(2);
    scene.run(None).unwrap();
    let expected: Vec<Op> = [
        Op::Check(key(&Facet::Config), None),
        Op::create(key(&Facet::Triggers), ""),
        Op::Check(key(&Facet::Instance(instance(0))), None),
        Op::create(request(0), ""),
        Op::Check(key(&Facet::Instance(instance(1))), None),
        Op::create(request(1), ""),
    ]
    .to_vec();
    assert_eq!(scene.commits(), [&expected]);
    scene.run(None).unwrap();
    let stands = Op::Check(request(1), None);
    assert_eq!(scene.commits()[1].last(), Some(&stands));
}

#[test]
fn more_than_a_commit_holds_are_asked_by_as_few_as_it_takes() {
    for (max_ops, max_bytes) in [(42, 1_000_000), (1_000, 5_000)] {
        let mut scene = Scene::of(40);
        scene.limits = Limits { max_ops, max_bytes, ..scene.limits };
        assert_eq!(scene.run(None).unwrap().asked.len(), 40);
        let fits = |ops: &&Vec<Op>| {
            ops.len() <= max_ops && ops.iter().map(Op::bytes).sum::<usize>() <= max_bytes
        };
        assert!(scene.commits().iter().all(fits));
        assert_eq!(scene.stand(40), (40, 2));
    }
}

#[test]
fn a_commit_too_small_for_one_instance_is_asked_for_all_the_same() {
    let mut scene = Scene::of(2);
    scene.limits.max_ops = 1;
    assert_eq!(scene.run(None).unwrap().asked.len(), 2);
    assert_eq!(scene.stand(2), (2, 2));
}

#[test]
fn who_left_and_who_saw_a_request_meanwhile_is_found_out_by_the_commit() {
    let mut scene = Scene::of(5);
    scene.make(vec![key(&Facet::Triggers), request(3), request(4)]);
    // After all was read: 1 leaves, a request to 2 comes, the one to 3 is seen.
    let told = scene.run_with(None, |scene, number| {
        if number == 0 {
            scene.make(vec![request(2)]);
            let gone = [key(&Facet::Instance(instance(1))), request(3)];
            scene.commit(gone.into_iter().map(|key| Op::Delete(key, None)).collect());
        }
        None
    });
    let told = told.unwrap();
    assert_eq!((told.asked, told.coalesced), (some([0, 3]), some([2, 4])));
    assert_eq!(told.gone, some([1]));
}

#[test]
fn a_parent_that_another_makes_or_takes_away_meanwhile_costs_one_more_try() {
    let mut scene = Scene::of(1);
    let made = scene.run_with(None, |scene, number| {
        if number == 0 {
            scene.make(vec![key(&Facet::Triggers)]);
        }
        None
    });
    assert_eq!(made.unwrap().asked.len(), 1);
    scene.commit(vec![Op::Delete(request(0), None)]);
    let taken = scene.run_with(None, |scene, number| {
        if number == 2 {
            scene.commit(vec![Op::Delete(key(&Facet::Triggers), None)]);
        }
        None
    });
    assert_eq!((taken.unwrap().asked.len(), scene.commits().len()), (1, 4));
}

#[test]
fn nobody_who_could_run_it_is_told_and_nobody_is_asked() {
    let refused: [Refused; 4] = [
        ("no such job", |scene| scene.commit(all_of_it()), NotTriggered::NotServed),
        ("nobody serves it", |scene| scene.commit(instances()), NotTriggered::NotServed),
        (
            "switched off everywhere",
            |scene| SERVERS.into_iter().for_each(|ip| scene.disable(ip)),
            NotTriggered::Disabled,
        ),
        (
            "removed, its instances have not left yet",
            |scene| scene.commit(vec![Op::Delete(key(&Facet::Config), None)]),
            NotTriggered::NotDefined,
        ),
    ];
    for (what, change, why) in refused {
        let mut scene = Scene::of(2);
        change(&mut scene);
        assert_eq!(scene.run(None), Err(why), "{what}");
        assert_eq!(scene.stand(2), (0, 0), "{what}");
    }
    let is_enabled = false;
    let off = Served { instances: some(0..2), is_enabled };
    assert_eq!(Scene::of(2).run(Some(off)), Err(NotTriggered::Disabled));
    let nobody = Served { instances: Vec::new(), is_enabled };
    assert_eq!(Scene::of(2).run(Some(nobody)), Err(NotTriggered::NotServed));
}

fn instances() -> Vec<Op> {
    some(0..2).into_iter().map(|id| Op::Delete(key(&Facet::Instance(id)), None)).collect()
}

fn all_of_it() -> Vec<Op> {
    let folders = [Facet::Instances, Facet::Config];
    instances().into_iter().chain(folders.map(|of| Op::Delete(key(&of), None))).collect()
}

#[test]
fn one_server_that_is_switched_on_is_enough() {
    for ip in SERVERS {
        let mut scene = Scene::of(2);
        scene.disable(ip);
        assert_eq!(scene.run(None).unwrap().asked.len(), 2, "all but {ip}");
    }
}

#[test]
fn whoever_serves_it_and_leaves_before_being_asked_is_nobody() {
    let mut scene = Scene::of(2);
    let told = scene.run_with(None, |scene, number| {
        if number == 0 {
            scene.commit(instances());
        }
        None
    });
    assert_eq!(told, Err(NotTriggered::NotServed));
}

#[test]
fn a_lost_answer_is_told_as_unknown_for_all_of_its_commit_and_nothing_follows_it() {
    for happens in [true, false] {
        let mut scene = Scene::of(30);
        scene.limits.max_ops = 42;
        let told = scene.run_with(served(30), |scene, number| {
            if happens && number == 0 {
                scene.make(vec![key(&Facet::Triggers)]);
                scene.make((0..20).map(request).collect());
            }
            Some(lost())
        });
        let told = told.unwrap();
        let unknown: Vec<InstanceId> = told.unknown.into_iter().map(|(id, _)| id).collect();
        let not_asked: Vec<InstanceId> = told.not_asked.into_iter().map(|(id, _)| id).collect();
        assert_eq!((told.asked, unknown), (vec![], some(0..20)));
        assert_eq!((not_asked, scene.commits().len()), (some(20..30), 1));
    }
}

#[test]
fn a_commit_that_is_not_made_asks_nobody_of_it_and_nothing_follows_it() {
    let mut scene = Scene::of(30);
    scene.limits.max_ops = 42;
    let why = Failure::NotSent("away".to_owned());
    let told = scene.run_with(None, |_, _| Some(Answer::Failed(why.clone())));
    assert_eq!(told, Err(NotTriggered::Failed(why.clone())), "nobody was asked before");
    let told = scene.run_with(None, |_, number| (number == 2).then(|| Answer::Failed(why.clone())));
    let told = told.unwrap();
    assert_eq!((told.asked, told.unknown), (some(0..20), vec![]));
    assert_eq!(told.not_asked.len(), 10);
    assert!(told.not_asked.iter().all(|(_, text)| *text == why.to_string()), "and why");
    assert_eq!(scene.stand(30), (20, 1));
}

#[test]
fn a_question_without_an_answer_asks_nobody() {
    let failures = [Failure::NotSent("away".to_owned()), Failure::Unknown("cut".to_owned())];
    for (questions, why) in (0..3).flat_map(|n| failures.clone().map(|why| (n, why))) {
        let mut scene = Scene::of(2);
        let mut trigger = Trigger::new(Namespace::new("ns").unwrap(), job(), scene.limits);
        let mut next = trigger.begin(None);
        for _ in 0..questions {
            let Next::Ask(request) = next else { panic!("{next:?}") };
            next = trigger.answered(scene.store.apply(scene.session, request));
        }
        assert!(matches!(&next, Next::Ask(Request::Children(_) | Request::Get(_))), "{next:?}");
        let told = trigger.answered(Answer::Failed(why.clone()));
        let Next::Over(Err(NotTriggered::Failed(Failure::NotSent(text)))) = told else {
            panic!("{told:?}")
        };
        let (Failure::NotSent(of) | Failure::Unknown(of)) = &why else { panic!("{why:?}") };
        assert!(text.contains(of), "{text}");
    }
}

/// A mark stands until its runs are claimed, so a second request meets all marks of the first.
#[test]
fn requests_that_stand_are_listed_at_the_first_refusal() {
    let mut scene = Scene::of(5);
    scene.make(vec![key(&Facet::Triggers)]);
    scene.make((0..5).map(request).collect());
    let told = scene.run(served(5)).unwrap();
    assert_eq!((told.asked.len(), told.coalesced.len()), (0, 5));
    assert_eq!(scene.commits().len(), 2, "one that was refused, and one that stands on all");
}

#[test]
fn a_commit_that_was_taken_back_asks_nobody() {
    let mut trigger = Trigger::new(Namespace::new("ns").unwrap(), job(), Scene::of(0).limits);
    assert!(matches!(trigger.begin(served(2)), Next::Ask(Request::Commit(_))));
    let told = trigger.withdrawn("no answer in time");
    assert!(matches!(told, Err(NotTriggered::Failed(Failure::NotSent(_)))), "{told:?}");
}

#[test]
fn instances_that_were_asked_before_are_told_of_also_where_the_rest_is_not_asked() {
    let mut scene = Scene::of(30);
    scene.limits.max_ops = 22;
    scene.make(vec![key(&Facet::Triggers)]);
    scene.make((0..10).map(request).collect());
    let away = Failure::NotSent("away".to_owned());
    // The first commit is refused, the second stands on the ten requests; the third does not arrive.
    let told =
        scene.run_with(served(30), |_, number| (number == 2).then(|| Answer::Failed(away.clone())));
    let told = told.unwrap();
    assert_eq!((told.coalesced.len(), told.not_asked.len()), (10, 20), "{told:?}");
}

#[test]
fn whoever_waits_no_longer_does_not_know_what_was_done() {
    let mut trigger = Trigger::new(Namespace::new("ns").unwrap(), job(), Scene::of(0).limits);
    assert!(matches!(trigger.begin(served(2)), Next::Ask(Request::Commit(_))));
    let told = trigger.give_up("no answer in time").unwrap();
    assert_eq!((told.asked.len(), told.unknown.len()), (0, 2));
    let mut trigger = Trigger::new(Namespace::new("ns").unwrap(), job(), Scene::of(0).limits);
    assert!(matches!(trigger.begin(None), Next::Ask(Request::Children(_))));
    assert!(matches!(trigger.give_up("no answer in time"), Err(NotTriggered::Failed(_))));
}

/// Whatever others do: each refusal settles one instance, or is one of eight.
#[test]
fn what_changes_each_time_is_given_up_after_so_many_tries() {
    let mut scene = Scene::of(3);
    scene.make(vec![key(&Facet::Triggers)]);
    let told = scene.run_with(None, |scene, number| {
        // A request to 0 comes and is seen, again and again.
        match number % 2 {
            0 => scene.make(vec![request(0)]),
            _ => scene.commit(vec![Op::Delete(request(0), None)]),
        }
        None
    });
    assert_eq!((told, scene.commits().len()), (Err(NotTriggered::Contended), 2 * 3 + TRIES));
    assert_eq!(scene.stand(3).0, 0);
}
