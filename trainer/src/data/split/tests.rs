#![allow(clippy::unwrap_used)]

use super::*;

fn row(a: &str, b: &str) -> Row {
    Row { id: String::new(), text_a: a.to_owned(), text_b: b.to_owned(), label: None }
}

#[test]
fn all_pairs_of_a_text_lie_on_one_side() {
    let rows: Vec<Row> = (0..2000).map(|i| row(&format!("question {}", i % 500), &format!("passage {i}"))).collect();
    let (train, held_out) = split(rows, SplitBy::FirstText, 0.1);
    let train_texts: HashSet<&str> = train.iter().map(|r| r.text_a.as_str()).collect();
    assert!(held_out.iter().all(|r| !train_texts.contains(r.text_a.as_str())));
    assert!((100..300).contains(&held_out.len()), "{} of 2000 held out at 10 %", held_out.len());
}

#[test]
fn the_split_ignores_order_case_and_punctuation() {
    let side = |text: &str| split(vec![row(text, "b")], SplitBy::FirstText, 0.5).1.len();
    for i in 0..50 {
        assert_eq!(side(&format!("What is {i}?")), side(&format!("what is {i}")));
    }
    assert_eq!(split(vec![row("a", "b")], SplitBy::FirstText, 0.0).1.len(), 0);
}

#[test]
fn a_smaller_limit_is_a_subset_of_a_larger_one() {
    let rows: Vec<Row> = (0..100).map(|i| row(&i.to_string(), "b")).collect();
    let (ten, twenty) = (limit(rows.clone(), 10, 3), limit(rows.clone(), 20, 3));
    assert_eq!((ten.len(), twenty.len(), limit(rows.clone(), 200, 3).len()), (10, 20, 100));
    assert!(ten.iter().all(|r| twenty.contains(r)));
    assert_ne!(ten, limit(rows, 10, 4));
}

#[test]
fn duplicates_are_dropped_across_files() {
    let mut seen = HashSet::new();
    let (first, dropped) = deduplicate(vec![row("A b.", "c"), row("a", "bc")], &mut seen);
    assert_eq!((first.len(), dropped), (2, 0));
    let (second, dropped) = deduplicate(vec![row("a B", "C!"), row("a", "d")], &mut seen);
    assert_eq!((second.len(), dropped), (1, 1));
}

#[test]
fn a_pair_the_other_way_round_lies_on_the_same_side() {
    for number in 0..50 {
        let premise = format!("premise {number}");
        let side = |rows, by| split(rows, by, 0.5).1.len();
        let plain = side(vec![row(&premise, "hypothesis")], SplitBy::FirstText);
        assert_eq!(side(vec![row("hypothesis", &premise)], SplitBy::SecondText), plain);
    }
}
