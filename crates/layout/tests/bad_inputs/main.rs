//! Bad input: every row of the catalogue, by its number, on the surfaces that this crate reads. The
//! strict level answers with a stable code, a place and a limit or hint; the ElasticJob level with
//! the same code, as a warning where ElasticJob 3.0.5 takes it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod rows_config;
mod rows_names;
mod rows_sharding;
mod rows_time;
mod surface;

use surface::{Answer, Surface};

/// A row of the catalogue.
struct Row {
    id: u32,
    what: &'static str,
    cases: Vec<Case>,
    /// Why (a part of) it does not apply here yet.
    not_yet: Option<&'static str>,
}

/// One input and the answer it must get.
struct Case {
    surface: Surface,
    input: String,
    expected: Expected,
    forbidden: Vec<&'static str>,
    /// A text that must stand in the answer.
    told: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Without a word.
    Taken,
    /// With a warning of this code.
    Warned(&'static str),
    /// With an error of this code.
    Refused(&'static str),
}

use Expected::{Refused, Taken, Warned};

impl Row {
    fn new(id: u32, what: &'static str) -> Self {
        Self { id, what, cases: Vec::new(), not_yet: None }
    }

    fn on(mut self, surface: Surface, input: impl Into<String>, expected: Expected) -> Self {
        let input = input.into();
        self.cases.push(Case { surface, input, expected, forbidden: Vec::new(), told: None });
        self
    }

    /// The same answer to several inputs.
    fn all(self, surface: Surface, inputs: &[&str], expected: Expected) -> Self {
        inputs.iter().fold(self, |row, input| row.on(surface, *input, expected))
    }

    /// The fields of a native job.
    fn native(self, input: impl Into<String>, expected: Expected) -> Self {
        self.on(Surface::Native, input, expected)
    }

    /// The keys of an ElasticJob document.
    fn elastic(self, input: impl Into<String>, expected: Expected) -> Self {
        self.on(Surface::Elastic, input, expected)
    }

    /// The same input, refused in a native job and answered so in an ElasticJob document.
    fn both(self, input: &str, code: &'static str, elastic: Expected) -> Self {
        self.native(input, Refused(code)).elastic(input, elastic)
    }

    /// The answer to the last input must name this.
    fn telling(mut self, text: &'static str) -> Self {
        self.cases.last_mut().unwrap().told = Some(text);
        self
    }

    /// No answer to this row may hold this.
    fn hiding(mut self, text: &'static str) -> Self {
        for case in &mut self.cases {
            case.forbidden.push(text);
        }
        self
    }

    fn not_yet(mut self, why: &'static str) -> Self {
        self.not_yet = Some(why);
        self
    }
}

fn rows() -> Vec<Row> {
    let parts = [rows_names::rows(), rows_time::rows(), rows_sharding::rows(), rows_config::rows()];
    parts.into_iter().flatten().collect()
}

#[test]
fn every_row_of_the_catalogue_is_listed_once() {
    let ids: Vec<u32> = rows().iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=64).collect::<Vec<_>>());
    for row in rows() {
        assert!(!row.cases.is_empty() || row.not_yet.is_some(), "row {} says nothing", row.id);
    }
}

#[test]
fn every_bad_input_gets_its_answer() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for row in rows() {
        for case in &row.cases {
            cases += 1;
            let answer = surface::answer(case.surface, &case.input);
            if let Err(why) = judged(case, &answer) {
                let input: String = case.input.chars().take(80).collect();
                wrong.push(format!(
                    "row {} ({}), {:?} {input:?}: {why}",
                    row.id, row.what, case.surface
                ));
            }
        }
    }
    let waiting: Vec<_> =
        rows().into_iter().filter_map(|row| Some((row.id, row.not_yet?))).collect();
    println!("{cases} inputs answered; {} rows wait or wait in part:", waiting.len());
    for (id, why) in waiting {
        println!("  row {id}: {why}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether `answer` is the expected one, and is told as answers are.
fn judged(case: &Case, answer: &Answer) -> Result<(), String> {
    let told = answer.report();
    let got = answer.summary();
    if got != case.expected {
        return Err(format!("expected {:?}, got {got:?}: {told}", case.expected));
    }
    if let Some(text) = case.forbidden.iter().find(|text| told.contains(**text)) {
        return Err(format!("tells {text}: {told}"));
    }
    if let Some(text) = case.told.filter(|text| !told.contains(text)) {
        return Err(format!("does not tell {text}: {told}"));
    }
    if told.chars().any(|c| c.is_control() && c != '\n') {
        return Err(format!("holds control characters: {told:?}"));
    }
    // Twenty times the goal of 100 ms: test builds leave the parser unoptimised.
    if answer.millis > 2000 {
        return Err(format!("took {} ms", answer.millis));
    }
    answer.problems.iter().try_for_each(|problem| {
        let length = problem.value.as_deref().map_or(0, |value| value.chars().count());
        let explained = problem.position.is_some() || !case.surface.has_positions();
        match (length <= 120 && problem.to_string().len() < 1000, explained) {
            (true, true) => Ok(()),
            _ => Err(format!("too long, or without its line: {problem}")),
        }
    })
}
