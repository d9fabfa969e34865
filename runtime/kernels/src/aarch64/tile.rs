//! What the assembly of the `sdot` and `smmla` tiles has in common: 24 sums in registers, up to three places of activations.

/// A loop of assembly whose body, the `$step`s, comes twice; it runs `$count` times, at least once. Gives the sums, `[[int32x4_t; 4]; 6]`.
///
/// The steps find activations at `{a0}`, `{a1}` and `{a2}`, `$next` bytes apart, and weights at `{w}`, and advance these themselves; the sums
/// are v0 to v23, zero at first; v24 to v31 are theirs. Unsafe: the steps' instructions are there, and what they read can be read.
macro_rules! tile_loop {
    ($a:expr, $next:expr, $w:expr, $count:expr; $($step:expr),+) => {{
        let mut sums = [[vdupq_n_s32(0); 4]; 6];
        let [first, second, third, fourth, fifth, sixth] = &mut sums;
        asm!(
            "2:",
            $($step,)+
            $($step,)+
            "subs {count}, {count}, #1",
            "b.ne 2b",
            "/* {a1} {a2} */",
            a0 = inout(reg) $a => _,
            a1 = inout(reg) $a.wrapping_add($next) => _,
            a2 = inout(reg) $a.wrapping_add(2 * $next) => _,
            w = inout(reg) $w => _,
            count = inout(reg) $count => _,
            inout("v0") first[0], inout("v1") first[1], inout("v2") first[2], inout("v3") first[3],
            inout("v4") second[0], inout("v5") second[1], inout("v6") second[2], inout("v7") second[3],
            inout("v8") third[0], inout("v9") third[1], inout("v10") third[2], inout("v11") third[3],
            inout("v12") fourth[0], inout("v13") fourth[1], inout("v14") fourth[2], inout("v15") fourth[3],
            inout("v16") fifth[0], inout("v17") fifth[1], inout("v18") fifth[2], inout("v19") fifth[3],
            inout("v20") sixth[0], inout("v21") sixth[1], inout("v22") sixth[2], inout("v23") sixth[3],
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(pure, readonly, nostack),
        );
        sums
    }};
}
pub(super) use tile_loop;
