#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use super::*;

#[test]
fn each_task_runs_once_with_a_worker_of_its_own() {
    for threads in [1, 2, 3, 5] {
        let mut team = Team::new(threads);
        let running: Vec<AtomicBool> = (0..threads).map(|_| AtomicBool::new(false)).collect();
        for tasks in [0, 1, 2, 3, 7, 100, 1000] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            team.run(tasks, &|task, worker| {
                assert!(!running[worker].swap(true, Ordering::SeqCst));
                counts[task].fetch_add(1, Ordering::SeqCst);
                running[worker].store(false, Ordering::SeqCst);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::SeqCst) == 1));
        }
    }
}

#[test]
fn helpers_come_back_from_sleep() {
    let mut team = Team::new(2);
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(5));
        let workers = Mutex::new(Vec::new());
        team.run(200, &|_, worker| {
            thread::sleep(Duration::from_micros(50));
            workers.lock().unwrap().push(worker);
        });
        let workers = workers.into_inner().unwrap();
        assert_eq!(workers.len(), 200);
        // A helper that the system holds back for 10 ms is legal but unlikely; the team then rests.
        println!("{} of 200 tasks by the helper", workers.iter().filter(|&&w| w == 1).count());
    }
}

#[test]
fn a_panic_in_a_task_reaches_the_caller_and_the_team_survives_the_callers_own() {
    let mut team = Team::new(3);
    let ran = AtomicUsize::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        team.run(50, &|task, worker| {
            ran.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(100));
            assert!(task != 20 || worker != 0, "the caller's");
            assert!(task != 20, "a helper's");
        });
    }));
    assert!(result.is_err());
    drop(team);
}

#[test]
fn a_stalled_helper_makes_the_team_rest() {
    let mut team = Team::new(2);
    let millisecond = Duration::from_millis(1);
    for _ in 0..50 {
        team.run(8, &|_, worker| thread::sleep(if worker == 0 { millisecond } else { 100 * millisecond }));
        if team.rest.is_on(Instant::now()) {
            let helped = AtomicUsize::new(0);
            team.run(8, &|_, worker| {
                helped.fetch_add(worker, Ordering::SeqCst);
            });
            assert_eq!(helped.load(Ordering::SeqCst), 0);
            return;
        }
    }
    panic!("the helper never took a task");
}
