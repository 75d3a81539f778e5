//! Expressions for the comparison with Quartz: every form of every field, some of them spoilt.

use crate::rng::Rng;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// An expression; a spoilt one is refused more often than not.
pub(crate) fn expression(rng: &mut Rng, spoilt: bool) -> String {
    let (date, weekday) = days(rng);
    let mut fields = vec![
        list(rng, |rng| plain(rng, 0, 59, 59)),
        list(rng, |rng| plain(rng, 0, 59, 59)),
        list(rng, |rng| plain(rng, 0, 23, 23)),
        date,
        if rng.one_in(2) { "*".to_owned() } else { list(rng, month) },
        weekday,
    ];
    if rng.one_in(4) {
        fields.push(list(rng, year));
    }
    let text = in_some_case(rng, &fields.join(" "));
    if spoilt { spoil(rng, &text) } else { text }
}

fn in_some_case(rng: &mut Rng, text: &str) -> String {
    let swap = rng.one_in(5);
    let chars =
        text.chars().map(|c| if swap && rng.one_in(2) { c.to_ascii_lowercase() } else { c });
    chars.collect()
}

fn list(rng: &mut Rng, item: impl Fn(&mut Rng) -> String) -> String {
    let items = if rng.one_in(4) { rng.between(2, 4) } else { 1 };
    (0..items).map(|_| item(rng)).collect::<Vec<_>>().join(",")
}

fn plain(rng: &mut Rng, low: i64, high: i64, step: i64) -> String {
    let (a, b) = (rng.between(low, high), rng.between(low, high));
    let by = if rng.one_in(3) { rng.between(0, step) } else { rng.between(1, step.min(12)) };
    match rng.between(0, 9) {
        0 | 1 => "*".to_owned(),
        2 => format!("*/{by}"),
        3 => format!("/{by}"),
        4 => format!("{a}/{by}"),
        5 => format!("{a}-{b}"),
        6 => format!("{a}-{b}/{by}"),
        _ => a.to_string(),
    }
}

fn named(rng: &mut Rng, names: &[&str]) -> String {
    let (a, b) = (*rng.pick(names), *rng.pick(names));
    if rng.one_in(2) { a.to_owned() } else { format!("{a}-{b}") }
}

fn month(rng: &mut Rng) -> String {
    if rng.one_in(3) { named(rng, &MONTHS) } else { plain(rng, 1, 12, 12) }
}

fn year(rng: &mut Rng) -> String {
    let a = rng.between(2014, 2034);
    let b = a + rng.between(0, 40);
    match rng.between(0, 6) {
        0 => "*".to_owned(),
        1 => format!("*/{}", rng.between(1, 9)),
        2 => format!("{a}/{}", rng.between(1, 30)),
        3 | 4 => format!("{a}-{b}"),
        5 => format!("{a}-{b}/{}", rng.between(0, 9)),
        _ => a.to_string(),
    }
}

fn days(rng: &mut Rng) -> (String, String) {
    if rng.one_in(2) { (date(rng), "?".to_owned()) } else { ("?".to_owned(), weekday(rng)) }
}

fn date(rng: &mut Rng) -> String {
    match rng.between(0, 11) {
        0 => "L".to_owned(),
        1 => format!("L-{}", rng.between(0, 30)),
        2 => "LW".to_owned(),
        // Beyond 27, February's weekday lies in January, on which Quartz can loop forever.
        3 => format!("L-{}W", rng.between(0, 27)),
        4 => format!("{}W", rng.between(1, 31)),
        5 => format!("{}W,{}", rng.between(1, 31), rng.between(1, 31)),
        6 | 7 => "*".to_owned(),
        _ => list(rng, |rng| plain(rng, 1, 31, 31)),
    }
}

fn weekday(rng: &mut Rng) -> String {
    let name = *rng.pick(&WEEKDAYS);
    match rng.between(0, 11) {
        0 => "L".to_owned(),
        1 => format!("{}L", rng.between(1, 7)),
        2 => format!("{name}L"),
        3 => format!("{}#{}", rng.between(1, 7), rng.between(1, 5)),
        4 => format!("{name}#{}", rng.between(1, 5)),
        5 => format!("{}#{},{}", rng.between(1, 7), rng.between(1, 5), rng.between(1, 7)),
        6 | 7 => "*".to_owned(),
        8 | 9 => list(rng, |rng| named(rng, &WEEKDAYS)),
        _ => list(rng, |rng| plain(rng, 1, 7, 7)),
    }
}

const ALPHABET: &[u8] = b"0123456789 ,-*/?LW#\tAMJFX:.";

fn spoil(rng: &mut Rng, text: &str) -> String {
    let mut fields: Vec<_> = text.split(' ').map(str::to_owned).collect();
    let at = usize::try_from(rng.between(0, 5)).expect("not negative");
    match rng.between(0, 9) {
        0 => {
            fields.remove(at);
        }
        1 => fields[at] = rng.between(20, 130).to_string(),
        2 => fields[at] = format!("{}/{}", rng.between(0, 12), rng.between(7, 99)),
        3 => fields[at].push(char::from(*rng.pick(ALPHABET))),
        4 => fields[at] = "?".to_owned(),
        5 => fields[3] = rng.between(1, 31).to_string(),
        6 => fields[5] = format!("{}#{}", rng.between(0, 9), rng.between(0, 9)),
        _ => return respelt(rng, text),
    }
    fields.join(" ")
}

/// One to three characters put in, taken out or replaced.
fn respelt(rng: &mut Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.between(1, 3) {
        let last = i64::try_from(bytes.len() - 1).expect("fits");
        let at = usize::try_from(rng.between(0, last)).expect("not negative");
        let byte = *rng.pick(ALPHABET);
        match rng.between(0, 2) {
            0 => bytes.insert(at, byte),
            1 => bytes[at] = byte,
            _ => {
                bytes.remove(at);
            }
        }
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// What no grammar would think of.
pub(crate) const CURIOUS: &[&str] = &[
    "99 * * * * ?",
    "0 99/20 99 * * ?",
    "0 99-5 0 * * ?",
    "0 0 0 98 * MON",
    "0 0 0 98 * ?",
    "0 0 0 1 * 98",
    "0 0 0 ?,5 * MON",
    "0 0 0 ?,5 * ?",
    "0 0 0 5,? * MON",
    "0 0 0 ?x * MON",
    "0 0 0 ?xy * MON",
    "0 0 0 ?L * MON",
    "0 0 0 ? * ?,2",
    "0 0 0 1 * 2,?",
    "0 0 0 LW * LW",
    "0 0 0 ? * LW",
    "0 0 0 ? * L-3",
    "0 0 0 L-W * ?",
    "0 0 0 L- * ?",
    "0 0 0 L-31 * ?",
    "0 0 0 L-030 * ?",
    "0 0 0 L-30 * ?",
    "0 0 0 LX * ?",
    "0 0 0 LWX * ?",
    "0 0 0 15WL * ?",
    "0 0 0 15WX * ?",
    "0 0 0 15L * ?",
    "0 0 0 32W * ?",
    "0 0 0 031W 4 ?",
    "0 0 0 30W 2 ?",
    "0 0 0 29W * ?",
    "0 0 0 ?,15W * 2",
    "0 0 0 *,15W * ?",
    "0 0 0 15W,L * ?",
    "0 0 0 ? * 0#2",
    "0 0 0 ? * 8#2",
    "0 0 0 ? * 9#2,3",
    "0 0 0 ? * 3#1,2",
    "0 0 0 ? * *,2#3",
    "0 0 0 ? * MON#2,TUE",
    "0 0 0 ? * MON#+2",
    "0 0 0 ? * MON#02",
    "0 0 0 ? * MON#2x",
    "0 0 0 ? * MON#0",
    "0 0 0 ? * MON#",
    "0 0 0 ? * 2#",
    "0 0 0 ? * 2##1",
    "0 0 0 ? * 2#1#3",
    "0 0 0 ? * 0L",
    "0 0 0 ? * 8L",
    "0 0 0 ? * 6LX",
    "0 0 0 ? * 6L#3",
    "0 0 0 ? * FRI-MONL",
    "0 0 0 ? * MONDAY",
    "0 0 0 ? * MONDAY-FRIDAY",
    "0 0 0 ? * MON-FRI/2",
    "0 0 0 ? * MON-5",
    "0 0 0 ? * MON/2",
    "0 0 0 ? * MO",
    "0 0 0 1 JANUARY ?",
    "0 0 0 1 JAN/3 ?",
    "0 0 0 1 JAN-MAR/2 ?",
    "0 0 0 1 1-MAR ?",
    "0 0 0 1 0 ?",
    "0 0 0 1 5-0 ?",
    "0 0 5-0 * * ?",
    "0 0 0 5-0 * ?",
    "0 0 0 0-5 * ?",
    "0 5-5 * * * ?",
    "0 5-10/0 * * * ?",
    "0 5-10/61 * * * ?",
    "0 5-10x * * * ?",
    "0 5-10/ * * * ?",
    "0 5-10/x * * * ?",
    "0 5-10/3x * * * ?",
    "0 5- * * * ?",
    "0 5-x * * * ?",
    "0 5/3x * * * ?",
    "0 5/30x * * * ?",
    "0 5/ * * * ?",
    "0 5/60 * * * ?",
    "0 */0 * * * ?",
    "0 */-5 * * * ?",
    "0 */+5 * * * ?",
    "0 */5x * * * ?",
    "0 */60 * * * ?",
    "0 */ * * * ?",
    "0 / * * * ?",
    "0 /0 * * * ?",
    "0 *5 * * * ?",
    "0 ** * * * ?",
    "0 *-5 * * * ?",
    "0 *x * * * ?",
    "0 5x * * * ?",
    "0 5? * * * ?",
    "0 5W * * * ?",
    "0 5L * * * ?",
    "0 5#1 * * * ?",
    "0 L * * * ?",
    "0 L,5 * * * ?",
    "0 , * * * ?",
    "0 ,5,,6, * * * ?",
    "0 0 0 , * ?",
    "0 0 0 1 L ?",
    "0 0 0 ? * ,",
    "0 0 0 1 1 ? ,",
    "0 0 0 1 1 ? L",
    "0 0 0 1 1 ? 5",
    "0 0 0 1 1 ? 98",
    "0 0 0 1 1 ? 99",
    "0 0 0 1 1 ? 0-2030",
    "0 0 0 1 1 ? 2030-2020",
    "0 0 0 1 1 ? 2016/7",
    "0 0 0 1 1 ? */7",
    "0 0 0 1 1 ? /7",
    "0 0 0 1 1 ? 2020-9999",
    "0 0 0 1 1 ? 3000",
    "0 0 0 1 1 ? 99999999999",
    "0 0 0 1 1 ? JAN",
    "0 0 0 1 1 ? ?",
    "0 0 0 1 1 ? 2020 x",
    "0 0 0 1 1 ? 2020 2021 2022",
    "0 0000000000000005 * * * ?",
    "0 99999999999 * * * ?",
    "\n0 0 12 * * ?\n",
    "0\t0\t\t12 * * ?",
    "0 0 12 * * ?\u{0}",
    "0 0 12 \n * * ?",
    "0 0 12 ? * fri",
    "0 0 12 ? * fr\u{131}",
    "0 0 12 ? * \u{17f}un",
    "0 0 12 ? * MON\u{e9}",
    "0 0 12 ?\u{e9} * MON",
    "0 0 12 ?\u{1F600} * MON",
    "0 0 12 ? * M\u{e9}",
    "\u{e9} 0 12 * * ?",
    "0 -5 * * * ?",
    "0 +5 * * * ?",
    "0 0 0 29 2 ? 2100",
    "0 0 0 29 2 ?",
    "0 0 0 30 2 ?",
    "0 0 0 31 4,6,9,11 ?",
    "0 0 0 ? 2 2#5",
    "0 15,35 * * * ?",
    "0 15,35 1-3 * * ?",
    "0 15,35 2 * * ?",
    "0 59 23 * * ?",
    "59 59 23 31 12 ?",
    "0 30 0,1,2 * * ?",
    "0 0 0-5 * * ?",
    "0 30 0/1 * * ?",
    "0 30 1,3 * * ?",
];
