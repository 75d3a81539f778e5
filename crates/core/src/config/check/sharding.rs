//! Into what a job is cut, what each shard is told, and how shards are dealt.

use super::{Report, present, suggestion};
use crate::config::draft::Parameters;
use crate::config::field::{Field, STRATEGY_WORDS, Words};
use crate::config::problem::{Code, Problem};
use crate::config::{MAX_SHARDS, Strategy, parameters};
use crate::id::ShardIndex;
use std::collections::BTreeMap;

/// The longest parameter: with the context it stays below what Linux takes in one argument.
pub const PARAMETER_BYTES: usize = 65_536;

pub(super) struct ShardingPart {
    pub(super) shards: u32,
    pub(super) parameters: BTreeMap<ShardIndex, String>,
    pub(super) kept_parameters: Option<String>,
    pub(super) job_parameter: String,
    pub(super) strategy: Strategy,
    pub(super) kept_strategy: Option<String>,
}

pub(super) fn sharding(report: &mut Report<'_>) -> Option<ShardingPart> {
    let shards = shards(report);
    let parameters = shard_parameters(report, shards);
    let job_parameter = job_parameter(report);
    let strategy = strategy(report);
    let ((parameters, kept_parameters), (strategy, kept_strategy)) = (parameters?, strategy?);
    Some(ShardingPart {
        shards: shards?,
        parameters,
        kept_parameters,
        job_parameter: job_parameter?,
        strategy,
        kept_strategy,
    })
}

fn shards(report: &mut Report<'_>) -> Option<u32> {
    let absent = match report.draft.words {
        Words::Native => 1,
        Words::ElasticJob => 0,
    };
    let count = report.draft.shards.unwrap_or(absent);
    match u32::try_from(count).ok().filter(|count| (1..=MAX_SHARDS).contains(count)) {
        Some(count) => Some(count),
        None => {
            let problem = report
                .problem(Field::Shards, Code::ShardsRange, "not a number of shards")
                .with_value(&count.to_string())
                .with_limit(format!("1 to {MAX_SHARDS}"));
            report.refuse(problem);
            None
        }
    }
}

/// The parameters by shard, and the text they came from where they do not say all of it.
type ParameterPart = (BTreeMap<ShardIndex, String>, Option<String>);

fn shard_parameters(report: &mut Report<'_>, shards: Option<u32>) -> Option<ParameterPart> {
    let draft = report.draft;
    if let Some(pairs) = &draft.exact_parameters {
        return Some((from_pairs(report, Field::ParametersJson, pairs, shards)?, None));
    }
    match &draft.parameters {
        None => Some((BTreeMap::new(), None)),
        Some(Parameters::Pairs(pairs)) => {
            Some((from_pairs(report, Field::Parameters, pairs, shards)?, None))
        }
        Some(Parameters::Text(text)) => from_text(report, text, shards),
    }
}

fn from_pairs(
    report: &mut Report<'_>,
    field: Field,
    pairs: &[(String, String)],
    shards: Option<u32>,
) -> Option<BTreeMap<ShardIndex, String>> {
    let mut map = BTreeMap::new();
    let mut sound = true;
    for (index, text) in pairs {
        let Ok(index) = index.parse::<i64>() else {
            let problem = report.problem(field, Code::ParamIndex, "not a shard's number");
            report.refuse(problem.with_value(index).with_hint("write {0: text, 1: text}"));
            sound = false;
            continue;
        };
        sound &= put(report, field, &mut map, (index, text), shards);
    }
    sound.then_some(map)
}

fn from_text(report: &mut Report<'_>, text: &str, shards: Option<u32>) -> Option<ParameterPart> {
    let list = match parameters::parse(text) {
        Ok(list) => list,
        Err(why) => {
            let problem = report.problem(Field::Parameters, Code::ParamSyntax, why.to_string());
            report.refuse(problem.with_value(&why.part).with_hint("write 0=text,1=text"));
            return None;
        }
    };
    let mut sound = true;
    if text.ends_with(',') {
        let problem = report.problem(
            Field::Parameters,
            Code::ParamSyntax,
            "a comma ends the shard parameters",
        );
        sound &= report.object(problem.with_value(text).with_hint("remove it"));
    }
    let mut map = BTreeMap::new();
    for parameter in &list {
        let pair = (i64::from(parameter.shard), parameter.text.as_str());
        sound &= put(report, Field::Parameters, &mut map, pair, shards);
    }
    let written = parameters::format(&map);
    let kept = (written.as_deref() != Some(text)).then(|| text.to_owned());
    sound.then_some((map, kept))
}

/// Adds one parameter as ElasticJob does (the last of one shard wins, those of shards that do not
/// exist are ignored) and reports it; whether this level goes on with it.
fn put(
    report: &mut Report<'_>,
    field: Field,
    map: &mut BTreeMap<ShardIndex, String>,
    (shard, text): (i64, &str),
    shards: Option<u32>,
) -> bool {
    let mut sound = true;
    if let Some(problem) = unpassable(report, field, text) {
        sound &= report.object(problem);
    }
    let existing = shards.is_none_or(|count| (0..i64::from(count)).contains(&shard));
    if !existing {
        let most = shards.map_or(0, |count| count - 1);
        let problem = report
            .problem(field, Code::ParamIndex, "a parameter for a shard that does not exist")
            .with_value(&shard.to_string())
            .with_limit(format!("0 to {most}"));
        sound &= report.object(problem);
    }
    let Ok(shard) = ShardIndex::try_from(shard) else { return sound };
    if map.insert(shard, text.to_owned()).is_some() {
        let problem = report
            .problem(field, Code::ParamDuplicate, format!("shard {shard} has two parameters"))
            .with_value(text);
        sound &= report.object(problem);
    }
    sound
}

fn job_parameter(report: &mut Report<'_>) -> Option<String> {
    let text = report.draft.parameter.clone().unwrap_or_default();
    match unpassable(report, Field::Parameter, &text) {
        Some(problem) => report.object(problem).then_some(text),
        None => Some(text),
    }
}

/// Why `text` could not be passed to a program, where ElasticJob fails at the fire instead.
fn unpassable(report: &Report<'_>, field: Field, text: &str) -> Option<Problem> {
    if text.contains('\0') {
        let problem = report.problem(field, Code::ParamChar, "a parameter may not hold a NUL");
        return Some(problem.with_value(text));
    }
    (text.len() > PARAMETER_BYTES).then(|| {
        report
            .problem(field, Code::ParamTooLong, "too long a parameter")
            .with_value(text)
            .with_limit(format!("{PARAMETER_BYTES} bytes"))
    })
}

const NATIVE: [(&str, Strategy); 5] = [
    (STRATEGY_WORDS[0], Strategy::Sticky),
    (STRATEGY_WORDS[1], Strategy::Average),
    (STRATEGY_WORDS[2], Strategy::Parity),
    (STRATEGY_WORDS[3], Strategy::RoundRobin),
    (STRATEGY_WORDS[4], Strategy::SingleBalance),
];

const ELASTIC: [(&str, Strategy); 4] = [
    ("AVG_ALLOCATION", Strategy::Average),
    ("ODEVITY", Strategy::Parity),
    ("ROUND_ROBIN", Strategy::RoundRobin),
    ("SINGLE_SHARDING_BALANCE", Strategy::SingleBalance),
];

impl Strategy {
    /// Its word in native files.
    #[must_use]
    pub fn native_name(self) -> &'static str {
        NATIVE.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }

    /// ElasticJob's name of it; none for ours.
    #[must_use]
    pub fn elastic_name(self) -> Option<&'static str> {
        ELASTIC.iter().find(|(_, strategy)| *strategy == self).map(|(name, _)| *name)
    }
}

fn strategy(report: &mut Report<'_>) -> Option<(Strategy, Option<String>)> {
    let draft = report.draft;
    match draft.words {
        Words::Native => {
            let Some(text) = &draft.strategy else { return Some((Strategy::Sticky, None)) };
            let strategy = native_strategy(report, Field::Strategy, text)?;
            Some((strategy, None))
        }
        Words::ElasticJob => elastic_strategy(report),
    }
}

fn native_strategy(report: &mut Report<'_>, field: Field, text: &str) -> Option<Strategy> {
    if let Some((_, strategy)) = NATIVE.iter().find(|(word, _)| *word == text) {
        return Some(*strategy);
    }
    let problem = report.problem(field, Code::StrategyUnknown, "not a known strategy");
    report.refuse(problem.with_value(text).with_hint(suggestion(text, STRATEGY_WORDS)));
    None
}

/// ElasticJob 3.0.5 finds names without regard to case, and takes its default for unknown ones.
fn elastic_strategy(report: &mut Report<'_>) -> Option<(Strategy, Option<String>)> {
    let draft = report.draft;
    let text = present(draft.strategy.as_ref());
    if let Some(native) = present(draft.native_strategy.as_ref()) {
        return Some((native_strategy(report, Field::NativeStrategy, native)?, text.cloned()));
    }
    let Some(text) = text else { return Some((Strategy::Average, None)) };
    if let Some((name, strategy)) = ELASTIC.iter().find(|(name, _)| name.eq_ignore_ascii_case(text))
    {
        return Some((*strategy, (*name != text).then(|| text.clone())));
    }
    let names: Vec<&str> = ELASTIC.iter().map(|(name, _)| *name).collect();
    let problem = report
        .problem(
            Field::Strategy,
            Code::StrategyUnknown,
            "not a known strategy; AVG_ALLOCATION is taken",
        )
        .with_value(text)
        .with_hint(suggestion(text, &names));
    report.object(problem).then(|| (Strategy::Average, Some(text.clone())))
}
