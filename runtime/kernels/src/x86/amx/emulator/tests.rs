use std::arch::asm;

use super::*;

/// A configuration of palette 1 in bytes: (row bytes, rows) of the first registers.
fn config(tiles: &[(u16, u8)]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (i, &(row_bytes, rows)) in tiles.iter().enumerate() {
        bytes[16 + 2 * i..18 + 2 * i].copy_from_slice(&row_bytes.to_le_bytes());
        bytes[48 + i] = rows;
    }
    bytes
}

#[test]
fn configurations_that_are_none_are_faults() {
    let good = config(&[(64, 16), (4, 1)]);
    let changed = |changes: &[(usize, u8)]| {
        let mut bytes = good;
        changes.iter().for_each(|&(at, value)| bytes[at] = value);
        let mut state = State::NEW;
        let result = state.load_config(&bytes);
        assert_eq!(state.configured(), result.is_ok() && bytes[0] != 0);
        result
    };
    assert_eq!(changed(&[]), Ok(()));
    assert_eq!(changed(&[(0, 0)]), Ok(()));
    assert_eq!(changed(&[(0, 2)]), Err(Fault::UnknownPalette));
    assert_eq!(changed(&[(1, 1)]), Err(Fault::FirstRow));
    for reserved in [2, 15, 32, 47, 56, 63] {
        assert_eq!(changed(&[(reserved, 1)]), Err(Fault::ReservedBytes));
    }
    assert_eq!(changed(&[(48, 17)]), Err(Fault::TileSize));
    assert_eq!(changed(&[(16, 68)]), Err(Fault::TileSize));
    assert_eq!(changed(&[(17, 1)]), Err(Fault::TileSize));
    assert_eq!(changed(&[(48, 0)]), Err(Fault::TileSize));
    assert_eq!(changed(&[(16, 0)]), Err(Fault::TileSize));
}

#[test]
fn registers_whose_sizes_do_not_fit_are_faults() {
    let mut state = State::NEW;
    assert_eq!(state.zero(0), Err(Fault::NotConfigured));
    // 2 x 3 sums, 2 x 8 on the left, 2 lines of 3 x 4 on the right; then one of other rows, columns and depth, and none.
    state.load_config(&config(&[(12, 2), (8, 2), (12, 2), (12, 3), (16, 2), (12, 1)])).expect("valid");
    assert_eq!(state.multiply(0, 1, 2, false), Ok(()));
    assert_eq!(state.multiply(3, 1, 2, false), Err(Fault::SizesDoNotFit));
    assert_eq!(state.multiply(4, 1, 2, false), Err(Fault::SizesDoNotFit));
    assert_eq!(state.multiply(0, 1, 5, false), Err(Fault::SizesDoNotFit));
    assert_eq!(state.multiply(0, 1, 6, false), Err(Fault::NotConfigured));
    assert_eq!(state.multiply(0, 0, 2, false), Err(Fault::SameRegister));
    assert_eq!(state.multiply(0, 2, 2, false), Err(Fault::SameRegister));
}

#[test]
fn a_product_worked_out_by_hand_is_right_and_reads_and_writes_the_configured_rows_only() {
    let mut state = State::NEW;
    state.load_config(&config(&[(8, 2), (8, 2), (8, 2)])).expect("valid");
    // Rows of 8 used bytes, 10 apart.
    let left = [255, 1, 0, 2, 3, 0, 0, 1, 99, 99, 0, 0, 0, 0, 10, 20, 30, 40, 99, 99_u8];
    let right = [-128, 127, 5, -1, 1, 2, 3, 4, 99, 99, 1, 1, 1, 1, -1, 0, 1, -2, 99, 99_i8];
    let mut sums = [7_i32; 6];
    // SAFETY: two rows of 8 bytes each, 10 and 12 bytes apart.
    unsafe {
        state.load(1, left.as_ptr(), 10).expect("configured");
        state.load(2, right.as_ptr().cast(), 10).expect("configured");
        state.multiply(0, 1, 2, false).expect("sizes fit");
        state.store(0, sums.as_mut_ptr().cast(), 12).expect("configured");
    }
    // -255 * 128 + 127 - 2 + (3 + 1), 255 + 2 + 8 + (-3 - 2); 0 + 100, 0 + (-10 + 30 - 80).
    assert_eq!(sums, [-32_511, 260, 7, 100, -60, 7]);
    // Once more onto the same sums, then wrongly: 255 * -128 + 127 = -32513 is not cut, 255 * 127 + ... would be.
    state.multiply(0, 1, 2, false).expect("sizes fit");
    // SAFETY: as above.
    unsafe { state.store(0, sums.as_mut_ptr().cast(), 12).expect("configured") };
    assert_eq!(sums, [-65_022, 520, 7, 200, -120, 7]);
    state.zero(0).expect("configured");
    let (left, right) = ([255_u8; 20], [127_i8; 20]);
    // SAFETY: as above.
    unsafe {
        state.load(1, left.as_ptr(), 10).expect("configured");
        state.load(2, right.as_ptr().cast(), 10).expect("configured");
        state.multiply(0, 1, 2, true).expect("sizes fit");
        state.store(0, sums.as_mut_ptr().cast(), 12).expect("configured");
    }
    assert_eq!(sums[0], 4 * 32_767);
}

/// Encodings as LLVM's assembler gives them (`llvm/test/MC/X86/AMX`), and neighbours that are not of the six.
#[test]
fn the_six_instructions_are_decoded_and_no_others() {
    let decode = |bytes: &[u8]| Instruction::decode(|count| &bytes[..count.min(bytes.len())]);
    let at = |base, index, displacement| Place { base: Some(base), index, displacement, relative: false };
    for (bytes, expected) in [
        (&[0xc4, 0xe2, 0x78, 0x49, 0x07][..], Instruction::LoadConfig(at(7, None, 0))),
        (&[0xc4, 0xc2, 0x78, 0x49, 0x47, 0x10], Instruction::LoadConfig(at(15, None, 16))),
        (
            &[0xc4, 0xe2, 0x78, 0x49, 0x05, 1, 2, 0, 0],
            Instruction::LoadConfig(Place { base: None, index: None, displacement: 513, relative: true }),
        ),
        (&[0xc4, 0xe2, 0x78, 0x49, 0xc0], Instruction::Release),
        (&[0xc4, 0xe2, 0x7b, 0x49, 0xf0], Instruction::Zero(6)),
        (&[0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x27], Instruction::Load(1, at(7, None, 0))),
        (&[0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x11], Instruction::Load(1, at(1, Some((2, 0)), 0))),
        (&[0xc4, 0x82, 0x7b, 0x4b, 0x6c, 0x5e, 0xc0], Instruction::Load(5, at(14, Some((11, 1)), -64))),
        (&[0xc4, 0xe2, 0x7a, 0x4b, 0x94, 0x10, 0, 1, 0, 0], Instruction::Store(2, at(0, Some((2, 0)), 256))),
        (&[0xc4, 0xe2, 0x71, 0x5e, 0xe2], Instruction::Multiply(4, 2, 1)),
    ] {
        assert_eq!(decode(bytes), Some((expected, bytes.len())), "{bytes:02x?}");
    }
    for bytes in [
        // ud2, sttilecfg, tileloaddt1, tdpbssd, tdpbuud, and tdpbusd with W 1, 256 bits, and of another map.
        &[0x0f, 0x0b][..],
        &[0xc4, 0xe2, 0x79, 0x49, 0x06],
        &[0xc4, 0xe2, 0x79, 0x4b, 0x0c, 0x11],
        &[0xc4, 0xe2, 0x73, 0x5e, 0xe2],
        &[0xc4, 0xe2, 0x70, 0x5e, 0xe2],
        &[0xc4, 0xe2, 0xf1, 0x5e, 0xe2],
        &[0xc4, 0xe2, 0x75, 0x5e, 0xe2],
        &[0xc4, 0xe1, 0x71, 0x5e, 0xe2],
    ] {
        assert_eq!(decode(bytes), None, "{bytes:02x?}");
    }
}

#[test]
fn a_faulty_instruction_of_a_program_is_noted() {
    let mut bytes = config(&[(64, 16)]);
    bytes[0] = 2;
    if super::super::supported() {
        println!("skipped: this CPU has AMX and would raise the exception");
        return;
    }
    let run = run(false, || {
        // SAFETY: the emulator is installed and reads the 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &bytes, options(nostack, readonly)) };
        configured()
    });
    assert_eq!((run.result, run.instructions, run.fault), (false, 1, Some(Fault::UnknownPalette)));
    let run = self::run(false, || {
        // SAFETY: the emulator is installed.
        unsafe { asm!("tdpbusd tmm0, tmm1, tmm2", options(nostack, nomem)) };
    });
    assert_eq!(run.fault, Some(Fault::NotConfigured));
}
