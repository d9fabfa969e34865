//! The interface of the crate `inventory`, over a registry that stays empty.
//!
//! tract registers its runtimes, model transformations and linear algebra kernels in `inventory`, whose entries are constructors
//! that run when the program is loaded. No linker may leave them out, nor anything they reach: all of tract's operators and
//! kernels, of which Attar's graph uses none. With this crate in its place (`[patch.crates-io]` in the workspace's Cargo.toml)
//! nothing is registered, and what is not called is not linked.

#![no_std]

use core::convert::Infallible;
use core::iter::{Empty, empty};
use core::marker::PhantomData;
use core::ops::Deref;

/// Declares what can be registered: nothing to declare.
#[macro_export]
macro_rules! collect {
    ($registered:ty) => {};
}

/// Registers a value: it is left out.
#[macro_export]
macro_rules! submit {
    ($($value:tt)*) => {};
}

/// `iter::<T>`, and `iter::<T>()`: what is registered of a type, nothing.
#[allow(non_camel_case_types)]
pub enum iter<T: 'static> {
    /// The only value.
    iter,
    /// Cannot be made; it names the type.
    Of(Infallible, PhantomData<T>),
}

// The variant is the value that has the type's name.
#[doc(hidden)]
pub use self::iter::*;

impl<T> IntoIterator for iter<T> {
    type Item = &'static T;
    type IntoIter = Empty<&'static T>;

    fn into_iter(self) -> Self::IntoIter {
        empty()
    }
}

/// For the call.
impl<T> Deref for iter<T> {
    type Target = fn() -> Empty<&'static T>;

    fn deref(&self) -> &Self::Target {
        &(empty as fn() -> Empty<&'static T>)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_registered() {
        struct Plugin;
        crate::collect!(Plugin);
        crate::submit! { Plugin }
        assert!(crate::iter::<Plugin>().next().is_none());
        assert_eq!(crate::iter::<Plugin>.into_iter().count(), 0);
    }
}
