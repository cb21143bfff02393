//! Progress on stderr: a bar for a person, JSON lines for a program, or nothing.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::args::Show;
use crate::progress::{Phase, Progress};

/// How often a JSON line is written at most.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// Shows progress and carries the wish to stop.
pub(super) struct Watch {
    bar: Option<ProgressBar>,
    json: bool,
    interrupted: Arc<AtomicBool>,
    by_count: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    files_total: Option<u64>,
    bytes_total: Option<u64>,
    written: Instant,
}

#[derive(Serialize)]
struct Line {
    schema: &'static str,
    phase: &'static str,
    files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_total: Option<u64>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
}

impl Watch {
    pub(super) fn new(show: Show, json_output: bool, interrupted: Arc<AtomicBool>) -> Self {
        let wants_bar = show == Show::Auto && !json_output && std::io::stderr().is_terminal();
        let bar = wants_bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let state = State { phase: Phase::Opening, files_total: None, bytes_total: None, written: Instant::now() };
        Self {
            bar,
            json: show == Show::Json,
            interrupted,
            by_count: AtomicBool::new(false),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Removes the bar, so that the result stands alone.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.json {
            self.write_line(true);
        }
    }

    fn write_line(&self, always: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !always && state.written.elapsed() < JSON_INTERVAL {
            return;
        }
        state.written = Instant::now();
        let line = Line {
            schema: "devvault.progress/1",
            phase: state.phase.name(),
            files: self.files.load(Ordering::Relaxed),
            files_total: state.files_total,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_total: state.bytes_total,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        // Who does not read progress does not get it.
        let _ = std::io::stderr().write_all(&text);
    }
}

impl Progress for Watch {
    fn phase(&self, phase: Phase, files: Option<u64>, bytes: Option<u64>) {
        self.files.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.phase, state.files_total, state.bytes_total) = (phase, files, bytes);
        }
        if let Some(bar) = &self.bar {
            // Who removes has no bytes to tell of.
            let by_count = phase == Phase::Cleaning;
            self.by_count.store(by_count, Ordering::Relaxed);
            let template = match (bytes, files) {
                (None, Some(_)) if by_count => "{prefix:>10} [{bar:30}] {human_pos}/{human_len} objects, {eta} left",
                (None, _) if by_count => "{prefix:>10} {spinner} {human_pos} objects {elapsed}",
                (Some(_), _) => {
                    "{prefix:>10} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left {msg}"
                }
                (None, _) => "{prefix:>10} {spinner} {bytes} {binary_bytes_per_sec} {elapsed} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.reset();
            bar.set_prefix(phase.name());
            bar.set_message("");
            match if by_count { files } else { bytes } {
                Some(total) => bar.set_length(total),
                None => bar.unset_length(),
            }
        }
        if self.json {
            self.write_line(true);
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        let done = self.files.fetch_add(files, Ordering::Relaxed) + files;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(if self.by_count.load(Ordering::Relaxed) { files } else { bytes });
            if done.is_multiple_of(64) {
                bar.set_message(format!("{done} files"));
            }
        }
        if self.json {
            self.write_line(false);
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
