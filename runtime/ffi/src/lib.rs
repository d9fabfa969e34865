//! The C ABI of Attar, with Kotlin and Swift on top.
