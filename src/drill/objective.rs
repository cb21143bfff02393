//! The recovery time, held against what the plan allows.
//!
//! Where only a sample was restored, the time of the whole is a range and never one number. It rests on two restores: of
//! one file, which takes what any restore of this snapshot takes, and of the sample. What the sample took beyond the one
//! file is multiplied, part by part, by how much more there is of that which the part can depend on. Which of these it
//! depends on is not known, so that the smallest and the largest decide.

use crate::host::Settings;
use crate::limits;
use crate::progress::Phase;

/// How a recovery time stands to what the plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the objective.
    Met,
    /// It is over the objective.
    Missed,
    /// It is beyond what may be tolerated.
    Exceeded,
    /// It was extrapolated, and the objective lies within its range.
    Undecided,
}

impl Verdict {
    /// Returns the verdict's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Exceeded => "exceeded",
            Self::Undecided => "undecided",
        }
    }
}

/// How long a recovery takes, from the vault's place to files that can be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// What was measured, in seconds: locating, authenticating and restoring.
    pub seconds: f64,
    /// What the whole snapshot takes at least, in seconds: what was measured where all of it was restored.
    pub seconds_low: f64,
    /// What it takes at most; nothing where the sample sets no bound.
    pub seconds_high: Option<f64>,
    /// What any restore of this snapshot takes, however little it restores; nothing where everything was restored.
    pub seconds_fixed: Option<f64>,
    /// The objective, in minutes.
    pub objective_minutes: u32,
    /// What may be tolerated, in minutes.
    pub minutes_max: u32,
    /// How the whole snapshot's time stands to both.
    pub verdict: Verdict,
}

impl Recovery {
    /// Judges a measured time.
    pub(super) fn measured(seconds: f64, settings: &Settings) -> Self {
        Self::judge(seconds, None, (seconds, Some(seconds)), settings)
    }

    /// Judges a sample's time: what came before the restore, in seconds, and the two restores that it is told from.
    pub(super) fn extrapolated(before: f64, sampled: &Sampled, settings: &Settings) -> Self {
        let (low, high) = sampled.whole();
        let (fixed, sample) = (before + sampled.one.total(), before + sampled.sample.total());
        Self::judge(sample, Some(fixed), (before + low, high.map(|high| before + high)), settings)
    }

    fn judge(seconds: f64, fixed: Option<f64>, (low, high): (f64, Option<f64>), settings: &Settings) -> Self {
        let objective_minutes = settings.drill_minutes.unwrap_or(limits::DRILL_MINUTES);
        let minutes_max = settings.drill_minutes_max.unwrap_or(limits::DRILL_MINUTES_MAX).max(objective_minutes);
        let (objective, tolerated) = (f64::from(objective_minutes) * 60.0, f64::from(minutes_max) * 60.0);
        let verdict = if low > tolerated {
            Verdict::Exceeded
        } else if low > objective {
            Verdict::Missed
        } else if high.is_some_and(|high| high <= objective) {
            Verdict::Met
        } else {
            Verdict::Undecided
        };
        Self {
            seconds,
            seconds_low: low,
            seconds_high: high,
            seconds_fixed: fixed,
            objective_minutes,
            minutes_max,
            verdict,
        }
    }

    /// Returns the whole snapshot's time in words, in seconds.
    pub(super) fn told(&self) -> String {
        match (self.is_measured(), self.seconds_high) {
            (true, _) => format!("{:.1} s, measured", self.seconds),
            (false, Some(high)) => format!("{:.1} s to {high:.1} s, extrapolated from a sample", self.seconds_low),
            (false, None) => format!("at least {:.1} s, extrapolated from a sample", self.seconds_low),
        }
    }

    /// Returns whether the time was measured as a whole, and not extrapolated.
    pub fn is_measured(&self) -> bool {
        self.seconds_fixed.is_none()
    }
}

/// What the parts of a restore take, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Parts {
    /// Looking at vault, listing and target.
    pub(super) looking: f64,
    /// Reading blocks and writing objects.
    pub(super) writing: f64,
    /// Waiting for the medium.
    pub(super) syncing: f64,
    /// Reading back and comparing.
    pub(super) comparing: f64,
}

impl Parts {
    /// Adds time that was spent in a phase.
    pub(super) fn add(&mut self, phase: Phase, seconds: f64) {
        *match phase {
            Phase::Restoring => &mut self.writing,
            Phase::Syncing => &mut self.syncing,
            Phase::Comparing => &mut self.comparing,
            _ => &mut self.looking,
        } += seconds;
    }

    fn total(&self) -> f64 {
        self.looking + self.writing + self.syncing + self.comparing
    }
}

/// How much there is of what a restore's time can depend on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Files with content.
    pub(super) files: u64,
    /// Objects of every kind.
    pub(super) objects: u64,
    /// Bytes of content.
    pub(super) bytes: u64,
    /// Blocks that are decoded, each once.
    pub(super) blocks: u64,
}

/// Two restores, of one file and of a sample, and how much the whole has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampled {
    pub(super) one: Parts,
    pub(super) one_amount: Amount,
    pub(super) sample: Parts,
    pub(super) sample_amount: Amount,
    pub(super) whole_amount: Amount,
}

/// By how much a measured time may be wrong, as a share of it: it decides nothing where the sample is large.
const NOISE: f64 = 0.1;

impl Sampled {
    /// Returns what the whole takes at least and, if there is a bound, at most.
    fn whole(&self) -> (f64, Option<f64>) {
        let ratio = |of: fn(&Amount) -> u64| {
            let (one, sample, whole) = (of(&self.one_amount), of(&self.sample_amount), of(&self.whole_amount));
            // Of what the sample has no more than the one file, nothing can be said.
            (sample > one).then(|| whole.saturating_sub(one) as f64 / (sample - one) as f64)
        };
        let common = [ratio(|amount| amount.files), ratio(|amount| amount.objects), ratio(|amount| amount.bytes)];
        let blocks = ratio(|amount| amount.blocks);
        let mut low = 0.0;
        let mut high = Some(0.0);
        let [one, sample] =
            [self.one, self.sample].map(|parts| [parts.looking, parts.writing, parts.syncing, parts.comparing]);
        // Only who writes decodes.
        let decodes = [false, true, false, false];
        for ((one, sample), decodes) in one.into_iter().zip(sample).zip(decodes) {
            let (beyond, noise) = ((sample - one).max(0.0), NOISE * sample);
            let ratios = || common.iter().chain(decodes.then_some(&blocks)).flatten().copied();
            let least = ratios().fold(f64::INFINITY, f64::min);
            let most = common.iter().all(Option::is_some).then(|| ratios().fold(1.0, f64::max));
            // At least what the sample took, whatever the ratios.
            let surely = (beyond - noise).max(0.0);
            low += if least.is_finite() { sample - surely + surely * least.max(1.0) } else { sample };
            high = high.zip(most).map(|(high, most)| high + (sample - beyond).max(0.0) + (beyond + noise) * most);
        }
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(seconds: f64) -> Verdict {
        Recovery::measured(seconds, &Settings::default()).verdict
    }

    #[test]
    fn a_recovery_time_is_held_against_both_limits() {
        assert_eq!([600.0, 600.1, 900.0].map(verdict), [Verdict::Met, Verdict::Missed, Verdict::Missed]);
        assert_eq!(verdict(900.1), Verdict::Exceeded);
        let strict = Settings { drill_minutes: Some(20), drill_minutes_max: Some(1), ..Settings::default() };
        assert_eq!(Recovery::measured(1200.0, &strict).verdict, Verdict::Met, "the objective is tolerated");
        assert!(Recovery::measured(1.0, &strict).is_measured());
    }

    /// A restore that takes so much for itself, for each file, for each byte and for each block.
    fn restore(fixed: f64, file: f64, byte: f64, block: f64, amount: &Amount) -> Parts {
        Parts {
            looking: fixed,
            writing: file * amount.files as f64 + byte * amount.bytes as f64 + block * amount.blocks as f64,
            syncing: byte * amount.bytes as f64,
            comparing: file * amount.files as f64,
        }
    }

    const ONE: Amount = Amount { files: 1, objects: 4, bytes: 10_000, blocks: 1 };
    const SAMPLE: Amount = Amount { files: 100, objects: 300, bytes: 1_000_000, blocks: 90 };
    const WHOLE: Amount = Amount { files: 100_000, objects: 106_000, bytes: 1_200_000_000, blocks: 1_200 };

    fn sampled(parts: impl Fn(&Amount) -> Parts) -> Sampled {
        Sampled {
            one: parts(&ONE),
            one_amount: ONE,
            sample: parts(&SAMPLE),
            sample_amount: SAMPLE,
            whole_amount: WHOLE,
        }
    }

    #[test]
    fn the_range_holds_the_truth_whatever_a_restore_spends_its_time_on() {
        let costs = [0.0, 1e-6, 1e-4, 1e-2];
        for (fixed, file) in costs.iter().flat_map(|fixed| costs.map(|file| (fixed * 1000.0, file))) {
            for (byte, block) in costs.iter().flat_map(|byte| costs.map(|block| (byte / 1e4, block))) {
                let parts = |amount: &Amount| restore(fixed, file, byte, block, amount);
                let (low, high) = sampled(parts).whole();
                let truth = parts(&WHOLE).total();
                let high = high.expect("a bound");
                let slack = 1.0 + 1e-9;
                assert!(
                    low <= truth * slack && truth <= high * slack,
                    "{low} {truth} {high}: {fixed} {file} {byte} {block}"
                );
            }
        }
    }

    #[test]
    fn what_any_restore_takes_is_not_multiplied() {
        let parts = |amount: &Amount| restore(2.0, 1e-4, 0.0, 0.0, amount);
        let (low, high) = sampled(parts).whole();
        // The truth is 22 s. Multiplying everything by what there is more of would say 2,424 s.
        assert!(low > 2.0 && low < 22.0, "{low}");
        let high = high.expect("a bound");
        // The time for looking may be wrong by a tenth, times 1,212.
        assert!(high > 22.0 && high < 300.0, "{high}");
    }

    #[test]
    fn a_larger_sample_narrows_the_range_and_the_whole_closes_it() {
        let parts = |amount: &Amount| restore(2.0, 1e-4, 1e-9, 1e-3, amount);
        let width = |part: u64| {
            let sample_amount = Amount {
                files: WHOLE.files / part,
                objects: WHOLE.objects / part,
                bytes: WHOLE.bytes / part,
                blocks: WHOLE.blocks.min(WHOLE.files / part),
            };
            let sampled = Sampled { sample: parts(&sample_amount), sample_amount, ..sampled(parts) };
            let (low, high) = sampled.whole();
            high.expect("a bound") - low
        };
        assert!(width(1000) > width(100) && width(100) > width(10) && width(10) > width(2));
        // What is left is the noise.
        assert!(width(1) <= 0.1 * parts(&WHOLE).total() + 1e-9, "{}", width(1));
    }

    #[test]
    fn a_sample_of_one_file_sets_no_bound_and_meets_no_objective() {
        let one = restore(1.0, 1e-3, 0.0, 0.0, &ONE);
        let sampled = Sampled { one, one_amount: ONE, sample: one, sample_amount: ONE, whole_amount: WHOLE };
        let recovery = Recovery::extrapolated(0.5, &sampled, &Settings::default());
        assert_eq!((recovery.seconds_high, recovery.verdict), (None, Verdict::Undecided));
        assert!(!recovery.is_measured() && (recovery.seconds - 0.5 - one.total()).abs() < 1e-9);
    }

    #[test]
    fn a_range_around_the_objective_decides_nothing() {
        let judged =
            |low: f64, high: f64| Recovery::judge(1.0, Some(1.0), (low, Some(high)), &Settings::default()).verdict;
        assert_eq!(judged(10.0, 600.0), Verdict::Met);
        assert_eq!(judged(10.0, 2000.0), Verdict::Undecided);
        assert_eq!(judged(601.0, 2000.0), Verdict::Missed, "at least over the objective");
        assert_eq!(judged(901.0, 2000.0), Verdict::Exceeded);
    }

    #[test]
    fn a_slower_single_file_is_noise_and_never_makes_the_whole_faster_than_the_sample() {
        let slow = sampled(|amount| restore(1.0, if amount.files == 1 { 1.0 } else { 1e-5 }, 0.0, 0.0, amount));
        let (low, high) = slow.whole();
        assert!(low >= slow.sample.total() && high.is_some_and(|high| high >= low), "{low} {high:?}");
    }
}
