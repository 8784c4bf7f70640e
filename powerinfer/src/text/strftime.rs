//! The part of `strftime` that chat templates use to tell the model the date, in UTC.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// In the order of the days since 1970-01-01.
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const SECONDS_PER_DAY: i64 = 86_400;
const DIRECTIVES: &str = "%Y %y %m %d %e %B %b %A %a %H %I %M %S %p %j %%";

/// A point in time as calendars and clocks show it.
struct Utc {
    year: i64,
    /// 0 to 11.
    month: usize,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// Index into `WEEKDAYS`.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

/// Writes `time` in the given format. `%-d` leaves out the zero in front, as in the C library.
pub(super) fn format(time: SystemTime, format: &str) -> Result<String, String> {
    let time = Utc::new(time);
    let mut out = String::with_capacity(format.len() + 8);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let is_padded = directive != Some('-');
        if !is_padded {
            directive = chars.next();
        }
        let known = directive.is_some_and(|d| time.write(&mut out, d, is_padded));
        if !known {
            return Err(format!("strftime format `{format}`: known are {DIRECTIVES}"));
        }
    }
    Ok(out)
}

impl Utc {
    fn new(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, day_of_year) = year_of_day(days);
        let (month, day) = month_of_day(year, day_of_year);
        Self {
            year,
            month,
            day,
            day_of_year: day_of_year + 1,
            weekday: usize::try_from(days.rem_euclid(7)).unwrap_or(0),
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    /// Writes what one directive stands for; false if it is not known.
    fn write(&self, out: &mut String, directive: char, is_padded: bool) -> bool {
        let month_number = i64::try_from(self.month).unwrap_or(0) + 1;
        let (number, width) = match directive {
            'Y' => (self.year, 4),
            'y' => (self.year.rem_euclid(100), 2),
            'm' => (month_number, 2),
            'd' => (self.day, 2),
            'H' => (self.hour, 2),
            'I' => ((self.hour + 11) % 12 + 1, 2),
            'M' => (self.minute, 2),
            'S' => (self.second, 2),
            'j' => (self.day_of_year, 3),
            _ => return self.write_text(out, directive, is_padded),
        };
        let width = if is_padded { width } else { 0 };
        write!(out, "{number:0width$}").is_ok()
    }

    fn write_text(&self, out: &mut String, directive: char, is_padded: bool) -> bool {
        let (month, weekday) = (MONTHS[self.month], WEEKDAYS[self.weekday]);
        match directive {
            'B' => out.push_str(month),
            'b' => out.push_str(&month[..3]),
            'A' => out.push_str(weekday),
            'a' => out.push_str(&weekday[..3]),
            'p' => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            'e' if is_padded => return write!(out, "{:2}", self.day).is_ok(),
            'e' => return write!(out, "{}", self.day).is_ok(),
            '%' => out.push('%'),
            _ => return false,
        }
        true
    }
}

/// The year of a day counted from 1970-01-01, and the day in it, from 0.
fn year_of_day(days: i64) -> (i64, i64) {
    // 400 years are always 146,097 days; the first guess is at most one year late.
    let mut year = 1970 + (days * 400).div_euclid(146_097);
    while first_day(year) > days {
        year -= 1;
    }
    while first_day(year + 1) <= days {
        year += 1;
    }
    (year, days - first_day(year))
}

/// The day, counted from 1970-01-01, on which a year begins.
fn first_day(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * (year - 1970) + leap_days(before) - leap_days(1969)
}

/// The month, from 0, and the day in it, from 1.
fn month_of_day(year: i64, day_of_year: i64) -> (usize, i64) {
    let is_leap = first_day(year + 1) - first_day(year) == 366;
    let february = if is_leap { 29 } else { 28 };
    let mut rest = day_of_year;
    for (month, days) in
        [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
    {
        if rest < days {
            return (month, rest + 1);
        }
        rest -= days;
    }
    unreachable!("a year has at most 366 days and {day_of_year} is below that")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, text: &str) -> Result<String, String> {
        format(UNIX_EPOCH + Duration::from_secs(seconds), text)
    }

    #[test]
    fn known_instants_are_written_as_the_date_command_writes_them() {
        let cases = [
            (0, "%Y-%m-%d %H:%M:%S %A %j", "1970-01-01 00:00:00 Thursday 001"),
            (951_782_400, "%d %b %Y, %a", "29 Feb 2000, Tue"),
            (1_709_251_199, "%B %e %y %I:%M %p %j", "February 29 24 11:59 PM 060"),
            (1_735_689_599, "%Y-%m-%d %j", "2024-12-31 366"),
            (1_735_732_800, "%-d.%-m. %I %p 100%%", "1.1. 12 PM 100%"),
            (4_102_444_800, "%Y-%m-%d %A", "2100-01-01 Friday"),
            (4_107_542_400, "%e|%-e", " 1|1"),
        ];
        for (seconds, format, expected) in cases {
            assert_eq!(at(seconds, format).as_deref(), Ok(expected), "{seconds} {format}");
        }
    }

    #[test]
    fn times_before_1970_are_dates_too() {
        let time = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(format(time, "%Y-%m-%d %H:%M:%S %a").as_deref(), Ok("1969-12-31 23:59:59 Wed"));
    }

    #[test]
    fn an_unknown_directive_is_an_error_that_lists_the_known_ones() {
        for format in ["%Q", "%", "%-"] {
            let message = at(0, format).unwrap_err();
            assert!(message.contains("%Y"), "{message}");
        }
    }
}
