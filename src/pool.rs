//! A pool of worker threads whose results are taken in the order in which the caller wants them.
//!
//! Jobs run in the order in which they were spawned and must not wait for each other. The number of jobs under way is
//! the caller's to bound: it holds their [`Task`]s.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

type Job = Box<dyn FnOnce() + Send>;

/// Worker threads; they end when the last handle is dropped and the queue is empty.
#[derive(Clone)]
pub struct Pool {
    queue: Option<Arc<Sender<Job>>>,
    threads: usize,
}

/// The result of a job that may still be running. Dropping it waits too: no job outlives the one who asked for it, so
/// that nothing is still written when an operation has returned.
pub struct Task<T>(Option<Receiver<thread::Result<T>>>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(result) = self.0.take() {
            let _ = result.recv();
        }
    }
}

impl Pool {
    /// Starts a pool with as many threads as the machine runs at once.
    pub fn new() -> Self {
        Self::with_threads(thread::available_parallelism().map_or(1, NonZero::get).min(64))
    }

    /// Starts a pool with a number of threads, at least one; with fewer where the system gives no more. Without any,
    /// jobs run as they are spawned.
    pub fn with_threads(threads: usize) -> Self {
        let (sender, receiver) = unbounded::<Job>();
        let start = |_: &usize| {
            let receiver = receiver.clone();
            let work = move || {
                for job in receiver {
                    job();
                }
            };
            thread::Builder::new().spawn(work).is_ok()
        };
        let started = (0..threads.max(1)).take_while(start).count();
        Self { queue: (started > 0).then(|| Arc::new(sender)), threads: started.max(1) }
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Queues a job.
    pub fn spawn<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let (sender, receiver) = bounded(1);
        let job: Job = Box::new(move || {
            // A task that is being dropped has lost interest in the result.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(job)));
        });
        match &self.queue {
            // The workers live as long as the queue; but a result is owed in any case.
            Some(queue) => queue.send(job).unwrap_or_else(|unsent| (unsent.into_inner())()),
            None => job(),
        }
        Task(Some(receiver))
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Task<T> {
    /// Waits for the result; a panic in the job goes on here.
    pub fn wait(mut self) -> T {
        let result = self.0.take().expect("only waiting and dropping take it");
        match result.recv().expect("a job always sends its result") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Returns whether the result is there, so that waiting for it would not block.
    pub fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|result| !result.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_arrive_in_the_order_in_which_they_are_awaited() {
        let pool = Pool::with_threads(3);
        let tasks: Vec<_> = (0..100u64).map(|n| pool.spawn(move || n * n)).collect();
        let results: Vec<u64> = tasks.into_iter().map(Task::wait).collect();
        assert_eq!(results, (0..100).map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    fn no_job_outlives_its_task() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        drop(Pool::with_threads(1).spawn(move || {
            thread::sleep(std::time::Duration::from_millis(30));
            flag.store(true, Ordering::SeqCst);
        }));
        assert!(done.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_reaches_the_one_who_waits_and_spares_the_pool() {
        let pool = Pool::with_threads(1);
        let bad = pool.spawn(|| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(|| bad.wait())).is_err());
        assert_eq!(pool.spawn(|| 7).wait(), 7);
    }
}
