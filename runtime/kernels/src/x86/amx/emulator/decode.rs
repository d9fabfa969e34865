//! The bytes of the six instructions: a VEX prefix of three bytes, the opcode, ModRM, and where there is an address SIB and
//! displacement.

/// An address as an instruction gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// A general register's number; none is an address relative to the next instruction, or an absolute one.
    pub base: Option<usize>,
    /// A general register's number and by how much it is shifted: the stride between rows, or a part of the address.
    pub index: Option<(usize, u32)>,
    pub displacement: i32,
    /// Whether the displacement is relative to the next instruction.
    pub relative: bool,
}

impl Place {
    /// The address without the index, and the index: the stride of a tile's rows.
    pub(crate) fn address(self, register: impl Fn(usize) -> u64, next: u64) -> (u64, u64) {
        let base = match self.base {
            Some(number) => register(number),
            None => next * u64::from(self.relative),
        };
        let index = self.index.map_or(0, |(number, shift)| register(number) << shift);
        (base.wrapping_add_signed(i64::from(self.displacement)), index)
    }
}

/// One of the six instructions, with the numbers of its tile registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    LoadConfig(Place),
    Release,
    Zero(usize),
    Load(usize, Place),
    Store(usize, Place),
    /// Sums, left (unsigned) and right (signed) operand.
    Multiply(usize, usize, usize),
}

impl Instruction {
    /// The instruction and its length; none if it is not one of the six. `bytes` gives the first so many bytes, and is asked
    /// for no more than the instruction has.
    pub(crate) fn decode<'a>(bytes: impl Fn(usize) -> &'a [u8]) -> Option<(Self, usize)> {
        if bytes(1) != [0xc4] {
            return None;
        }
        let &[_, p1, p2, opcode, modrm] = bytes(5) else { return None };
        // Map 0F38, W 0, 128 bits.
        if p1 & 0x1f != 2 || p2 & 0x84 != 0 {
            return None;
        }
        // Stored inverted.
        let (x, b) = (usize::from(!p1 >> 6 & 1), usize::from(!p1 >> 5 & 1));
        let third = usize::from(!p2 >> 3 & 15);
        // None, 66, F3, F2.
        let prefix = p2 & 3;
        let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
        match (prefix, opcode, mode) {
            (0, 0x49, 3) if (reg, rm) == (0, 0) => Some((Self::Release, 5)),
            (3, 0x49, 3) if rm == 0 => Some((Self::Zero(reg), 5)),
            (1, 0x5e, 3) if third < 8 => Some((Self::Multiply(reg, rm, third), 5)),
            (_, _, 3) => None,
            (0, 0x49, _) if reg == 0 => {
                let (place, length) = place(&bytes, mode, rm, x, b)?;
                // Here an index is part of the address; the kernel has none.
                (place.index.is_none()).then_some((Self::LoadConfig(place), length))
            }
            // Rows need an SIB byte.
            (3, 0x4b, _) if rm == 4 => place(&bytes, mode, rm, x, b).map(|(at, length)| (Self::Load(reg, at), length)),
            (2, 0x4b, _) if rm == 4 => place(&bytes, mode, rm, x, b).map(|(at, length)| (Self::Store(reg, at), length)),
            _ => None,
        }
    }
}

/// The address after ModRM, and the instruction's length.
fn place<'a>(bytes: impl Fn(usize) -> &'a [u8], mode: u8, rm: usize, x: usize, b: usize) -> Option<(Place, usize)> {
    let mut length = 5;
    let mut at = Place { base: Some(rm | b << 3), index: None, displacement: 0, relative: false };
    if rm == 4 {
        length = 6;
        let sib = *bytes(length).last()?;
        let (index, base) = (usize::from(sib >> 3 & 7) | x << 3, usize::from(sib & 7));
        at.index = (index != 4).then_some((index, u32::from(sib >> 6)));
        at.base = (mode != 0 || base != 5).then_some(base | b << 3);
    } else if mode == 0 && rm == 5 {
        (at.base, at.relative) = (None, true);
    }
    match mode {
        1 => {
            length += 1;
            at.displacement = i32::from(*bytes(length).last()? as i8);
        }
        2 => length += 4,
        _ if at.base.is_none() => length += 4,
        _ => return Some((at, length)),
    }
    if mode != 1 {
        at.displacement = i32::from_le_bytes(*bytes(length).last_chunk()?);
    }
    Some((at, length))
}
