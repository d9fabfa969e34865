#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn every_scheme_is_read_back_from_its_name() {
    for scheme in Scheme::ALL {
        assert_eq!(scheme.name().parse::<Scheme>().unwrap(), scheme);
    }
    let message = "m-o-2".parse::<Scheme>().unwrap_err().to_string();
    assert!(message.contains("\"m-o-2\"") && message.contains("1avg-o-1"), "{message}");
}

#[test]
fn targets_are_chosen_averaged_or_copied() {
    let teachers = [Some(vec![1.0, 0.0]), None, Some(vec![3.0, 2.0])];
    assert_eq!(Scheme::OneOnOne.targets(&teachers[..1], 0), [Some(vec![1.0, 0.0])]);
    assert_eq!(Scheme::AverageOnOne.targets(&teachers, 0), [Some(vec![2.0, 1.0])]);
    assert_eq!(Scheme::ManyOnMany.targets(&teachers, 2), [Some(vec![3.0, 2.0])]);
    assert_eq!(Scheme::ManyOnMany.targets(&teachers, 1), [None]);
    assert_eq!(Scheme::ManyOnOne.targets(&teachers, 0), teachers);
    assert_eq!(Scheme::Tmkd.targets(&[], 0), [None]);
    assert_eq!(Scheme::AverageOnOne.targets(&[None, None], 0), [None]);
    assert_eq!(Scheme::FineTune.targets(&teachers, 0), [None]);
}

#[test]
fn copies_and_students_follow_the_teachers() {
    assert_eq!((Scheme::ManyOnOne.copies(3), Scheme::ManyOnOne.copies(0), Scheme::AverageOnOne.copies(3)), (3, 1, 1));
    assert_eq!((Scheme::ManyOnMany.students(3), Scheme::Tmkd.students(3)), (3, 1));
}

#[test]
fn a_scheme_refuses_teachers_that_it_would_ignore() {
    assert!(Scheme::FineTune.check("nli", 1).is_err());
    assert!(Scheme::OneOnOne.check("nli", 2).is_err());
    assert!(Scheme::OneOnOne.check("nli", 0).is_ok() && Scheme::Tmkd.check("nli", 5).is_ok());
}
