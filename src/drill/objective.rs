//! The recovery time, held against what the plan allows.

use crate::host::Settings;
use crate::limits;

/// How a recovery time stands to what the plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the objective.
    Met,
    /// It is over the objective.
    Missed,
    /// It is beyond what may be tolerated.
    Exceeded,
}

impl Verdict {
    /// Returns the verdict's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Exceeded => "exceeded",
        }
    }
}

/// How long a recovery takes, from the vault's place to files that can be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// What was measured, in seconds: locating, authenticating and restoring.
    pub seconds: f64,
    /// How long the whole snapshot takes: the same where it was restored, else extrapolated.
    pub whole_seconds: f64,
    /// By how much the restore's share was multiplied; 1 where nothing was extrapolated.
    pub factor: f64,
    /// The objective, in minutes.
    pub objective_minutes: u32,
    /// What may be tolerated, in minutes.
    pub minutes_max: u32,
    /// How the whole snapshot's time stands to both.
    pub verdict: Verdict,
}

impl Recovery {
    /// Judges a time. `factor` is how many times as much a whole restore has to do as what was restored.
    pub(super) fn judge(before_seconds: f64, restore_seconds: f64, factor: f64, settings: &Settings) -> Self {
        let objective_minutes = settings.drill_minutes.unwrap_or(limits::DRILL_MINUTES);
        let minutes_max = settings.drill_minutes_max.unwrap_or(limits::DRILL_MINUTES_MAX).max(objective_minutes);
        let whole_seconds = before_seconds + restore_seconds * factor;
        let verdict = if whole_seconds <= f64::from(objective_minutes) * 60.0 {
            Verdict::Met
        } else if whole_seconds <= f64::from(minutes_max) * 60.0 {
            Verdict::Missed
        } else {
            Verdict::Exceeded
        };
        let seconds = before_seconds + restore_seconds;
        Self { seconds, whole_seconds, factor, objective_minutes, minutes_max, verdict }
    }

    /// Returns whether the time was measured as a whole, and not extrapolated.
    pub fn is_measured(&self) -> bool {
        self.factor <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_time_is_held_against_both_limits() {
        let judged = |restore, factor| Recovery::judge(1.0, restore, factor, &Settings::default());
        assert_eq!(judged(599.0, 1.0).verdict, Verdict::Met);
        assert_eq!(judged(599.1, 1.0).verdict, Verdict::Missed);
        assert_eq!(judged(899.0, 1.0).verdict, Verdict::Missed);
        assert_eq!(judged(899.1, 1.0).verdict, Verdict::Exceeded);
        let sampled = judged(10.0, 100.0);
        assert_eq!((sampled.seconds, sampled.whole_seconds, sampled.verdict), (11.0, 1001.0, Verdict::Exceeded));
        assert!(!sampled.is_measured());
        let strict = Settings { drill_minutes: Some(20), drill_minutes_max: Some(1), ..Settings::default() };
        assert_eq!(Recovery::judge(0.0, 1199.0, 1.0, &strict).verdict, Verdict::Met, "the objective is tolerated");
    }
}
