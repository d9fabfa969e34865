//! Whether this CPU has AMX for int8, and whether this process may use it.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// AMX-TILE and AMX-INT8 (leaf 7, EDX bits 24 and 25), the tile registers that we know (palette 1: 8 of 16 rows x 64 bytes; leaf
/// 1DH), and a system that saves them (XCR0 bits 17 and 18).
///
/// Asked only on a CPU that was found to have AVX-512, of which the system's saving is a part: so `xgetbv` exists.
pub(super) fn has_amx_int8() -> bool {
    if __cpuid(0).eax < 0x1d {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    if features >> 24 & 0b11 != 0b11 || __cpuid_count(0x1d, 0).eax < 1 {
        return false;
    }
    let palette = __cpuid_count(0x1d, 1);
    let (row_bytes, registers, rows) = (palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff);
    if (row_bytes, rows) != (64, 16) || registers < 8 {
        return false;
    }
    // SAFETY: leaf 1's bit OSXSAVE says that the system has enabled the instruction.
    __cpuid(1).ecx >> 27 & 1 == 1 && unsafe { saved_registers() } >> 17 & 0b11 == 0b11
}

/// XCR0: what the system saves of a thread.
///
/// # Safety
/// The system has enabled `xgetbv` (CPUID leaf 1, ECX bit 27).
#[target_feature(enable = "xsave")]
unsafe fn saved_registers() -> u64 {
    // SAFETY: the caller's contract.
    unsafe { _xgetbv(0) }
}

/// Asks Linux (5.16 and later) for the permission, which holds for all threads of the process and cannot be given back. It makes
/// their signal frames 8 KB larger; the kernel refuses it where a thread has an alternate signal stack too small for that.
#[cfg(target_os = "linux")]
pub(super) fn permits_amx() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: this system call reads and writes no memory of ours, and with this code only widens what the process may use;
    // `syscall` changes rcx, r11 and the result.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems have other ways, which nobody has tried here.
#[cfg(not(target_os = "linux"))]
pub(super) fn permits_amx() -> bool {
    false
}
