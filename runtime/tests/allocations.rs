//! Scoring allocates nothing once it has seen calls as large, and little before.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use attar::{Model, Weights};
use common::Bert;

/// The system's allocator, counted.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let held = HELD.fetch_add(size, Ordering::Relaxed) + size;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counters are the program's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Most bytes that scoring one pair of 128 tokens with the default bundle holds beyond the map.
const MAX_BYTES: usize = 5_000_000;

#[test]
fn scoring_allocates_nothing_after_the_first_call() {
    let _alone = ALONE.lock();
    let model = Model::from_bytes(Bert::random(1).bundle(Weights::Int8)).unwrap();
    // ASCII texts of pairs that fit the encoder: for a longer pair the list of its windows is allocated, and for a word that
    // is not ASCII its normal form.
    let calls: [Vec<(&str, &str)>; 3] = [
        vec![("the cat", "a dog"); 40],
        vec![("the", "a dog the cat a dog the cat a dog")],
        vec![("a dog", "the cat"), ("cat", "the cat a dog the cat")],
    ];
    for threads in [1, 2] {
        let mut session = model.session().threads(threads);
        let mut scores = Vec::new();
        for head in ["nli", "relevance"] {
            for pairs in &calls {
                session.score_into(head, pairs, &mut scores).unwrap();
            }
        }
        // All of them once more into the memory that is there now; `scores` shrinks and grows on the way.
        for head in ["nli", "relevance"] {
            for pairs in &calls {
                let mut scores = session.score(head, pairs).unwrap();
                // The least of several times: the counter also sees what the test runner allocates meanwhile.
                let mut allocations = usize::MAX;
                for _ in 0..8 {
                    let before = CALLS.load(Ordering::Relaxed);
                    session.score_into(head, pairs, &mut scores).unwrap();
                    allocations = allocations.min(CALLS.load(Ordering::Relaxed) - before);
                }
                assert!(scores.iter().all(|score| score.windows == 1));
                assert_eq!(allocations, 0, "{threads} threads, head {head}, {} pairs", pairs.len());
            }
        }
    }
}

#[test]
fn a_pair_of_128_tokens_takes_little_memory() {
    let _alone = ALONE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/attar-base.attar");
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return;
    }
    let question = "what is the capital of france and why is it so";
    let passage = "it is a city of light and of art in the north of the country. ".repeat(8);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let model = Model::open(&path).unwrap();
    let mut session = model.session();
    let score = session.score("relevance", &[(question, passage.as_str())]).unwrap().remove(0);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!("{} tokens: at most {:.2} MB beyond the map", score.tokens, peak as f64 / 1e6);
    assert!((128..160).contains(&score.tokens), "{}", score.tokens);
    assert!(peak < MAX_BYTES, "{peak}");
}
