//! How long each part of a restore takes, told from the phases that it announces.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::objective::Parts;
use crate::progress::{Phase, Progress};

/// Passes progress on, and keeps the time of each phase.
pub(super) struct Stopwatch<'a> {
    progress: &'a dyn Progress,
    state: Mutex<(Parts, Phase, Instant)>,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(progress: &'a dyn Progress) -> Self {
        Self { progress, state: Mutex::new((Parts::default(), Phase::Opening, Instant::now())) }
    }

    /// Returns what each part took so far.
    pub(super) fn parts(&self) -> Parts {
        self.lap(None)
    }

    fn lap(&self, next: Option<Phase>) -> Parts {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, phase) = (Instant::now(), state.1);
        let seconds = now.duration_since(state.2).as_secs_f64();
        state.0.add(phase, seconds);
        (state.1, state.2) = (next.unwrap_or(phase), now);
        state.0
    }
}

impl Progress for Stopwatch<'_> {
    fn phase(&self, phase: Phase, files: Option<u64>, bytes: Option<u64>) {
        self.lap(Some(phase));
        self.progress.phase(phase, files, bytes);
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.progress.advance(files, bytes);
    }

    fn interrupted(&self) -> bool {
        self.progress.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn each_phase_takes_its_own_time_and_none_is_lost() {
        let begun = Instant::now();
        let watch = Stopwatch::start(&Silent);
        for phase in [Phase::Restoring, Phase::Syncing, Phase::Comparing, Phase::Syncing] {
            std::thread::sleep(std::time::Duration::from_millis(2));
            watch.phase(phase, None, None);
        }
        let parts = watch.parts();
        let (sum, whole) = (parts.looking + parts.writing + parts.syncing + parts.comparing, begun.elapsed());
        assert!(parts.looking >= 0.002 && parts.writing >= 0.002 && parts.syncing >= 0.002 && parts.comparing >= 0.002);
        assert!(sum <= whole.as_secs_f64() && sum >= 0.008, "{sum}");
    }
}
