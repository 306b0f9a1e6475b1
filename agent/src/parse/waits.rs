//! How long to wait, as CLIs and providers say it in prose: `try again in 1m30.5s`, `Suggested retry after 34s.`,
//! `try again at Nov 22nd, 2026 3:41 PM`, `limit reached|1795195200`.

use std::time::Duration;

use cloud_code_task_schema::HumanDuration;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What stands before a duration. Only what a provider asks for: how long a CLI itself waits between its own tries
/// says nothing.
const BEFORE_A_WAIT: [&str; 6] =
    ["try again in ", "retry in ", "retry after ", "reset after ", "resets in ", "resets after "];
/// What stands before a point in time.
const BEFORE_A_TIME: &str = "try again at ";
/// What stands before seconds since 1970.
const BEFORE_AN_EPOCH: &str = "limit reached|";

/// The wait that a text names.
pub(super) fn wait_in(text: &str) -> Option<HumanDuration> {
    let lower = text.to_ascii_lowercase();
    BEFORE_A_WAIT.iter().find_map(|before| {
        let (_, after) = lower.split_once(before)?;
        duration_at(after)
    })
}

/// The duration that a text begins with: `34s`, `1h2m3.5s`, `5 days 3 hours`, `7`.
pub(super) fn duration_at(text: &str) -> Option<HumanDuration> {
    let (mut seconds, mut rest, mut has_any) = (0.0_f64, text.trim_start(), false);
    loop {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let Ok(number) = rest.get(..digits)?.trim_end_matches('.').parse::<f64>() else { break };
        let after = rest.get(digits..)?.trim_start_matches(' ');
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let factor = match after.get(..letters)? {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            _ if has_any => break,
            _ => {
                seconds = number;
                has_any = true;
                break;
            }
        };
        seconds += number * factor;
        has_any = true;
        rest = after.get(letters..)?.trim_start_matches([' ', ',']);
    }
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (has_any && !duration.is_zero()).then(|| HumanDuration::from_duration(duration))
}

/// The point in time that a text names. A clock time without a date is the next one; without a zone it is read as
/// UTC, which containers have.
pub(super) fn reset_in(text: &str, now: Timestamp) -> Option<Timestamp> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, after)) = lower.split_once(BEFORE_AN_EPOCH) {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        return epoch(after.get(..digits)?.parse().ok()?);
    }
    let (_, after) = lower.split_once(BEFORE_A_TIME)?;
    let mut words = after.split([' ', ',']).filter(|word| !word.is_empty());
    let first = words.next()?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let (date, clock) = match month(first) {
        Some(month) => {
            let day = words.next()?.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
            (Some(Date::new(words.next()?.parse().ok()?, month, day).ok()?), words.next()?)
        }
        None => (None, first),
    };
    let time = clock_time(clock, words.next()?)?;
    let at = |date: Date| {
        let zoned = DateTime::from_parts(date, time).to_zoned(TimeZone::UTC);
        zoned.ok().map(|zoned| zoned.timestamp())
    };
    let Some(date) = date else {
        let soon = at(today)?;
        return if soon >= now { Some(soon) } else { at(today.checked_add(Span::new().days(1)).ok()?) };
    };
    at(date)
}

/// Seconds since 1970, when they can be meant.
pub(super) fn epoch(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok().filter(|at| at.as_second() > 0)
}

fn month(word: &str) -> Option<i8> {
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let index = months.iter().position(|month| word.get(..3) == Some(*month))?;
    i8::try_from(index + 1).ok()
}

/// `3:41` and `pm`, with or without a full stop.
fn clock_time(clock: &str, half: &str) -> Option<Time> {
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    let afternoon = match half.trim_end_matches('.') {
        "am" => 0,
        "pm" => 12,
        _ => return None,
    };
    if !(1..=12).contains(&hour) {
        return None;
    }
    Time::new(hour % 12 + afternoon, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_as_they_are_written() {
        let cases = [
            ("Rate limit reached. Please try again in 11.054s. Visit …", Some(11.054)),
            ("Please retry in 500ms", Some(0.5)),
            ("Suggested retry after 34s.", Some(34.0)),
            ("Your quota will reset after 1h2m3s.", Some(3723.0)),
            ("Try again in 5 days 3 hours 1 minute.", Some(442_860.0)),
            ("retry after 7", Some(7.0)),
            ("Retrying in 60s (attempt 1/10)", None),
            ("try again in a moment", None),
            ("try again in 0s", None),
            ("try again in 90d", Some(30.0 * 86_400.0)),
            ("try again in 99999999999999999999999999d", None),
            ("try again in 1.2.3s", None),
            ("try again in …", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let read = wait_in(text).map(|wait| wait.as_duration().as_secs_f64());
            assert_eq!(read, seconds, "{text}");
        }
    }

    #[test]
    fn reset_times_are_read_as_they_are_written() {
        let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
        let cases = [
            ("You've hit your usage limit. Try again at 3:41 PM.", Some("2026-11-21T15:41:00Z")),
            ("or try again at 2:05 AM.", Some("2026-11-22T02:05:00Z")),
            ("or try again at 12:00 PM", Some("2026-11-22T12:00:00Z")),
            ("or try again at Nov 25th, 2026 3:41 PM.", Some("2026-11-25T15:41:00Z")),
            ("Claude AI usage limit reached|1795284000", Some("2026-11-21T18:00:00Z")),
            ("usage limit reached|99999999999999999999", None),
            ("usage limit reached|0", None),
            ("try again at 25:99 PM", None),
            ("try again at Feb 31st, 2026 3:41 PM", None),
            ("try again at", None),
            ("try again later", None),
        ];
        for (text, expected) in cases {
            let read = reset_in(text, now).map(|at| at.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
