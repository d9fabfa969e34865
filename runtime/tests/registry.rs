//! `runtime/no-inventory` stands in for crates.io's `inventory`.

/// A tract that asks for a newer `inventory` than the patch has would link all of its operators again: 5 MB in the C library.
#[test]
fn tract_registers_nothing() {
    assert!(
        tract_core::runtime::runtimes().next().is_none(),
        "tract's registry is not empty: give runtime/no-inventory the version of inventory that tract asks for"
    );
}
