//! Which source of a setting wins, and what it comes to.

use super::listen::parse_listen;
use super::registry::{RegistryUrl, parse_registry_url};
use super::{Kind, SETTINGS, Setting};
use crate::keys::Namespace;
use flockwork_core::config::{Code, Position, Problem, duration, nearest};
use flockwork_core::schedule::Zone;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A job file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// What a file says about the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Texts by the names of their settings, and where they stand.
    pub texts: BTreeMap<&'static str, (String, Position)>,
    /// `scripts.allow`, as written.
    pub scripts_allow: Vec<String>,
    /// Where that stands.
    pub scripts_allow_at: Option<Position>,
}

/// The value of one setting and what it prevailed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The setting.
    pub name: &'static str,
    /// The value that counts, as written.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// What others said, the strongest first.
    pub overridden: Vec<(Source, String)>,
}

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// `registry`.
    pub registry: RegistryUrl,
    /// What secures connections to it.
    pub security: SecurityFiles,
    /// `data`.
    pub data: String,
    /// `namespace`.
    pub namespace: Namespace,
    /// `ip`.
    pub ip: Option<String>,
    /// `listen`.
    pub listen: SocketAddr,
    /// Whether that was written, so that it must bind.
    pub listen_is_explicit: bool,
    /// `max_running`.
    pub max_running: usize,
    /// `drain_timeout`.
    pub drain_timeout: Duration,
    /// `cancel_grace`.
    pub cancel_grace: Duration,
    /// `session_timeout`.
    pub session_timeout: Duration,
    /// `reconcile_interval`.
    pub reconcile_interval: Duration,
    /// `time_zone`.
    pub time_zone: String,
    /// `log`.
    pub log: String,
    /// `log_format`: `text` or `json`.
    pub log_format: String,
    /// `scripts.allow`, as written: relative paths are relative to the file.
    pub scripts_allow: Vec<String>,
    /// `scripts.pid_namespace`.
    pub scripts_pid_namespace: bool,
}

/// The files that secure connections to a registry on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityFiles {
    /// `registry_ca_file`.
    pub authorities: Option<String>,
    /// `registry_certificate_file`.
    pub certificate: Option<String>,
    /// `registry_key_file`.
    pub key: Option<String>,
    /// `registry_login_file`.
    pub login: Option<String>,
}

/// All settings, where they came from, and what is wrong with them.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings, if nothing was refused.
    pub settings: Option<NodeSettings>,
    /// One entry for each setting of the table, in its order.
    pub origins: Vec<Origin>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Takes for each setting the flag's value, else the environment's, else the file's, else the
/// default. `environment` and `flags` are asked by the names of the table; an empty environment
/// variable is an absent one.
#[must_use]
pub fn resolve(
    file: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
    flags: &dyn Fn(&str) -> Option<String>,
) -> Resolved {
    let mut values = Values { file, origins: Vec::new(), problems: Vec::new() };
    for setting in SETTINGS.iter().filter(|setting| setting.kind != Kind::Paths) {
        let from_env = setting.env.and_then(environment).filter(|text| !text.is_empty());
        let from_flag = setting.flag.and_then(flags);
        values.choose(setting, from_env, from_flag);
    }
    let settings = values.read();
    let refused = values.problems.iter().any(Problem::is_error);
    Resolved {
        settings: settings.filter(|_| !refused),
        origins: values.origins,
        problems: values.problems,
    }
}

struct Values<'a> {
    file: &'a Written,
    origins: Vec<Origin>,
    problems: Vec<Problem>,
}

impl Values<'_> {
    fn choose(&mut self, setting: &'static Setting, env: Option<String>, flag: Option<String>) {
        let from_file = self.file.texts.get(setting.name).map(|(text, _)| text.clone());
        let mut said = [
            (Source::Flag, flag),
            (Source::Environment, env),
            (Source::File, from_file),
            (Source::Default, Some(setting.default.to_owned())),
        ]
        .into_iter()
        .filter_map(|(source, text)| Some((source, text?)));
        let (source, value) = said.next().unwrap_or((Source::Default, String::new()));
        let overridden = said.filter(|(source, _)| *source != Source::Default).collect();
        self.origins.push(Origin { name: setting.name, value, source, overridden });
    }

    /// The text of a setting; empty for none.
    fn text(&self, name: &str) -> &str {
        self.origins.iter().find(|origin| origin.name == name).map_or("", |origin| &origin.value)
    }

    fn source(&self, name: &str) -> Source {
        self.origins.iter().find(|o| o.name == name).map_or(Source::Default, |o| o.source)
    }

    /// `problem`, placed where the value of `name` was said.
    fn report(&mut self, name: &str, problem: Problem) {
        let setting = super::setting(name);
        let (place, position) = match (self.source(name), setting) {
            (Source::Environment, Some(setting)) => (setting.env.unwrap_or("").to_owned(), None),
            (Source::Flag, Some(setting)) => (format!("--{}", setting.flag.unwrap_or("")), None),
            _ => {
                let position = self.file.texts.get(name).map(|(_, position)| *position);
                (format!("node.{name}"), position)
            }
        };
        self.problems.push(Problem { place, position, ..problem });
    }

    fn read(&mut self) -> Option<NodeSettings> {
        let registry = self.parsed("registry", parse_registry_url);
        let security = self.security();
        let namespace = self.parsed("namespace", parse_namespace);
        let listen = self.parsed("listen", parse_listen);
        let time_zone = self.parsed("time_zone", parse_zone);
        let log_format = self.word("log_format");
        let pid_namespace = self.switch("scripts.pid_namespace");
        let max_running = self.count("max_running");
        let drain_timeout = self.duration("drain_timeout");
        let cancel_grace = self.duration("cancel_grace");
        let session_timeout = self.duration("session_timeout");
        let reconcile_interval = self.duration("reconcile_interval");
        // An address that names a time-out means it.
        let asked_for = match &registry {
            Some(RegistryUrl::ZooKeeper(cluster) | RegistryUrl::Etcd(cluster)) => {
                cluster.names_timeout.then_some(cluster.address.session_timeout)
            }
            _ => None,
        };
        let present = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Some(NodeSettings {
            registry: registry?,
            security: security?,
            data: self.text("data").to_owned(),
            namespace: namespace?,
            ip: present(self.text("ip")),
            listen: listen?,
            listen_is_explicit: self.source("listen") != Source::Default,
            max_running: max_running?,
            drain_timeout: drain_timeout?,
            cancel_grace: cancel_grace?,
            session_timeout: asked_for.or(session_timeout)?,
            reconcile_interval: reconcile_interval?,
            time_zone: time_zone?,
            log: self.text("log").to_owned(),
            log_format: log_format?,
            scripts_allow: self.file.scripts_allow.clone(),
            scripts_pid_namespace: pid_namespace?,
        })
    }

    fn security(&mut self) -> Option<SecurityFiles> {
        let authorities = self.parsed("registry_ca_file", parse_file);
        let certificate = self.parsed("registry_certificate_file", parse_file);
        let key = self.parsed("registry_key_file", parse_file);
        let login = self.parsed("registry_login_file", parse_file);
        let (authorities, certificate, key) = (authorities?, certificate?, key?);
        let lacks = |name: &str| Problem::error(Code::Conflict, "", format!("{name} is missing"));
        let needed = match (&authorities, &certificate, &key) {
            (_, Some(_), None) => Some(("registry_certificate_file", "registry_key_file")),
            (_, None, Some(_)) => Some(("registry_key_file", "registry_certificate_file")),
            (None, Some(_), Some(_)) => Some(("registry_certificate_file", "registry_ca_file")),
            _ => None,
        };
        if let Some((name, needed)) = needed {
            let hint = "whoever shows a certificate needs its key, and whom to believe";
            self.report(name, lacks(needed).with_hint(hint));
            return None;
        }
        Some(SecurityFiles { authorities, certificate, key, login: login? })
    }

    fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Option<T> {
        match parse(self.text(name)) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(name, problem);
                None
            }
        }
    }

    fn word(&mut self, name: &'static str) -> Option<String> {
        self.parsed(name, |text| match super::setting(name).map(|setting| setting.kind) {
            Some(Kind::Word(words)) if !words.contains(&text) => {
                let problem =
                    Problem::error(Code::ValueUnknown, "", "not a known word").with_value(text);
                let near = nearest(text, words.iter().copied());
                let hint = near.map_or(String::new(), |word| format!("did you mean {word}? "));
                Err(problem.with_hint(format!("{hint}known are {}", words.join(", "))))
            }
            _ => Ok(text.to_owned()),
        })
    }

    fn switch(&mut self, name: &'static str) -> Option<bool> {
        self.parsed(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Problem::error(Code::Type, "", "neither true nor false").with_value(text)),
        })
    }

    fn count(&mut self, name: &'static str) -> Option<usize> {
        self.parsed(name, |text| {
            let Some(Kind::Count(least, most)) = super::setting(name).map(|setting| setting.kind)
            else {
                return Ok(0);
            };
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = digits.then(|| text.parse::<u64>().ok()).flatten();
            match number.filter(|number| (least..=most).contains(number)) {
                Some(number) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
                None => {
                    let code = if digits { Code::Limit } else { Code::Type };
                    let problem = Problem::error(code, "", "not a number that can be taken here");
                    Err(problem.with_value(text).with_limit(format!("{least} to {most}")))
                }
            }
        })
    }

    fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.parsed(name, |text| {
            let Some(Kind::Duration(least, most)) =
                super::setting(name).map(|setting| setting.kind)
            else {
                return Ok(Duration::ZERO);
            };
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
            let why = match duration::parse(text) {
                Ok(duration) if (least..=most).contains(&duration) => return Ok(duration),
                Ok(_) => "outside its bounds".to_owned(),
                Err(why) => why.to_string(),
            };
            let limit = format!("{} to {}", duration::format(least), duration::format(most));
            Err(Problem::error(Code::Duration, "", why).with_value(text).with_limit(limit))
        })
    }
}

/// Reads a namespace.
///
/// # Errors
/// `NAMESPACE` with an example.
pub fn parse_namespace(text: &str) -> Result<Namespace, Problem> {
    Namespace::new(text).map_err(|why| {
        let problem = Problem::error(Code::Namespace, "", "not a namespace").with_value(&why.0);
        problem.with_hint(
            "write part or part/part, e.g. flockwork; no leading, trailing or double slash",
        )
    })
}

/// Reads the path of a file; none if it is empty. What is no path but the secret itself is not shown.
fn parse_file(text: &str) -> Result<Option<String>, Problem> {
    if text.contains("-----BEGIN") || text.chars().any(char::is_control) {
        let problem = Problem::error(Code::SecretLiteral, "", "not the path of a file");
        return Err(problem.with_hint("name a file that holds it: settings are shown and logged"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn parse_zone(text: &str) -> Result<String, Problem> {
    Zone::parse(text).map(|zone| zone.name().to_owned()).map_err(|why| {
        Problem::error(Code::TzUnknown, "", why.to_string()).with_value(text).with_hint(why.hint())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(texts: &[(&'static str, &str)]) -> Written {
        let position = Position { line: 2, column: 3 };
        let texts = texts.iter().map(|(name, text)| (*name, ((*text).to_owned(), position)));
        Written { texts: texts.collect(), ..Written::default() }
    }

    fn said<'a>(list: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| list.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn defaults_are_sound() {
        let resolved = resolve(&Written::default(), &said(&[]), &said(&[]));
        assert_eq!(resolved.problems, []);
        let settings = resolved.settings.unwrap();
        assert_eq!((settings.max_running, settings.drain_timeout.as_secs()), (256, 25));
        assert!(!settings.listen_is_explicit);
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file =
            file(&[("max_running", "1"), ("listen", "127.0.0.1:1"), ("drain_timeout", "1s")]);
        let env = [
            ("FLOCKWORK_MAX_RUNNING", "2"),
            ("FLOCKWORK_LISTEN", "127.0.0.1:2"),
            ("FLOCKWORK_DATA", ""),
        ];
        let resolved = resolve(&file, &said(&env), &said(&[("max-running", "3")]));
        let settings = resolved.settings.unwrap();
        assert_eq!((settings.max_running, settings.listen.port()), (3, 2));
        assert_eq!(
            (settings.drain_timeout.as_secs(), settings.data.as_str()),
            (1, "flockwork-data")
        );
        assert!(settings.listen_is_explicit);
        let origin = resolved.origins.iter().find(|origin| origin.name == "max_running").unwrap();
        assert_eq!((origin.source, origin.value.as_str()), (Source::Flag, "3"));
        let others = [(Source::Environment, "2".to_owned()), (Source::File, "1".to_owned())];
        assert_eq!(origin.overridden, others);
    }

    #[test]
    fn a_switch_is_true_or_false() {
        let of = |text| {
            let resolved =
                resolve(&Written::default(), &said(&[]), &said(&[("scripts-pid-namespace", text)]));
            resolved.settings.map(|settings| settings.scripts_pid_namespace).ok_or_else(|| {
                resolved.problems.iter().map(|p| (p.place.clone(), p.code)).collect::<Vec<_>>()
            })
        };
        assert_eq!([of("true"), of("false")], [Ok(true), Ok(false)]);
        for text in ["yes", "TRUE", "1", ""] {
            let place = "--scripts-pid-namespace".to_owned();
            assert_eq!(of(text), Err(vec![(place, Code::Type)]), "{text}");
        }
    }

    #[test]
    fn papers_are_whole_and_named_by_their_files() {
        const CA: (&str, &str) = ("registry-ca-file", "ca.pem");
        const CERTIFICATE: (&str, &str) = ("registry-certificate-file", "own.pem");
        const KEY: (&str, &str) = ("registry-key-file", "key.pem");
        let of = |flags: &[(&str, &str)]| {
            let resolved = resolve(&Written::default(), &said(&[]), &said(flags));
            let codes: Vec<_> = resolved.problems.iter().map(|p| p.code.as_str()).collect();
            (codes, resolved.settings.map(|settings| settings.security))
        };
        assert_eq!(of(&[]), (vec![], Some(SecurityFiles::default())));
        let (codes, files) = of(&[CA, CERTIFICATE, KEY]);
        assert_eq!((codes, files.unwrap().key.as_deref()), (vec![], Some("key.pem")));
        for lacking in [&[CERTIFICATE][..], &[KEY], &[CA, KEY], &[CERTIFICATE, KEY]] {
            assert_eq!(of(lacking), (vec!["CONFLICT"], None), "{lacking:?}");
        }
        let key = "-----BEGIN PRIVATE KEY-----hunter2";
        let flags = [CA, CERTIFICATE, ("registry-key-file", key)];
        let resolved = resolve(&Written::default(), &said(&[]), &said(&flags));
        assert_eq!(resolved.problems[0].code, Code::SecretLiteral);
        assert!(!resolved.problems[0].to_string().contains("hunter2"));
    }

    #[test]
    fn a_problem_is_placed_where_the_value_was_said() {
        let file = file(&[("max_running", "0"), ("namespace", "a//b")]);
        let env = [("FLOCKWORK_LOG_FORMAT", "jsn")];
        let resolved = resolve(&file, &said(&env), &said(&[("session-timeout", "10ms")]));
        assert!(resolved.settings.is_none());
        let told: Vec<_> = resolved
            .problems
            .iter()
            .map(|p| (p.place.as_str(), p.code.as_str(), p.position.is_some()))
            .collect();
        assert_eq!(
            told,
            [
                ("node.namespace", "NAMESPACE", true),
                ("FLOCKWORK_LOG_FORMAT", "VALUE_UNKNOWN", false),
                ("node.max_running", "LIMIT", true),
                ("--session-timeout", "DURATION", false),
            ]
        );
    }
}
