//! The table of keys, one row for each. How a key is spelled and read and what it is all derive from
//! its row.
//!
//! The compiler finds a facet without a row, a row without a facet and two rows for one facet or one
//! key; tests find a row that does not fit the others or is not drawn.

use super::facet::{Facet, Latch};
use super::name::Name;
use super::row::{Kind, Lifetime, Maker, Row, Tree};

/// A part as a row shows it.
macro_rules! shown {
    ($word:literal) => {
        $word
    };
    ($name:ident) => {
        concat!("{", stringify!($name), "}")
    };
}

/// Reads a part, if it is a name.
macro_rules! read {
    ($word:literal) => {};
    ($name:ident) => {
        let $name = Name::read($name)?;
    };
}

/// Adds a part to a key.
macro_rules! spell {
    ($key:ident $word:literal) => {
        $key.push_str(concat!("/", $word))
    };
    ($key:ident $name:ident) => {
        $key.push('/');
        $name.spell($key)
    };
}

/// Writes a row out.
macro_rules! row {
    ($tree:ident [$($part:tt),*] $kind:ident $lifetime:ident $maker:ident) => {
        Row {
            tree: Tree::$tree,
            path: &[$(shown!($part)),*],
            kind: Kind::$kind,
            lifetime: Lifetime::$lifetime,
            maker: Maker::$maker,
        }
    };
}

/// Makes all that derives from the rows.
macro_rules! table {
    ($($tree:ident: $(
        [$($part:tt),*] $facet:ident $(($($name:tt)*))? $kind:ident $lifetime:ident $maker:ident
    )*)*) => {
        /// All rows, each after its parent's.
        pub(super) const ROWS: &[Row] = &[$($(
            row!($tree [$($part),*] $kind $lifetime $maker),
        )*)*];

        impl Facet {
            /// The row of the facet.
            #[expect(unused_variables, reason = "keys that differ in a name have one row")]
            pub(super) fn row(&self) -> &'static Row {
                match self {$($(
                    Self::$facet $(($($name)*))? => {
                        &row!($tree [$($part),*] $kind $lifetime $maker)
                    }
                )*)*}
            }

            /// Adds the parts below the job to the job's key, a slash before each.
            pub(super) fn spell(&self, key: &mut String) {
                match self {$($(
                    Self::$facet $(($($name)*))? => { $(spell!(key $part);)* }
                )*)*}
            }

            /// The facet that has these parts below the job, if there is one.
            pub(super) fn read(tree: Tree, path: &[&str]) -> Option<Self> {
                Some(match (tree, path) {
                    $($((Tree::$tree, [$($part),*]) => {
                        $(read!($part);)*
                        Self::$facet $(($($name)*))?
                    })*)*
                    _ => return None,
                })
            }
        }
    };
}

table! {
    ElasticJob:
    // parts below the job                 facet                             kind   lifetime  maker
    []                                     Job                               Value  Lasting   Starter
    ["config"]                             Config                            Value  Lasting   Starter
    ["instances"]                          Instances                         List   Lasting   Starter
    ["instances", instance]                Instance(instance)                Value  Session   Itself
    ["servers"]                            Servers                           List   Lasting   Starter
    ["servers", ip]                        Server(ip)                        Value  Lasting   Itself
    ["leader"]                             LeaderRoot                        Folder Container Starter
    ["leader", "election"]                 Election                          Folder Container Starter
    ["leader", "election", "instance"]     Leader                            Value  Session   Leader
    ["leader", "election", "latch"]        Latch(Latch::Election)            List   Container Anyone
    ["leader", "election", "latch", name]  Candidate(Latch::Election, name)  Value  Session   Anyone
    ["leader", "sharding"]                 ShardingFlags                     Folder Lasting   Starter
    ["leader", "sharding", "necessary"]    Necessary                         Value  Lasting   Leader
    ["leader", "sharding", "processing"]   Processing                        Value  Session   Leader
    ["leader", "failover"]                 FailoverRoot                      Folder Lasting   Survivor
    ["leader", "failover", "items"]        FailoverItems                     List   Lasting   Survivor
    ["leader", "failover", "items", i]     FailoverItem(i)                   Value  Lasting   Survivor
    ["leader", "failover", "latch"]        Latch(Latch::Failover)            List   Container Anyone
    ["leader", "failover", "latch", name]  Candidate(Latch::Failover, name)  Value  Session   Anyone
    ["sharding"]                           Sharding                          List   Lasting   Starter
    ["sharding", i]                        Shard(i)                          Folder Lasting   Leader
    ["sharding", i, "instance"]            Owner(i)                          Value  Lasting   Leader
    ["sharding", i, "running"]             Running(i)                        Value  Either    Runner
    ["sharding", i, "misfire"]             Misfire(i)                        Value  Lasting   Runner
    ["sharding", i, "disabled"]            Disabled(i)                       Value  Lasting   Operator
    ["sharding", i, "failover"]            Failover(i)                       Value  Session   Survivor
    ["sharding", i, "failovering"]         Failovering(i)                    Value  Lasting   Survivor
    ["trigger"]                            Triggers                          List   Lasting   Starter
    ["trigger", instance]                  Trigger(instance)                 Value  Lasting   Operator
    ["guarantee"]                          GuaranteeRoot                     Folder Lasting   Runner
    ["guarantee", "started"]               StartedItems                      List   Lasting   Runner
    ["guarantee", "started", i]            Started(i)                        Value  Lasting   Runner
    ["guarantee", "started-latch"]         Latch(Latch::Started)             List   Container Anyone
    ["guarantee", "started-latch", name]   Candidate(Latch::Started, name)   Value  Session   Anyone
    ["guarantee", "completed"]             CompletedItems                    List   Lasting   Runner
    ["guarantee", "completed", i]          Completed(i)                      Value  Lasting   Runner
    ["guarantee", "completed-latch"]       Latch(Latch::Completed)           List   Container Anyone
    ["guarantee", "completed-latch", name] Candidate(Latch::Completed, name) Value  Session   Anyone
    ["systemTime"]                         TimeRoot                          Folder Lasting   Runner
    ["systemTime", "current"]              Time                              Value  Lasting   Runner
    ["next-job-instance-ip"]               NextServer                        Value  Session   Runner

    Own:
    []                                     OwnJob                            Folder Lasting   Starter
    ["plan"]                               Plan                              Value  Lasting   Anyone
    ["guarantee"]                          Once                              Value  Lasting   Anyone
    ["records"]                            Records                           List   Lasting   Starter
    ["records", i]                         Record(i)                         Value  Lasting   Runner
    ["retries"]                            Retries                           List   Lasting   Starter
    ["retries", i]                         Retry(i)                          Value  Lasting   Runner
    ["clocks"]                             Clocks                            List   Lasting   Itself
    ["clocks", instance]                   Clock(instance)                   Value  Session   Itself
    ["leaving"]                            Leavers                           List   Lasting   Itself
    ["leaving", instance]                  Leaver(instance)                  Value  Session   Itself
    ["ineligible"]                         Ineligibles                       List   Lasting   Itself
    ["ineligible", instance]               Ineligible(instance)              Value  Session   Itself
}
