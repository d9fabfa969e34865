pub(super) static RUNS: [u32; 1] = [0];
