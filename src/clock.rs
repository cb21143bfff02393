//! Time: instants as files and records carry them, and the clock that operations are given.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An instant: whole seconds since 1970-01-01 UTC, rounded down, and nanoseconds from there (0 to 999,999,999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since the epoch, negative before it.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Returns nanoseconds since the epoch.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// Returns how far apart two instants are, in nanoseconds.
    pub fn abs_diff(self, other: Self) -> i128 {
        (self.as_nanos() - other.as_nanos()).abs()
    }

    /// Returns the instant as RFC 3339 in UTC with whole seconds, or as `@seconds` beyond the years 0 to 9999.
    pub fn rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp(self.seconds)
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok())
            .unwrap_or_else(|| format!("@{}", self.seconds))
    }

    /// Returns the instant as [`rfc3339`](Self::rfc3339) does, with nine digits of a second where it is not a whole one.
    pub fn rfc3339_exact(self) -> String {
        let whole = self.rfc3339();
        match whole.strip_suffix('Z') {
            _ if self.nanos == 0 => whole,
            Some(stem) => format!("{stem}.{:09}Z", self.nanos),
            None => format!("{whole}.{:09}", self.nanos),
        }
    }

    /// Returns the instant of a system time.
    pub fn from_system(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => {
                Self { seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nanos: after.subsec_nanos() }
            }
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self { seconds: -seconds, nanos: 0 },
                    nanos => Self { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
                }
            }
        }
    }
}

/// Tells the time; injected, so that tests can decide what time it is.
pub trait Clock: Send + Sync {
    /// Returns the present instant.
    fn now(&self) -> Time;
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time::from_system(SystemTime::now())
    }
}

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Time);

impl Clock for FixedClock {
    fn now(&self) -> Time {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_instant_before_1970_counts_nanoseconds_forward() {
        let time = Time::from_system(UNIX_EPOCH - Duration::new(5, 250_000_000));
        assert_eq!(time, Time { seconds: -6, nanos: 750_000_000 });
        assert_eq!(Time::from_system(UNIX_EPOCH - Duration::new(5, 0)), Time { seconds: -5, nanos: 0 });
    }

    #[test]
    fn instants_are_as_far_apart_either_way() {
        let time = |seconds, nanos| Time { seconds, nanos };
        let farthest = (time(i64::MIN, 0), time(i64::MAX, 999_999_999), u64::MAX as i128 * 1_000_000_000 + 999_999_999);
        for (one, other, apart) in
            [(time(5, 0), time(4, 999_999_999), 1), (time(-1, 0), time(1, 1), 2_000_000_001), farthest]
        {
            assert_eq!((one.abs_diff(other), other.abs_diff(one)), (apart, apart));
        }
    }

    #[test]
    fn rfc3339_has_a_form_for_every_instant() {
        assert_eq!(Time { seconds: 0, nanos: 7 }.rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Time { seconds: i64::MAX, nanos: 0 }.rfc3339(), format!("@{}", i64::MAX));
        assert_eq!(Time { seconds: -1, nanos: 7 }.rfc3339_exact(), "1969-12-31T23:59:59.000000007Z");
        assert_eq!(Time { seconds: 0, nanos: 0 }.rfc3339_exact(), "1970-01-01T00:00:00Z");
        assert_eq!(Time { seconds: i64::MAX, nanos: 1 }.rfc3339_exact(), format!("@{}.000000001", i64::MAX));
    }
}
