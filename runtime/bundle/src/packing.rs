//! The order in which weights lie in a bundle, so that kernels read them straight from the map.
//!
//! A linear has `n` outputs and `k` inputs; unpacked, its weights are row-major `[n, k]` as in PyTorch.
//! Outputs are padded to [`OUTPUT_PAD`], inputs (int8 only) to [`INPUT_PAD`]; padding is zero.

/// Outputs are padded to a multiple of this: 3 int8 tiles or 1 float tile.
pub const OUTPUT_PAD: usize = 48;
/// Inputs of int8 linears are padded to a multiple of this.
pub const INPUT_PAD: usize = 64;
/// Outputs in an int8 tile.
pub const I8_TILE: usize = 16;
/// Neighbouring inputs of one output in an int8 tile: what `vpdpbusd` and `sdot` take at once.
pub const I8_GROUP: usize = 4;
/// Outputs in an f16 or f32 tile.
pub const F_TILE: usize = 48;

/// Columns of an int4 embedding row that share a scale; a group is stored in half as many bytes.
pub const INT4_GROUP: usize = 32;
/// What is added to a 4-bit integer of -8..=7 to store it in a nibble.
pub const INT4_ZERO: i8 = 8;

/// `n` rounded up to [`OUTPUT_PAD`].
pub fn padded_outputs(n: usize) -> usize {
    n.next_multiple_of(OUTPUT_PAD)
}

/// `k` rounded up to [`INPUT_PAD`].
pub fn padded_inputs(k: usize) -> usize {
    k.next_multiple_of(INPUT_PAD)
}

fn i8_index(output: usize, input: usize, kp: usize) -> usize {
    let tile = (output / I8_TILE) * (kp / I8_GROUP) + input / I8_GROUP;
    (tile * I8_TILE + output % I8_TILE) * I8_GROUP + input % I8_GROUP
}

/// Packs row-major int8 weights `[n, k]` into `[np/16, kp/4, 16, 4]`.
///
/// # Panics
/// If `weights` does not have `n * k` elements.
pub fn pack_i8(weights: &[i8], n: usize, k: usize) -> Vec<i8> {
    assert_eq!(weights.len(), n * k, "weights of a {n} x {k} linear");
    let kp = padded_inputs(k);
    let mut packed = vec![0; padded_outputs(n) * kp];
    for (output, row) in weights.chunks_exact(k.max(1)).enumerate() {
        for (group, four) in row.chunks(I8_GROUP).enumerate() {
            let at = i8_index(output, group * I8_GROUP, kp);
            packed[at..at + four.len()].copy_from_slice(four);
        }
    }
    packed
}

/// The inverse of [`pack_i8`]: row-major `[n, k]`.
///
/// # Panics
/// If `packed` does not have `np * kp` elements.
pub fn unpack_i8(packed: &[i8], n: usize, k: usize) -> Vec<i8> {
    let kp = padded_inputs(k);
    assert_eq!(packed.len(), padded_outputs(n) * kp, "packed weights of a {n} x {k} linear");
    (0..n * k).map(|i| packed[i8_index(i / k, i % k, kp)]).collect()
}

/// Packs row-major f32 or f16 weights `[n, k]` into `[np/48, k, 48]`.
///
/// # Panics
/// If `weights` does not have `n * k` elements.
pub fn pack_float<T: Copy + Default>(weights: &[T], n: usize, k: usize) -> Vec<T> {
    assert_eq!(weights.len(), n * k, "weights of a {n} x {k} linear");
    let mut packed = vec![T::default(); padded_outputs(n) * k];
    for (output, row) in weights.chunks_exact(k.max(1)).enumerate() {
        let tile = &mut packed[(output / F_TILE) * k * F_TILE..];
        for (input, &w) in row.iter().enumerate() {
            tile[input * F_TILE + output % F_TILE] = w;
        }
    }
    packed
}

/// The inverse of [`pack_float`]: row-major `[n, k]`.
///
/// # Panics
/// If `packed` does not have `np * k` elements.
pub fn unpack_float<T: Copy>(packed: &[T], n: usize, k: usize) -> Vec<T> {
    assert_eq!(packed.len(), padded_outputs(n) * k, "packed weights of a {n} x {k} linear");
    (0..n * k).map(|i| packed[(i / k / F_TILE * k + i % k) * F_TILE + i / k % F_TILE]).collect()
}

/// 128 times the sum of every channel's weights, padded to `np`: what `u8 = i8 + 128` activations add to an accumulator.
///
/// # Panics
/// If `weights` does not have `n * k` elements.
pub fn channel_sums(weights: &[i8], n: usize, k: usize) -> Vec<i32> {
    assert_eq!(weights.len(), n * k, "weights of a {n} x {k} linear");
    let mut sums = vec![0; padded_outputs(n)];
    for (sum, row) in sums.iter_mut().zip(weights.chunks_exact(k.max(1))) {
        *sum = 128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
    }
    sums
}

/// Packs rows of 4-bit integers (-8..=7), each of `width` columns, into `[rows, groups, 16]` with `groups` = `width` / 32
/// rounded up. Byte i of a group holds column i in its low nibble and column i + 16 in its high one, each plus 8: two vectors
/// of 16 lanes come out of 16 bytes without a shuffle. Padding columns are zero, stored as 8.
///
/// # Panics
/// If `values` are not whole rows, or one is beyond -8..=7.
pub fn pack_i4(values: &[i8], width: usize) -> Vec<u8> {
    assert!(width > 0 && values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
    let mut packed = Vec::with_capacity(values.len() / width * width.div_ceil(INT4_GROUP) * INT4_GROUP / 2);
    for group in values.chunks_exact(width).flat_map(|row| row.chunks(INT4_GROUP)) {
        let nibble = |i: usize| {
            let q = group.get(i).copied().unwrap_or(0);
            assert!((-8..=7).contains(&q), "{q} is no 4-bit integer");
            (q + INT4_ZERO) as u8
        };
        packed.extend((0..INT4_GROUP / 2).map(|i| nibble(i) | nibble(i + INT4_GROUP / 2) << 4));
    }
    packed
}

/// The inverse of [`pack_i4`].
///
/// # Panics
/// If `packed` are not whole rows.
pub fn unpack_i4(packed: &[u8], width: usize) -> Vec<i8> {
    let groups = width.div_ceil(INT4_GROUP);
    assert!(packed.len().is_multiple_of((groups * INT4_GROUP / 2).max(1)), "{} bytes in rows of {width}", packed.len());
    let mut values = Vec::with_capacity(2 * packed.len());
    for row in packed.chunks_exact((groups * INT4_GROUP / 2).max(1)) {
        for (g, group) in row.chunks_exact(INT4_GROUP / 2).enumerate() {
            let columns = INT4_GROUP.min(width - g * INT4_GROUP);
            let nibble = |i: usize| (group[i % 16] >> (4 * (i / 16)) & 15) as i8 - INT4_ZERO;
            values.extend((0..columns).map(nibble));
        }
    }
    values
}

#[cfg(test)]
#[path = "packing_tests.rs"]
mod tests;
