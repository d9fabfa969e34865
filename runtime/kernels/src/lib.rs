//! int8, f16 and f32 encoder kernels for x86-64 and aarch64, each held against its scalar definition.
