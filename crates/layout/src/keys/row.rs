//! What the table of keys says of each.

/// A key of a job, or all keys that differ only in a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The tree in which the key lies.
    pub(super) tree: Tree,
    /// The key's parts below the job. A part in braces stands for a name: `{i}` a shard's number,
    /// `{instance}` an instance's id, `{ip}` a host's address, `{name}` any text.
    pub(super) path: &'static [&'static str],
    /// What the key is.
    pub(super) kind: Kind,
    /// How long the key lives.
    pub(super) lifetime: Lifetime,
    /// Who makes the key.
    pub(super) maker: Maker,
}

/// One of the two places where a job has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// The namespace, as ElasticJob has it.
    ElasticJob,
    /// The namespace beside it, which ElasticJob does not read.
    Own,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Holds something, or is a mark that says all by being there.
    Value,
    /// Parent of keys that are known one by one.
    Folder,
    /// Parent of keys that are named after instances, shards, hosts or candidates.
    List,
}

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody deletes it.
    Lasting,
    /// Until somebody deletes it or its maker's session ends.
    Session,
    /// As long as it has children; then the registry may clear it away at any time (a container of
    /// ZooKeeper's). Whoever first makes it may make it lasting, so nobody relies on either.
    Container,
    /// With its maker's session, or lasting where the job's definition wants it found after a crash.
    Either,
}

/// Who makes a key. Parents not made by the starter come with their first child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Whoever makes the job: the key comes with it.
    Starter,
    /// The instance after which the key is named, or one on the host after which it is named.
    Itself,
    /// The leader, or the instance that becomes it by making the key.
    Leader,
    /// The instance that runs the shard or is to run it.
    Runner,
    /// An instance that lives on when the shard's runner has crashed.
    Survivor,
    /// An operator, or a program in an operator's place.
    Operator,
    /// Any instance that serves the job.
    Anyone,
}
