//! The same questions through our client and through another one, on one server: the answers are
//! the same, as far as two places in one tree can be.

use crate::server::{Release, Server};
use bytes::Bytes;
use flockwork_trials::server::Server as _;
use flockwork_zookeeper as zk;
use flockwork_zookeeper::{ANY_VERSION, Acl, Ask, Code, Create, CreateMode, OpResult, Reply};
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use zookeeper_client as oracle;

const QUESTIONS: usize = 3_000;

/// One question about a place in the tree.
#[derive(Clone, Debug)]
enum Question {
    Make(String, CreateMode),
    Delete(String, Option<i32>),
    Set(String, Option<i32>),
    Get(String),
    Exists(String),
    List(String),
    All(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Check(String, i32),
    Make(String, CreateMode),
    Delete(String, Option<i32>),
    Set(String, Option<i32>),
}

/// An answer in words that do not depend on the place.
type Said = String;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn path(&mut self) -> String {
        let names = ["a", "b", "c"];
        let depth = 1 + self.below(3);
        (0..depth).map(|_| format!("/{}", names[self.below(3) as usize])).collect()
    }

    fn version(&mut self) -> Option<i32> {
        [None, None, Some(0), Some(1)][self.below(4) as usize]
    }

    /// No containers: the server takes them away in its own time, here before there.
    fn mode(&mut self) -> CreateMode {
        match self.below(6) {
            0..=2 => CreateMode::Persistent,
            3 => CreateMode::Ephemeral,
            4 => CreateMode::PersistentSequential,
            _ => CreateMode::EphemeralSequential,
        }
    }

    fn part(&mut self) -> Part {
        let path = self.path();
        match self.below(4) {
            0 => Part::Check(path, self.version().unwrap_or(0)),
            1 => Part::Make(path, self.mode()),
            2 => Part::Delete(path, self.version()),
            _ => Part::Set(path, self.version()),
        }
    }

    fn question(&mut self) -> Question {
        let path = self.path();
        match self.below(10) {
            0..=2 => Question::Make(path, self.mode()),
            3 => Question::Delete(path, self.version()),
            4 => Question::Set(path, self.version()),
            5 => Question::Get(path),
            6 => Question::Exists(path),
            7 => Question::List(path),
            _ => Question::All((0..=self.below(3)).map(|_| self.part()).collect()),
        }
    }
}

fn of_stat(version: i32, cversion: i32, children: i32, length: i32, lives: bool) -> Said {
    format!("version {version} {cversion} children {children} bytes {length} session {lives}")
}

fn made(whole: &str, place: &str) -> Said {
    format!("made {}", whole.strip_prefix(place).expect("made where it was asked for"))
}

/// Ours, one question at a time.
#[derive(Default)]
struct Waiting {
    last: u64,
    asked: BTreeMap<u64, oneshot::Sender<Result<Reply, Code>>>,
}

impl zk::User for Waiting {
    type Command = (zk::Request, oneshot::Sender<Result<Reply, Code>>);

    fn command(&mut self, (request, answer): Self::Command) -> Vec<Ask> {
        self.last += 1;
        self.asked.insert(self.last, answer);
        vec![Ask { ticket: self.last, session: None, request: Some(request) }]
    }

    fn event(&mut self, event: zk::Event) -> Vec<Ask> {
        if let zk::Event::Reply { ticket, result, .. } = event
            && let Some(answer) = self.asked.remove(&ticket)
        {
            answer.send(result).expect("it is waited for");
        }
        Vec::new()
    }
}

struct Ours(zk::Handle<<Waiting as zk::User>::Command>);

const OURS: &str = "/ours";
const THEIRS: &str = "/theirs";

fn create(path: &str, mode: CreateMode) -> Create {
    let data = Bytes::from_static(b"made");
    Create { path: format!("{OURS}{path}"), data, mode, acl: Acl::Open }
}

impl Ours {
    async fn ask(&self, request: zk::Request) -> Result<Reply, Code> {
        let (sender, answer) = oneshot::channel();
        self.0.send((request, sender)).expect("the session lives");
        answer.await.expect("the connection stands")
    }

    async fn say(&self, question: &Question) -> Said {
        let place = |path: &str| format!("{OURS}{path}");
        let version = |version: &Option<i32>| version.unwrap_or(ANY_VERSION);
        let data = || Bytes::from_static(b"set");
        let reply = self.ask(match question {
            Question::Make(path, mode) => zk::Request::Create(create(path, *mode)),
            Question::Delete(path, at) => {
                zk::Request::Delete { path: place(path), version: version(at) }
            }
            Question::Set(path, at) => {
                zk::Request::SetData { path: place(path), data: data(), version: version(at) }
            }
            Question::Get(path) => zk::Request::GetData(place(path)),
            Question::Exists(path) => zk::Request::Exists(place(path)),
            Question::List(path) => zk::Request::GetChildren(place(path)),
            Question::All(parts) => zk::Request::Multi(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Check(path, version) => {
                            zk::Op::Check { path: place(path), version: *version }
                        }
                        Part::Make(path, mode) => zk::Op::Create(create(path, *mode)),
                        Part::Delete(path, at) => {
                            zk::Op::Delete { path: place(path), version: version(at) }
                        }
                        Part::Set(path, at) => zk::Op::SetData {
                            path: place(path),
                            data: data(),
                            version: version(at),
                        },
                    })
                    .collect(),
            ),
        });
        said(reply.await)
    }
}

fn said(reply: Result<Reply, Code>) -> Said {
    let stat = |stat: zk::Stat| {
        let lives = stat.session().is_some();
        of_stat(stat.version, stat.cversion, stat.num_children, stat.data_length, lives)
    };
    match reply {
        Err(code) => format!("error {}", code.0),
        Ok(Reply::Done) => "done".to_owned(),
        Ok(Reply::Created(path)) => made(&path, OURS),
        Ok(Reply::Stat(found)) => stat(found),
        Ok(Reply::Data(data, found)) => format!("{data:?} {}", stat(found)),
        Ok(Reply::Children(mut names, found)) => {
            names.sort_unstable();
            format!("{names:?} {}", stat(found))
        }
        Ok(Reply::Multi(results)) => of_results(&results),
    }
}

fn of_results(results: &[OpResult]) -> Said {
    let refused = |result: &OpResult| match result {
        OpResult::Refused(code) if code.0 != 0 => Some(*code),
        _ => None,
    };
    if let Some((at, code)) =
        results.iter().enumerate().find_map(|(at, one)| Some((at, refused(one)?)))
    {
        return format!("{at}: error {}", code.0);
    }
    let one = |result: &OpResult| match result {
        OpResult::Created(path) => made(path, OURS),
        OpResult::Done | OpResult::Set(_) => "done".to_owned(),
        OpResult::Refused(_) => "refused without a reason".to_owned(),
    };
    results.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The other client.
struct Theirs(oracle::Client);

fn their_mode(mode: CreateMode) -> oracle::CreateMode {
    match mode {
        CreateMode::Persistent => oracle::CreateMode::Persistent,
        CreateMode::Ephemeral => oracle::CreateMode::Ephemeral,
        CreateMode::PersistentSequential => oracle::CreateMode::PersistentSequential,
        CreateMode::EphemeralSequential => oracle::CreateMode::EphemeralSequential,
        CreateMode::Container => oracle::CreateMode::Container,
    }
}

fn their_stat(stat: &oracle::Stat) -> Said {
    let lives = stat.ephemeral_owner != 0 && stat.ephemeral_owner != i64::MIN;
    of_stat(stat.version, stat.cversion, stat.num_children, stat.data_length, lives)
}

fn their_error(error: &oracle::Error) -> Said {
    let code = match error {
        oracle::Error::NoNode => Code::NO_NODE,
        oracle::Error::BadVersion => Code::BAD_VERSION,
        oracle::Error::NodeExists => Code::NODE_EXISTS,
        oracle::Error::NotEmpty => Code::NOT_EMPTY,
        oracle::Error::NoChildrenForEphemerals => Code::NO_CHILDREN_FOR_EPHEMERALS,
        other => panic!("the oracle fails: {other}"),
    };
    format!("error {}", code.0)
}

impl Theirs {
    async fn say(&self, question: &Question) -> Said {
        self.answer(question).await.unwrap_or_else(|error| their_error(&error))
    }

    async fn answer(&self, question: &Question) -> Result<Said, oracle::Error> {
        let place = |path: &str| format!("{THEIRS}{path}");
        Ok(match question {
            Question::Make(path, mode) => {
                let options = their_mode(*mode).with_acls(oracle::Acls::anyone_all());
                let (_, number) = self.0.create(&place(path), b"made", &options).await?;
                let digits = match mode {
                    CreateMode::PersistentSequential | CreateMode::EphemeralSequential => {
                        number.to_string()
                    }
                    _ => String::new(),
                };
                format!("made {path}{digits}")
            }
            Question::Delete(path, at) => {
                self.0.delete(&place(path), *at).await?;
                "done".to_owned()
            }
            Question::Set(path, at) => {
                their_stat(&self.0.set_data(&place(path), b"set", *at).await?)
            }
            Question::Get(path) => {
                let (data, stat) = self.0.get_data(&place(path)).await?;
                format!("{:?} {}", Bytes::from(data), their_stat(&stat))
            }
            Question::Exists(path) => match self.0.check_stat(&place(path)).await? {
                Some(stat) => their_stat(&stat),
                None => their_error(&oracle::Error::NoNode),
            },
            Question::List(path) => {
                let (mut names, stat) = self.0.get_children(&place(path)).await?;
                names.sort_unstable();
                format!("{names:?} {}", their_stat(&stat))
            }
            Question::All(parts) => self.all(parts).await?,
        })
    }

    async fn all(&self, parts: &[Part]) -> Result<Said, oracle::Error> {
        let place = |path: &str| format!("{THEIRS}{path}");
        let mut multi = self.0.new_multi_writer();
        for part in parts {
            match part {
                Part::Check(path, version) => multi.add_check_version(&place(path), *version)?,
                Part::Make(path, mode) => {
                    let options = their_mode(*mode).with_acls(oracle::Acls::anyone_all());
                    multi.add_create(&place(path), b"made", &options)?;
                }
                Part::Delete(path, at) => multi.add_delete(&place(path), *at)?,
                Part::Set(path, at) => multi.add_set_data(&place(path), b"set", *at)?,
            }
        }
        let one = |result: oracle::MultiWriteResult| match result {
            oracle::MultiWriteResult::Create { path, .. } => made(&path, THEIRS),
            _ => "done".to_owned(),
        };
        match multi.commit().await {
            Ok(results) => Ok(results.into_iter().map(one).collect::<Vec<_>>().join(", ")),
            Err(oracle::MultiWriteError::OperationFailed { index, source }) => {
                Ok(format!("{index}: {}", their_error(&source)))
            }
            Err(oracle::MultiWriteError::RequestFailed { source }) => Err(source),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_is_answered_as_another_is() {
    let server = Server::start(Release::Maven);
    let names = vec![server.address().to_string()];
    let config = zk::Config { timeout: 8_000, digest: None, spread: 1 };
    let ours = Ours(zk::spawn(zk::Servers { names, tls: None }, config, Waiting::default()));
    let theirs = oracle::Client::connect(&server.address().to_string()).await.expect("it serves");
    let theirs = Theirs(theirs);
    while ours.0.live().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let root =
        zk::Request::Create(Create { path: OURS.into(), ..create("", CreateMode::Persistent) });
    ours.ask(root).await.expect("made");
    theirs.answer(&Question::Make(String::new(), CreateMode::Persistent)).await.expect("made");
    let (mut dice, mut kinds) = (Dice(20), BTreeMap::<Said, usize>::new());
    for turn in 0..QUESTIONS {
        let question = dice.question();
        let (said, wanted) = (ours.say(&question).await, theirs.say(&question).await);
        assert_eq!(said, wanted, "question {turn}: {question:?}");
        let kind = said.split_whitespace().take(3).filter(|word| !word.starts_with('/'));
        *kinds.entry(kind.collect::<Vec<_>>().join(" ")).or_default() += 1;
    }
    println!("{} kinds of answers", kinds.len());
    for wanted in ["error -101", "error -103", "error -108", "error -110", "error -111"] {
        assert!(kinds.keys().any(|kind| kind.contains(wanted)), "{wanted} was never met");
    }
}
