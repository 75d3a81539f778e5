//! What time it is, and how instants are shown to people.

use flockwork_core::time::Timestamp;
use std::time::Duration;

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// `in 3 min`, `12 s ago`: how far an instant is from now, in one unit.
pub(crate) fn relative(instant: Timestamp, now: Timestamp) -> String {
    if instant >= now {
        format!("in {}", rough(instant.since(now)))
    } else {
        format!("{} ago", rough(now.since(instant)))
    }
}

fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_one_unit() {
        let now = Timestamp::from_millis(0);
        let of = |seconds: i64| relative(Timestamp::from_millis(seconds * 1_000), now);
        assert_eq!([of(0), of(5), of(-119)], ["in 0 s", "in 5 s", "119 s ago"]);
        assert_eq!([of(120), of(7_200), of(-864_000)], ["in 2 min", "in 2 h", "10 d ago"]);
    }
}
