//! Counter-based random numbers: a pure function of a key and an index, so that nothing needs to be stored and the order
//! of evaluation does not matter.

/// Finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits with full avalanche.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A key made of two.
pub(crate) fn combine(a: u64, b: u64) -> u64 {
    mix(a.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(b.wrapping_add(0x632b_e59b_d9b4_e019)))
}

/// A key made of a text (FNV-1a, then mixed).
pub(crate) fn key_of(text: &str) -> u64 {
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)))
}

/// `count` draws from a normal distribution truncated at two standard deviations, as BERT initialises its weights.
pub(crate) fn truncated_normal(key: u64, count: usize, std: f32) -> Vec<f32> {
    let mut counter = 0u64;
    let mut unit = move || {
        counter += 1;
        (combine(key, counter) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        // Box-Muller; 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - unit()).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit();
        for z in [radius * angle.cos(), radius * angle.sin()] {
            if z.abs() <= 2.0 && out.len() < count {
                out.push(z as f32 * std);
            }
        }
    }
    out
}
