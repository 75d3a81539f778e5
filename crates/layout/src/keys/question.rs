//! What can be asked of a key; its row in the table answers.

use super::facet::Facet;
use super::row::{Kind, Lifetime, Maker, Row, Tree};
use super::table::ROWS;

impl Facet {
    /// The folders that come with a job, parents first.
    pub fn folders() -> impl Iterator<Item = Self> {
        let with_job = ROWS.iter().filter(|row| row.is_folder());
        with_job.filter_map(|row| Self::read(row.tree, row.path))
    }

    /// Whether the key is a folder that comes with a job, empty by itself.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.row().is_folder()
    }

    /// Whether the key's children are a list: of instances, shards, hosts or candidates. Then their
    /// names are what there is to read.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.row().kind == Kind::List
    }

    /// Whether the key lies in our own tree.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.row().tree == Tree::Own
    }

    /// How long the key lives once it is made.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.row().lifetime
    }

    /// Who makes the key.
    #[must_use]
    pub fn made_by(&self) -> Maker {
        self.row().maker
    }
}

impl Row {
    fn is_folder(&self) -> bool {
        self.kind != Kind::Value && self.maker == Maker::Starter
    }
}
