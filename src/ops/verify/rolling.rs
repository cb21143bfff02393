//! Rolling verification: reads what was not read for longest, within a budget, and says what that proves.
//!
//! Every pack is read again before any is read twice as often: the order is that of the last read, oldest first. Packs
//! of one age come in an order that a random seed decides, so that what is read does not depend on what lies in it.

use std::time::{Duration, Instant};

use crate::clock::Time;
use crate::crypto::Digest;

/// How much a rolling verification reads; at least one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// A share of the stored bytes, in millionths.
    Share(u32),
    /// As much as can be read in this time; the pack that is being read when it ends is read to its end.
    Time(Duration),
}

impl Budget {
    /// Parses a share such as `5%` or `0.5%`.
    ///
    /// # Errors
    /// It is no percentage above 0 and up to 100.
    pub fn parse_share(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no share such as 5%: above 0 and up to 100 percent");
        let percent: f64 = text.strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        let millionths = (percent * 10_000.0).round();
        if !(1.0..=1_000_000.0).contains(&millionths) {
            return Err(wrong());
        }
        Ok(Self::Share(millionths as u32))
    }

    /// Parses a time such as `90s`, `10m` or `2h`.
    ///
    /// # Errors
    /// It is no whole number of seconds, minutes or hours above 0, or more than a week.
    pub fn parse_time(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time such as 90s, 10m or 2h, of at most a week");
        let split = text.len().checked_sub(1).filter(|&at| text.is_char_boundary(at)).ok_or_else(wrong)?;
        let unit = match &text[split..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let seconds = text[..split].parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(wrong)?;
        if !(1..=7 * 24 * 3600).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Self::Time(Duration::from_secs(seconds)))
    }
}

/// A pack that may be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) name: Digest,
    pub(super) last: Option<Time>,
}

/// Returns the order in which packs are read: positions of the candidates, never read ones first, then oldest first.
pub(super) fn order(candidates: &[Candidate], seed: [u8; 32]) -> Vec<usize> {
    let chance = |name: &Digest| *blake3::keyed_hash(&seed, &name.0).as_bytes();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|&at| (candidates[at].last, chance(&candidates[at].name)));
    order
}

/// Tells when a budget is used up.
pub(super) struct Meter {
    budget: Budget,
    begun: Instant,
    bytes_total: u64,
    bytes: u64,
}

impl Meter {
    pub(super) fn start(budget: Budget, bytes_total: u64) -> Self {
        Self { budget, begun: Instant::now(), bytes_total, bytes: 0 }
    }

    pub(super) fn spend(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns whether nothing more is to be read. Something has to be read in any case.
    pub(super) fn is_spent(&self) -> bool {
        if self.bytes == 0 {
            return false;
        }
        match self.budget {
            Budget::Share(millionths) => {
                u128::from(self.bytes) * 1_000_000 >= u128::from(self.bytes_total) * u128::from(millionths)
            }
            Budget::Time(time) => self.begun.elapsed() >= time,
        }
    }
}

/// Returns the greatest number of bad packs (or files) among `total` that is still compatible, at 95 % confidence, with
/// `read` of them being intact, for those that were chosen without regard to which are bad.
///
/// It is the largest K whose chance to escape, C(total − K, read) / C(total, read) (the hypergeometric distribution), is
/// at least 5 %.
pub(crate) fn bad_at_most(total: u64, read: u64) -> u64 {
    if read == 0 {
        return total;
    }
    // The chance falls as K grows: (total − K − read + 1) / (total − K + 1) for each further bad pack.
    let (mut chance, mut bad) = (1.0f64, 0u64);
    while bad < total.saturating_sub(read) {
        chance *= (total - bad - read) as f64 / (total - bad) as f64;
        if chance < 0.05 {
            break;
        }
        bad += 1;
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn name(number: u64) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    fn at(day: u64) -> Time {
        Time { seconds: 1_700_000_000 + day as i64 * 86_400, nanos: 0 }
    }

    #[test]
    fn budgets_are_parsed_strictly() {
        assert_eq!(Budget::parse_share("5%"), Ok(Budget::Share(50_000)));
        assert_eq!(Budget::parse_share("0.5%"), Ok(Budget::Share(5_000)));
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("168h", 604_800)] {
            assert_eq!(Budget::parse_time(text), Ok(Budget::Time(Duration::from_secs(seconds))));
        }
        for bad in ["", "5", "0%", "101%", "-1%", "NaN%", "inf%", "x%"] {
            assert!(Budget::parse_share(bad).is_err(), "{bad}");
        }
        for bad in ["", "10", "0s", "-1m", "1.5h", "169h", "1000h", "10x", "µ", "18446744073709551615h"] {
            assert!(Budget::parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_bound_is_that_of_the_hypergeometric_distribution() {
        assert_eq!(bad_at_most(100, 0), 100, "nothing read proves nothing");
        assert_eq!(bad_at_most(100, 100), 0);
        assert_eq!(bad_at_most(100, 96), 0, "one bad pack among four unread escapes in 4 % of cases");
        assert_eq!(bad_at_most(100, 95), 1);
        // By the definition, with exact products.
        for (total, read) in [(10u64, 3u64), (50, 10), (1000, 50), (7, 1)] {
            let escapes = |bad: u64| -> f64 {
                (0..read).map(|n| (total - bad).saturating_sub(n) as f64 / (total - n) as f64).product()
            };
            let expected = (0..=total - read).take_while(|&bad| escapes(bad) >= 0.05).last().unwrap_or(0);
            assert_eq!(bad_at_most(total, read), expected, "{read} of {total}");
        }
    }

    /// One day of one simulated vault: reads within the budget and returns what was read.
    fn one_day(last: &mut BTreeMap<u64, Option<Time>>, day: u64, millionths: u32) -> Vec<u64> {
        let numbers: Vec<u64> = last.keys().copied().collect();
        let candidates: Vec<Candidate> = numbers.iter().map(|n| Candidate { name: name(*n), last: last[n] }).collect();
        let mut meter = Meter::start(Budget::Share(millionths), numbers.iter().map(|n| 64 + n % 7).sum());
        let mut read = Vec::new();
        for position in order(&candidates, [day as u8; 32]) {
            if meter.is_spent() {
                break;
            }
            meter.spend(64 + numbers[position] % 7);
            read.push(numbers[position]);
        }
        for number in &read {
            last.insert(*number, Some(at(day)));
        }
        read
    }

    #[test]
    fn over_a_year_every_pack_is_read_within_the_window_and_damage_is_found_in_it() {
        // 5 % a day: every byte within 20 days, plus what new packs take.
        let mut last: BTreeMap<u64, Option<Time>> = (0..200).map(|n| (n, None)).collect();
        let mut damaged: BTreeMap<u64, u64> = BTreeMap::new();
        for day in 0..365 {
            if day % 10 == 0 {
                last.insert(1_000 + day, Some(at(day)));
            }
            if day % 7 == 0 {
                damaged.entry(day * 13 % 200).or_insert(day);
            }
            for number in one_day(&mut last, day, 50_000) {
                if let Some(since) = damaged.remove(&number) {
                    assert!(day - since <= 25, "damage of day {since} was found on day {day}");
                }
            }
            assert!(damaged.values().all(|since| day - since <= 25), "damage went unnoticed: {damaged:?} on day {day}");
            if day > 25 {
                assert!(last.values().all(|read| read.is_some_and(|read| read >= at(day - 25))), "day {day}");
            }
        }
    }

    #[test]
    fn the_stated_bound_holds_for_a_thousand_simulated_vaults() {
        let (total, share) = (200u64, 100_000);
        let mut exceeded = 0;
        for seed in 0..1_000u64 {
            // As many bad packs as the bound has to exclude, at random places.
            let read = 20;
            let bad_count = bad_at_most(total, read) + 1;
            let random = |n: u64| blake3::hash(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
            let mut places: Vec<u64> = (0..total).collect();
            places.sort_by_key(|n| *random(*n).as_bytes());
            let bad = &places[..bad_count as usize];
            let candidates: Vec<Candidate> = (0..total).map(|n| Candidate { name: name(n), last: None }).collect();
            let mut meter = Meter::start(Budget::Share(share), 64 * total);
            let mut chosen = 0;
            let escaped = order(&candidates, *random(total).as_bytes()).into_iter().all(|position| {
                if meter.is_spent() {
                    return true;
                }
                meter.spend(64);
                chosen += 1;
                !bad.contains(&(position as u64))
            });
            assert!(chosen <= read);
            exceeded += u64::from(escaped);
        }
        // 5 % of 1,000 and three standard deviations of chance.
        assert!(exceeded <= 50 + 21, "the bound was wrong in {exceeded} of 1,000 vaults");
    }

    proptest! {
        #[test]
        fn what_was_never_read_comes_first_and_nothing_is_left_out(days in prop::collection::vec(prop::option::of(0u64..50), 1..60), seed: [u8; 32]) {
            let candidates: Vec<Candidate> = days.iter().enumerate().map(|(n, day)| Candidate { name: name(n as u64), last: day.map(at) }).collect();
            let order = order(&candidates, seed);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..days.len()).collect::<Vec<_>>());
            prop_assert!(order.windows(2).all(|pair| candidates[pair[0]].last <= candidates[pair[1]].last));
        }
    }
}
