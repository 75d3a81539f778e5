//! What a job is called, and what it runs.

use super::{Report, present};
use crate::config::command_line;
use crate::config::field::{Field, Words};
use crate::config::problem::{Code, Problem};
use crate::execution::{Script, Work};
use crate::id::{BadName, JOB_NAME_BYTES, JobName};

/// What ElasticJob calls a job that is a script.
pub(super) const SCRIPT_TYPE: &str = "SCRIPT";

pub(super) fn name(report: &mut Report<'_>) -> Option<JobName> {
    let Some(text) = &report.draft.name else {
        let problem = report.problem(Field::Name, Code::Required, "the job has no name");
        report.refuse(problem);
        return None;
    };
    match JobName::new(text) {
        Ok(name) => Some(name),
        Err(why) => {
            let place = report.draft.place_of(Field::Name);
            report
                .refuse(name_problem(text, &why, &place).at(report.draft.position_of(Field::Name)));
            None
        }
    }
}

/// What is wrong with a name, for whoever reads names from elsewhere.
#[must_use]
pub fn name_problem(text: &str, why: &BadName, place: &str) -> Problem {
    let code = match why {
        BadName::Empty => Code::NameEmpty,
        BadName::TooLong(_) => Code::NameTooLong,
        BadName::Reserved(_) => Code::NameReserved,
        BadName::Character { .. } => Code::NameChar,
    };
    let problem = Problem::error(code, place, why.to_string()).with_value(text);
    match why {
        BadName::TooLong(_) => problem.with_limit(format!("{JOB_NAME_BYTES} bytes of UTF-8")),
        _ => problem.with_hint("letters, digits, - and _ are taken everywhere"),
    }
}

/// What a job runs, and how the registry says so.
pub(super) struct WorkPart {
    pub(super) work: Work,
    pub(super) implementation: Option<String>,
    pub(super) kept_command_line: Option<String>,
}

pub(super) fn work(report: &mut Report<'_>) -> Option<WorkPart> {
    let draft = report.draft;
    let implementation = present(draft.implementation.as_ref()).cloned();
    if draft.words == Words::ElasticJob {
        return elastic_work(report, implementation);
    }
    let Some(argv) = &draft.script else {
        if implementation.as_deref() == Some(SCRIPT_TYPE) {
            let problem =
                report.problem(Field::Script, Code::Required, "a SCRIPT job has no script");
            report.refuse(problem.with_hint("write script: [PROGRAM, ARGUMENT...]"));
            return None;
        }
        return Some(WorkPart { work: Work::Function, implementation, kept_command_line: None });
    };
    let script = script(report, argv)?;
    if let Some(other) = implementation.as_deref().filter(|text| *text != SCRIPT_TYPE) {
        let message = format!("script and implementation contradict: a script's is {SCRIPT_TYPE}");
        let problem = report.problem(Field::Implementation, Code::Conflict, message);
        report.refuse(problem.with_value(other).with_hint("remove one of script, implementation"));
        return None;
    }
    Some(script_part(script, None))
}

fn elastic_work(report: &mut Report<'_>, implementation: Option<String>) -> Option<WorkPart> {
    let draft = report.draft;
    let line = present(draft.command_line.as_ref());
    if implementation.as_deref() != Some(SCRIPT_TYPE) && draft.script.is_none() {
        let kept_command_line = line.cloned();
        return Some(WorkPart { work: Work::Function, implementation, kept_command_line });
    }
    if let Some(argv) = &draft.script {
        let script = script(report, argv)?;
        let kept = line.filter(|line| command_line::format(&script.argv).as_ref() != Some(line));
        return Some(script_part(script, kept.cloned()));
    }
    let Some(line) = line else {
        let problem =
            report.problem(Field::CommandLine, Code::Command, "the script has no command line");
        report.refuse(problem.with_hint("set props script.command.line"));
        return None;
    };
    match command_line::parse(line) {
        Ok(argv) => {
            let kept = (command_line::format(&argv).as_ref() != Some(line)).then(|| line.clone());
            Some(script_part(Script { argv }, kept))
        }
        Err(why) => {
            let problem = report.problem(Field::CommandLine, Code::Command, why.to_string());
            report.refuse(problem.with_value(line));
            None
        }
    }
}

fn script_part(script: Script, kept_command_line: Option<String>) -> WorkPart {
    let implementation = Some(SCRIPT_TYPE.to_owned());
    WorkPart { work: Work::Script(script), implementation, kept_command_line }
}

/// Linux takes at most 128 KiB in one argument; the context is one of its own.
const ARGUMENT_BYTES: usize = 65_536;

fn script(report: &mut Report<'_>, argv: &[String]) -> Option<Script> {
    let problem = |code, message: &str| report.problem(Field::Script, code, message);
    let found = match argv.first() {
        None => Some(problem(Code::Command, "the script names no program")),
        Some(program) if program.trim().is_empty() => {
            Some(problem(Code::Command, "the script names no program").with_value(program))
        }
        Some(_) => argv.iter().find_map(|argument| {
            if argument.contains('\0') {
                return Some(
                    problem(Code::ParamChar, "an argument may not hold a NUL").with_value(argument),
                );
            }
            (argument.len() > ARGUMENT_BYTES).then(|| {
                problem(Code::ParamTooLong, "an argument is too long")
                    .with_value(argument)
                    .with_limit(format!("{ARGUMENT_BYTES} bytes"))
            })
        }),
    };
    match found {
        Some(problem) => {
            report.refuse(problem);
            None
        }
        None => Some(Script { argv: argv.to_vec() }),
    }
}
