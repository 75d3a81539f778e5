//! Claims about each row of the table.

use super::row::{Kind, Row};
use super::table::ROWS;
use super::*;
use std::collections::BTreeSet;

/// What stands where a row has a name.
fn sample(part: &str) -> &str {
    match part {
        "{i}" => "3",
        "{instance}" => "10.0.0.1@-@7-x",
        "{ip}" => "10.0.0.1",
        "{name}" => "_c_394f7f52-7711-47db-8467-7ebe8b225495-latch-0000000001",
        word => {
            assert!(!word.contains('{'), "{word} has no sample here");
            word
        }
    }
}

/// A key of a row as text, spelled without the table's help.
fn spelled(row: &Row, part: impl Fn(&'static str) -> &'static str) -> String {
    let mut text = match row.tree {
        Tree::ElasticJob => "/a/b/j".to_owned(),
        Tree::Own => "/a/b.flockwork/j".to_owned(),
    };
    for name in row.path {
        text.push('/');
        text.push_str(part(name));
    }
    text
}

fn read(text: &str) -> Option<Facet> {
    let (job, facet) = Namespace::new("a/b").unwrap().parse(&Key::new(text).unwrap())?;
    assert_eq!(job.as_str(), "j", "{text}");
    Some(facet)
}

fn facet(row: &Row) -> Facet {
    let text = spelled(row, sample);
    read(&text).unwrap_or_else(|| panic!("{text} is read as no facet"))
}

fn row_of<'a>(row: &Row, path: &[&str]) -> &'a Row {
    let found = ROWS.iter().find(|other| other.tree == row.tree && other.path == path);
    found.unwrap_or_else(|| panic!("{path:?} has no row"))
}

#[test]
fn each_facet_is_found_again_by_its_key() {
    let job = JobName::new("j").unwrap();
    for row in ROWS {
        let key = Namespace::new("a/b").unwrap().key(&job, &facet(row));
        assert_eq!((key.as_str(), facet(row).row()), (&*spelled(row, sample), row));
    }
    let facets: BTreeSet<Facet> = ROWS.iter().map(facet).collect();
    assert_eq!(facets.len(), ROWS.len());
}

#[test]
fn keys_of_others_are_no_facets() {
    let other =
        ["/", "/a/b", "/a/b2/j/config", "/a/b.flockwork2/j", "/a/b/j/plan", "/a/b/j/config/x"];
    for other in other {
        assert_eq!(read(other), None, "{other}");
    }
    for row in ROWS {
        let below = format!("{}/x/x/x/x", spelled(row, sample));
        assert_eq!(read(&below), None, "{below}");
    }
}

#[test]
fn a_name_that_is_none_makes_no_facet() {
    for (name, wrong) in [
        ("{i}", ["01", "+1", "-1", "1.0", "x", "4294967296"].as_slice()),
        ("{instance}", &["10.0.0.1", "@-@7", "10.0.0.1@-@", "a@-@b@-@c"]),
    ] {
        for row in ROWS.iter().filter(|row| row.path.contains(&name)) {
            for wrong in wrong {
                let text = spelled(row, |part| if part == name { wrong } else { sample(part) });
                assert_eq!(read(&text), None, "{text}");
            }
        }
    }
}

#[test]
fn each_key_comes_after_its_parent_which_can_have_children() {
    for (at, row) in ROWS.iter().enumerate() {
        let Some((last, above)) = row.path.split_last() else { continue };
        let parent = row_of(row, above);
        assert!(ROWS[..at].contains(parent), "{row:?}");
        assert!(matches!(parent.lifetime, Lifetime::Lasting | Lifetime::Container), "{parent:?}");
        let is_job = above.is_empty();
        let kind = if last.starts_with('{') { Kind::List } else { Kind::Folder };
        assert!(is_job || parent.kind == kind, "{row:?} below {parent:?}");
    }
}

#[test]
fn a_folder_comes_with_the_job_or_with_its_first_child() {
    for row in ROWS.iter().filter(|row| row.kind != Kind::Value) {
        let is_child = |other: &&Row| {
            let above = other.path.split_last().map(|(_, above)| above);
            other.tree == row.tree && above == Some(row.path)
        };
        let first = ROWS.iter().find(is_child).unwrap_or_else(|| panic!("{row:?} has no children"));
        let comes = row.maker == Maker::Starter || row.maker == first.maker;
        assert!(comes, "{row:?}, {first:?}");
    }
}

#[test]
fn the_folders_of_a_new_job_are_listed_parents_first() {
    let folders: Vec<Facet> = Facet::folders().collect();
    let expected = [
        Facet::Instances,
        Facet::Servers,
        Facet::LeaderRoot,
        Facet::Election,
        Facet::ShardingFlags,
        Facet::Sharding,
        Facet::Triggers,
        Facet::OwnJob,
        Facet::Records,
        Facet::Retries,
    ];
    assert_eq!(folders, expected);
    let all = ROWS.iter().map(facet);
    assert!(all.filter(Facet::is_folder).eq(folders));
}

#[test]
fn keys_live_as_long_as_elasticjob_lets_them() {
    let candidate = |latch| Facet::Candidate(latch, sample("{name}").to_owned());
    for (facet, lifetime) in [
        (Facet::Config, Lifetime::Lasting),
        (Facet::Leader, Lifetime::Session),
        (Facet::Latch(Latch::Election), Lifetime::Container),
        (candidate(Latch::Election), Lifetime::Session),
        (candidate(Latch::Completed), Lifetime::Session),
        (Facet::Necessary, Lifetime::Lasting),
        (Facet::Processing, Lifetime::Session),
        (Facet::FailoverItems, Lifetime::Lasting),
        (Facet::FailoverItem(3), Lifetime::Lasting),
        (Facet::Latch(Latch::Failover), Lifetime::Container),
        (Facet::Owner(3), Lifetime::Lasting),
        (Facet::Running(3), Lifetime::Either),
        (Facet::Misfire(3), Lifetime::Lasting),
        (Facet::Failover(3), Lifetime::Session),
        (Facet::Failovering(3), Lifetime::Lasting),
        (Facet::Started(3), Lifetime::Lasting),
        (Facet::Latch(Latch::Started), Lifetime::Container),
        (Facet::NextServer, Lifetime::Session),
        (Facet::Once, Lifetime::Lasting),
    ] {
        assert_eq!(facet.lifetime(), lifetime, "{facet:?}");
    }
}

/// A row as the drawing has it, up to the note at its end.
fn drawn(row: &Row) -> String {
    let name = match (row.path.split_last(), row.tree) {
        (None, Tree::ElasticJob) => "/{ns}/{job}".to_owned(),
        (None, Tree::Own) => "/{ns}.flockwork/{job}".to_owned(),
        (Some((last, above)), _) => format!("{}{last}", "  ".repeat(above.len() + 1)),
    };
    format!("{name:<27}{}", format!("{:?}", row.lifetime).to_lowercase())
}

#[test]
fn the_drawing_shows_each_row_and_no_other_key() {
    let source = include_str!("../keys.rs");
    let lines = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let mut lines = lines.take_while(|line| *line != "//! ```");
    for row in ROWS {
        let (line, wanted) = (lines.next().unwrap_or_default(), format!("//! {}", drawn(row)));
        let note = line.strip_prefix(&*wanted);
        assert!(
            note.is_some_and(|note| note.is_empty() || note.starts_with(' ')),
            "not {wanted:?}: {line:?}"
        );
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn namespaces_that_are_no_path_are_refused() {
    for bad in ["", "/", "a//b", "a/../b", "/a", "a/", "a\u{1}"] {
        assert!(Namespace::new(bad).is_err(), "{bad}");
    }
}
