//! Threads that help one caller: tasks claimed one at a time, a brief spin for the next ones, then sleep.
//!
//! A forward pass is about twenty short phases with a barrier after each, so helpers must be at hand within microseconds
//! while a pass runs, and cost nothing between passes. The caller works as well and never waits for a task that nobody has
//! begun: a helper that comes late, or that the system has put aside for another program, finds nothing left to do. The one
//! thing that can hold the caller up is a helper put aside in the middle of a task; when that happens the team rests for a
//! multiple of the caller's wait ([`rest`]), so that a busy machine costs little more than using one thread.

use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

mod rest;

use rest::Rest;

/// Pauses that a helper spins through before it sleeps: 20 to 50 microseconds.
const SPINS: u32 = 1000;
/// Pauses that the caller spins through for the last tasks before it lets others run.
const CALLER_SPINS: u32 = 4000;
/// A wait longer than this many of the caller's own tasks, and than a tenth of a millisecond, means that a helper was put aside.
const STALL_TASKS: u32 = 3;
const STALL: Duration = Duration::from_micros(100);

type Work<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A phase: what to call, with a task number and a worker number, and how many tasks there are.
#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    tasks: u32,
}

struct Shared {
    /// Phase number in the high half, tasks that nobody has claimed in the low half. Claiming a task is a compare-exchange, which
    /// a helper that is late for its phase fails.
    ticket: AtomicU64,
    /// Written by the caller while no task is claimed; read by those who claimed one.
    job: UnsafeCell<Job>,
    /// Tasks that helpers have finished.
    done: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    asleep: Box<[AtomicBool]>,
}

// SAFETY: `job` is written by the caller only, while no task of the last phase is claimed and unfinished, and before the
// ticket that allows reading it is published; `work` is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is only followed while the caller's phase lasts.
unsafe impl Send for Shared {}

const LOW: u64 = 0xffff_ffff;

impl Shared {
    /// Claims a task: its number, and the job.
    fn claim(&self) -> Option<(usize, Job)> {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        while ticket & LOW != 0 {
            match self.ticket.compare_exchange_weak(ticket, ticket - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: a task of the current phase is ours, so the caller waits for us before it writes `job` again.
                    let job = unsafe { *self.job.get() };
                    return Some(((u64::from(job.tasks) - (ticket & LOW)) as usize, job));
                }
                Err(now) => ticket = now,
            }
        }
        None
    }

    fn help(&self, worker: usize) {
        let asleep = &self.asleep[worker - 1];
        let mut spins = 0;
        loop {
            if let Some((task, job)) = self.claim() {
                // SAFETY: the caller keeps the job alive until `done` has counted this task.
                let work = unsafe { &*job.work };
                if catch_unwind(AssertUnwindSafe(|| work(task, worker))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.done.fetch_add(1, Ordering::Release);
                spins = 0;
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            if spins < SPINS {
                spins += 1;
                spin_loop();
                continue;
            }
            // Announced first and looked again: a caller that published in between sees the flag or we see its tasks.
            asleep.store(true, Ordering::SeqCst);
            while asleep.load(Ordering::SeqCst) {
                if self.ticket.load(Ordering::SeqCst) & LOW != 0 || self.stop.load(Ordering::SeqCst) {
                    asleep.store(false, Ordering::SeqCst);
                    break;
                }
                thread::park();
            }
            spins = 0;
        }
    }

    fn wake(&self, helpers: &[Helper]) {
        for (asleep, helper) in self.asleep.iter().zip(helpers) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                helper.thread.unpark();
            }
        }
    }
}

struct Helper {
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

/// A caller and its helping threads. Made with one thread it has no helpers, and running is a plain loop.
pub(crate) struct Team {
    shared: Option<Arc<Shared>>,
    helpers: Vec<Helper>,
    phase: u32,
    rest: Rest,
}

impl Team {
    /// `threads` in all, the caller included. Threads that the system refuses are done without.
    pub(crate) fn new(threads: usize) -> Self {
        let wanted = threads.saturating_sub(1);
        let mut team = Self { shared: None, helpers: Vec::new(), phase: 0, rest: Rest::default() };
        if wanted == 0 {
            return team;
        }
        fn nothing(_: usize, _: usize) {}
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            job: UnsafeCell::new(Job { work: &nothing, tasks: 0 }),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: (0..wanted).map(|_| AtomicBool::new(false)).collect(),
        });
        for worker in 1..=wanted {
            let shared = shared.clone();
            let builder = thread::Builder::new().name(format!("attar-{worker}")).stack_size(256 << 10);
            let Ok(handle) = builder.spawn(move || shared.help(worker)) else { break };
            team.helpers.push(Helper { thread: handle.thread().clone(), handle: Some(handle) });
        }
        team.shared = Some(shared);
        team
    }

    /// The caller and its helpers.
    pub(crate) fn threads(&self) -> usize {
        1 + self.helpers.len()
    }

    /// Calls `work(task, worker)` for each task below `tasks`, each once, by any of the team; worker 0 is the caller. Returns when
    /// all have returned. No two calls at a time have the same worker number.
    ///
    /// # Panics
    /// If a call panicked.
    pub(crate) fn run(&mut self, tasks: usize, work: &Work<'_>) {
        let shared = match &self.shared {
            Some(shared) if tasks > 1 && !self.helpers.is_empty() && !self.rest.is_on(Instant::now()) => shared,
            _ => return (0..tasks).for_each(|task| work(task, 0)),
        };
        let count = u32::try_from(tasks).expect("tasks are rows or heads of a block, fewer than 2^32");
        // SAFETY: lifetimes only. `Phase` waits for every claimed task before this function is left, by return or by panic.
        let erased = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: the last phase's tasks are all finished, so nobody reads `job`; the ticket that allows it comes after.
        unsafe { *shared.job.get() = Job { work: erased, tasks: count } };
        shared.done.store(0, Ordering::Relaxed);
        self.phase = self.phase.wrapping_add(1);
        shared.ticket.store(u64::from(self.phase) << 32 | u64::from(count), Ordering::SeqCst);
        shared.wake(&self.helpers);
        let begun = Instant::now();
        let mut phase = Phase { shared, tasks, mine: 0 };
        while let Some((task, _)) = shared.claim() {
            phase.mine += 1;
            work(task, 0);
        }
        let finished = Instant::now();
        phase.finish();
        let waited = finished.elapsed();
        let mine = u32::try_from(phase.mine).unwrap_or(u32::MAX);
        std::mem::forget(phase);
        assert!(!shared.panicked.load(Ordering::Relaxed), "a helping thread panicked");
        if mine > 0 && waited > STALL && waited > STALL_TASKS * ((finished - begun) / mine) {
            self.rest.begin(finished + waited, waited);
        }
    }
}

/// A phase under way. Dropped by a panic of the caller's own task: the others must still be waited for.
struct Phase<'a> {
    shared: &'a Shared,
    tasks: usize,
    /// Tasks that the caller claimed.
    mine: usize,
}

impl Phase<'_> {
    /// Closes the phase and waits for the tasks that helpers claimed.
    fn finish(&mut self) {
        let mut ticket = self.shared.ticket.load(Ordering::Acquire);
        while let Err(now) =
            self.shared.ticket.compare_exchange_weak(ticket, ticket & !LOW, Ordering::AcqRel, Ordering::Acquire)
        {
            ticket = now;
        }
        let theirs = self.tasks - self.mine - (ticket & LOW) as usize;
        let mut spins = 0;
        while self.shared.done.load(Ordering::Acquire) < theirs {
            spins += 1;
            if spins < CALLER_SPINS {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        shared.stop.store(true, Ordering::SeqCst);
        shared.wake(&self.helpers);
        for helper in &mut self.helpers {
            if let Some(handle) = helper.handle.take() {
                // A helper catches its tasks' panics; there is nothing else in it that could.
                let _ = handle.join();
            }
        }
    }
}

impl Default for Team {
    fn default() -> Self {
        Self::new(1)
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team").field("threads", &self.threads()).finish()
    }
}

#[cfg(test)]
mod tests;
