use super::error::CronError;
use super::offsets::Offsets;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A time zone: its name and its offsets. A clone of one costs a pointer, and two of one name share
/// their offsets.
///
/// The rules are those compiled into this release, never the host's, so that all nodes of a release
/// agree.
#[derive(Clone)]
pub struct Zone(Arc<Named>);

#[derive(PartialEq, Eq)]
struct Named {
    name: Box<str>,
    offsets: Offsets,
}

/// The zones read so far. It only saves time and memory: each entry follows from its name.
static KNOWN: LazyLock<RwLock<BTreeMap<Box<str>, Zone>>> =
    LazyLock::new(|| RwLock::new(BTreeMap::new()));

static UTC: LazyLock<Zone> = LazyLock::new(|| Zone::fixed("UTC", 0));

/// Names the IANA database has that people also use for other zones.
const ABBREVIATIONS: [(&str, &str); 9] = [
    ("CST", "America/Chicago or Asia/Shanghai"),
    ("EST", "America/New_York, or America/Panama without summer time"),
    ("MST", "America/Denver, or America/Phoenix without summer time"),
    ("HST", "Pacific/Honolulu"),
    ("PST", "America/Los_Angeles"),
    ("CET", "Europe/Paris"),
    ("MET", "Europe/Paris"),
    ("EET", "Europe/Athens"),
    ("WET", "Europe/Lisbon"),
];

/// Names of the IANA database that are no place's time.
const NOT_ZONES: [&str; 4] = ["Factory", "posixrules", "localtime", "Etc/Unknown"];

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        UTC.clone()
    }

    /// Reads a zone at the strict level: a name of the IANA database in any case
    /// (`Asia/Shanghai`, `UTC`), or a fixed offset as ElasticJob writes it (`GMT+08:00`,
    /// `GMT-0330`, `GMT+8`).
    ///
    /// # Errors
    /// [`CronError::UnknownZone`] with a suggestion for any other text, and for abbreviations that
    /// mean several zones (`CST`, `EST`), even where the database gives them one meaning.
    pub fn parse(name: &str) -> Result<Self, CronError> {
        if let Some(zone) = known(name) {
            return Ok(zone);
        }
        if let Some(offset) = gmt_offset(name) {
            return Ok(remember(name, Self::gmt(offset)));
        }
        let not_a_zone = ABBREVIATIONS.iter().map(|(short, _)| short).chain(&NOT_ZONES);
        if not_a_zone.into_iter().any(|refused| refused.eq_ignore_ascii_case(name)) {
            return Err(unknown(name));
        }
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown(name))?;
        let canonical = zone.iana_name().unwrap_or(name);
        let zone = known(canonical).unwrap_or_else(|| Self::with_rules_of(canonical, &zone));
        Ok(remember(name, zone))
    }

    /// Reads a zone as ElasticJob 3.0.5 does: a text that starts with `GMT`, and what does not
    /// give an offset then means GMT itself (`GMT+25:00`, `GMTX`). Where [`Zone::parse`] refuses
    /// the same text, it deserves a warning.
    ///
    /// # Errors
    /// [`CronError::UnknownZone`] for texts that do not start with `GMT`. The empty text, which
    /// means each Java process's own zone, is one of them: the caller decides about it.
    pub fn parse_elasticjob(name: &str) -> Result<Self, CronError> {
        if !name.starts_with("GMT") {
            return Err(unknown(name));
        }
        Ok(gmt_offset(name).map_or_else(|| Self::gmt(0), Self::gmt))
    }

    /// Its name: as the IANA database spells it, or `GMT+08:00`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn offsets(&self) -> &Offsets {
        &self.0.offsets
    }

    fn gmt(offset_seconds: i32) -> Self {
        let minutes = offset_seconds.abs() / 60;
        let sign = if offset_seconds < 0 { '-' } else { '+' };
        let name = match minutes {
            0 => "GMT".to_owned(),
            _ => format!("GMT{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        };
        known(&name).unwrap_or_else(|| remember(&name, Self::fixed(&name, offset_seconds)))
    }

    fn fixed(name: &str, offset_seconds: i32) -> Self {
        Self(Arc::new(Named { name: name.into(), offsets: Offsets::fixed(offset_seconds) }))
    }

    fn with_rules_of(name: &str, zone: &TimeZone) -> Self {
        Self(Arc::new(Named { name: name.into(), offsets: Offsets::of(zone) }))
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn known(name: &str) -> Option<Zone> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// Keeps `zone` under its own name and the one it was asked by. Only names that give a zone come
/// here; those of one zone differ in case and zeros alone, and their number is bounded all the same.
fn remember(name: &str, zone: Zone) -> Zone {
    const LIMIT: usize = 4096;
    let mut zones = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let shared = zones.get(zone.name()).cloned().unwrap_or(zone);
    for name in [shared.name(), name] {
        if zones.len() < LIMIT {
            zones.insert(name.into(), shared.clone());
        }
    }
    shared
}

/// Seconds east of Greenwich that `GMT+8`, `GMT+08`, `GMT+800`, `GMT+0800`, `GMT+8:00` or
/// `GMT+08:00` mean to `java.util.TimeZone`; none for a text that is none of these.
fn gmt_offset(name: &str) -> Option<i32> {
    let rest = name.strip_prefix("GMT")?;
    if matches!(rest, "" | "0") {
        return Some(0);
    }
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if hours.len() <= 2 && minutes.len() == 2 => {
            (number(hours)?, number(minutes)?)
        }
        Some(_) => return None,
        None if digits.is_empty() => return None,
        None if digits.len() <= 2 => (number(digits)?, 0),
        None => (number(digits)? / 100, number(digits)? % 100),
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Decimal digits as a number; none at all are 0.
fn number(digits: &str) -> Option<i32> {
    digits.bytes().try_fold(0_i32, |number, digit| {
        digit.is_ascii_digit().then_some(())?;
        number.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    })
}

fn unknown(name: &str) -> CronError {
    CronError::UnknownZone { name: name.chars().take(64).collect(), hint: suggestion(name) }
}

fn suggestion(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if let Some((_, places)) = ABBREVIATIONS.iter().find(|(short, _)| *short == upper) {
        return format!("{name} can mean several zones; write {places}");
    }
    if upper.starts_with("UTC") || upper.starts_with("GMT") {
        return "write a place such as Asia/Shanghai, or an offset as GMT+08:00".to_owned();
    }
    match nearest(name) {
        Some(known) => format!("did you mean {known}?"),
        None => "write a name of the IANA database, e.g. Asia/Shanghai".to_owned(),
    }
}

/// The name of the database that differs least from `name`, if it differs in one or two letters.
fn nearest(name: &str) -> Option<String> {
    if !(4..=64).contains(&name.len()) {
        return None;
    }
    TimeZoneDatabase::bundled()
        .available()
        .filter(|known| !NOT_ZONES.contains(&known.as_str()))
        .map(|known| {
            (distance(&name.to_ascii_lowercase(), &known.as_str().to_ascii_lowercase()), known)
        })
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.as_str().to_owned())
}

/// How many letters must be put in, taken out or replaced to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
