//! The tile registers of one thread, and what the instructions do with them.

/// Rows of a register, and bytes of a row, of palette 1.
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;
const TILES: usize = 8;

/// What the CPU would raise an exception for, and a first row that is not 0, which the emulator does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    UnknownPalette = 1,
    ReservedBytes,
    FirstRow,
    TileSize,
    NotConfigured,
    SameRegister,
    SizesDoNotFit,
}

impl Fault {
    pub(crate) fn of(code: u8) -> Option<Self> {
        use Fault::*;
        [UnknownPalette, ReservedBytes, FirstRow, TileSize, NotConfigured, SameRegister, SizesDoNotFit]
            .into_iter()
            .find(|&fault| fault as u8 == code)
    }
}

#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    row_bytes: usize,
    data: [[u8; ROW_BYTES]; ROWS],
}

/// A thread's tile registers; a register of 0 rows is not configured.
#[derive(Clone, Copy)]
pub(crate) struct State {
    tiles: [Tile; TILES],
}

impl State {
    /// As a thread begins, and after `tilerelease`.
    pub(crate) const NEW: Self = Self { tiles: [Tile { rows: 0, row_bytes: 0, data: [[0; ROW_BYTES]; ROWS] }; TILES] };

    pub(crate) fn configured(&self) -> bool {
        self.tiles.iter().any(|tile| tile.rows > 0)
    }

    /// `ldtilecfg`: all registers become zero. A faulty configuration changes nothing.
    pub(crate) fn load_config(&mut self, bytes: &[u8; 64]) -> Result<(), Fault> {
        match bytes[0] {
            0 => {
                *self = Self::NEW;
                return Ok(());
            }
            1 => (),
            _ => return Err(Fault::UnknownPalette),
        }
        if bytes[1] != 0 {
            return Err(Fault::FirstRow);
        }
        // 2 to 15, and the sizes of registers 8 to 15, which palette 1 has not.
        if [2..16, 32..48, 56..64].into_iter().any(|range| bytes[range].iter().any(|&b| b != 0)) {
            return Err(Fault::ReservedBytes);
        }
        let mut new = Self::NEW;
        for (i, tile) in new.tiles.iter_mut().enumerate() {
            tile.row_bytes = usize::from(u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]));
            tile.rows = usize::from(bytes[48 + i]);
            if tile.row_bytes > ROW_BYTES || tile.rows > ROWS || (tile.rows == 0) != (tile.row_bytes == 0) {
                return Err(Fault::TileSize);
            }
        }
        *self = new;
        Ok(())
    }

    fn tile(&mut self, number: usize) -> Result<&mut Tile, Fault> {
        Some(&mut self.tiles[number]).filter(|tile| tile.rows > 0).ok_or(Fault::NotConfigured)
    }

    /// `tilezero`.
    pub(crate) fn zero(&mut self, number: usize) -> Result<(), Fault> {
        self.tile(number)?.data = [[0; ROW_BYTES]; ROWS];
        Ok(())
    }

    /// `tileloadd`: the configured rows, and zeros beyond.
    ///
    /// # Safety
    /// The register's rows can be read, `stride` bytes from one to the next.
    pub(crate) unsafe fn load(&mut self, number: usize, from: *const u8, stride: isize) -> Result<(), Fault> {
        let tile = self.tile(number)?;
        tile.data = [[0; ROW_BYTES]; ROWS];
        for r in 0..tile.rows {
            // SAFETY: the caller's contract; a row of the register has at least as many bytes.
            unsafe { from.offset(r as isize * stride).copy_to(tile.data[r].as_mut_ptr(), tile.row_bytes) };
        }
        Ok(())
    }

    /// `tilestored`.
    ///
    /// # Safety
    /// The register's rows can be written, `stride` bytes from one to the next.
    pub(crate) unsafe fn store(&mut self, number: usize, to: *mut u8, stride: isize) -> Result<(), Fault> {
        let tile = self.tile(number)?;
        for r in 0..tile.rows {
            // SAFETY: the caller's contract.
            unsafe { to.offset(r as isize * stride).copy_from(tile.data[r].as_ptr(), tile.row_bytes) };
        }
        Ok(())
    }

    /// `tdpbusd`: `c[m][n] += sum over k < K, i < 4 of a[m][4 k + i] (u8) * b[k][4 n + i] (i8)`, in wrapping i32. With
    /// `saturates`, wrongly so: pairs of products are cut to 16 bits.
    pub(crate) fn multiply(&mut self, c: usize, a: usize, b: usize, saturates: bool) -> Result<(), Fault> {
        if c == a || c == b || a == b {
            return Err(Fault::SameRegister);
        }
        let (left, right) = (*self.tile(a)?, *self.tile(b)?);
        let sums = self.tile(c)?;
        if sums.rows != left.rows
            || sums.row_bytes != right.row_bytes
            || left.row_bytes != 4 * right.rows
            || !sums.row_bytes.is_multiple_of(4)
        {
            return Err(Fault::SizesDoNotFit);
        }
        // All 16 columns: those beyond the configured ones are zeros in the right operand and stay so in the sums.
        for (left, sums) in left.data.iter().zip(&mut sums.data[..sums.rows]) {
            let (sums, _) = sums.as_chunks_mut::<4>();
            let mut row: [i32; 16] = std::array::from_fn(|n| i32::from_le_bytes(sums[n]));
            for (left, right) in left.as_chunks::<4>().0.iter().zip(&right.data[..right.rows]) {
                for n in 0..16 {
                    let product = |i: usize| i32::from(left[i]) * i32::from(right[4 * n + i] as i8);
                    let pairs = [product(0) + product(1), product(2) + product(3)];
                    let cut = |pair: i32| pair.clamp(i16::MIN.into(), i16::MAX.into());
                    let sum = if saturates { cut(pairs[0]) + cut(pairs[1]) } else { pairs[0] + pairs[1] };
                    row[n] = row[n].wrapping_add(sum);
                }
            }
            for (to, sum) in sums.iter_mut().zip(row) {
                *to = sum.to_le_bytes();
            }
        }
        // Rows beyond the configured ones become zero.
        sums.data[sums.rows..].fill([0; ROW_BYTES]);
        Ok(())
    }
}
