//! WebAssembly's team: the caller alone, since WASI has no threads.

type Work<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// See the other architectures' `team.rs`.
#[derive(Debug, Default)]
pub(crate) struct Team;

impl Team {
    /// However many are asked for, it is one.
    pub(crate) fn new(_threads: usize) -> Self {
        Self
    }

    pub(crate) fn threads(&self) -> usize {
        1
    }

    pub(crate) fn run(&mut self, tasks: usize, work: &Work<'_>) {
        (0..tasks).for_each(|task| work(task, 0));
    }
}
