#![allow(clippy::unwrap_used)]
use super::*;

fn labels(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|l| l.to_string()).collect()
}

#[test]
fn a_single_output_becomes_relevance_with_logits_0_and_x() {
    let (head, layer) = classifier_head(labels(&["label_0"]), vec![1.0, 2.0], vec![3.0], 2);
    assert_eq!((head.name.as_str(), head.labels), ("relevance", labels(&["not_relevant", "relevant"])));
    assert_eq!(layer, HeadLayer { weight: vec![0.0, 0.0, 1.0, 2.0], bias: vec![0.0, 3.0] });
}

#[test]
fn nli_labels_are_put_into_this_projects_order() {
    let found = labels(&["contradiction", "entailment", "neutral"]);
    let (head, layer) = classifier_head(found, vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0], 1);
    assert_eq!((head.name.as_str(), head.labels), ("nli", labels(&["entailment", "neutral", "contradiction"])));
    assert_eq!(layer, HeadLayer { weight: vec![2.0, 3.0, 1.0], bias: vec![5.0, 6.0, 4.0] });
}

#[test]
fn other_labels_stay_as_they_are() {
    let (head, layer) = classifier_head(labels(&["bad", "good"]), vec![1.0, 2.0], vec![3.0, 4.0], 1);
    assert_eq!((head.name.as_str(), head.labels), ("classifier", labels(&["bad", "good"])));
    assert_eq!(layer.weight, [1.0, 2.0]);
}
