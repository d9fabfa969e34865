//! The wall against panics, and what is remembered of failures.
#![allow(clippy::unwrap_used)]

use std::ffi::CStr;

use crate::status::{Failure, Status, call, status, value};
use crate::{attar_last_error, attar_status_name, attar_version};

fn last_error() -> String {
    // SAFETY: never null, and read before the next call.
    unsafe { CStr::from_ptr(attar_last_error()) }.to_str().unwrap().to_owned()
}

#[test]
fn a_panic_becomes_a_status_with_its_place() {
    assert_eq!(status(|| panic!("the {} fell over", "vase")), Status::Panic as i32);
    let text = last_error();
    assert!(text.contains("tests.rs:") && text.ends_with("the vase fell over"), "{text}");
    assert_eq!(value(7, || panic!("again")), 7);
    assert_eq!(status(|| std::panic::panic_any(5)), Status::Panic as i32);
    assert!(last_error().ends_with("no message"));
}

#[test]
fn a_panic_payload_that_panics_stays_inside() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    assert_eq!(status(|| std::panic::panic_any(Bomb)), Status::Panic as i32);
}

#[test]
fn panics_elsewhere_are_not_ours() {
    let inside = call(|| Ok(std::panic::catch_unwind(|| panic!("inner")).is_err())).unwrap();
    assert!(inside);
    assert!(std::panic::catch_unwind(|| panic!("outer")).is_err());
    assert!(!last_error().contains("outer"));
}

#[test]
fn an_error_is_one_line_that_c_can_read_and_belongs_to_its_thread() {
    let code = status(|| Err(Failure::new(Status::Io, "a\nb\0c")));
    assert_eq!(code, Status::Io as i32);
    assert_eq!(last_error(), "a b c");
    assert_eq!(std::thread::spawn(last_error).join().unwrap(), "");
    assert_eq!(status(|| Ok(())), 0);
    assert_eq!(last_error(), "a b c");
}

#[test]
fn statuses_have_the_names_and_numbers_of_the_header() {
    let header = include_str!("../include/attar.h");
    let mut known = 0;
    for line in
        header.lines().map(str::trim).filter(|line| line.starts_with("ATTAR_OK =") || line.starts_with("ATTAR_ERROR_"))
    {
        let (name, number) = line.trim_end_matches(',').split_once(" = ").unwrap();
        // SAFETY: static strings.
        let ours = unsafe { CStr::from_ptr(attar_status_name(number.parse().unwrap())) };
        assert_eq!(ours.to_str().unwrap(), name);
        known += 1;
    }
    assert_eq!(known, 14);
    // SAFETY: a static string.
    assert_eq!(unsafe { CStr::from_ptr(attar_version()) }.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}
