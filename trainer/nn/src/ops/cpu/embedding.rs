//! The sum of word, position and type embeddings, with a gradient of only the rows that were used.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Buffer, elements, simd, with_elements};
use crate::gradients::{deposit, deposit_rows};

/// `word[id] + position[first + i] + types[type]`.
pub(crate) struct Embeddings {
    pub(crate) ids: Vec<u32>,
    /// The type table, and the type of each token.
    pub(crate) types: Option<(Tensor, Vec<u32>)>,
    pub(crate) word: Tensor,
    pub(crate) position: Tensor,
    /// The row of the position table that a sequence's first token uses.
    pub(crate) first_position: usize,
    pub(crate) seq: usize,
}

impl Embeddings {
    fn check(ids: &[u32], table: &Tensor, what: &str) -> Result<()> {
        let rows = table.dim(0)?;
        match ids.iter().find(|&&id| id as usize >= rows) {
            Some(id) => candle_core::bail!(
                "{what} {id} is beyond its table of {rows} rows; does the tokenizer belong to this encoder?"
            ),
            None => Ok(()),
        }
    }

    /// Adds up the rows of `gradient` that share an id. Ids come out sorted, so that the order of the sums is fixed.
    fn gather_rows(ids: &[u32], gradient: &[f32], width: usize) -> (Vec<u32>, Buffer) {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|&t| (ids[t as usize], t));
        let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| ids[a as usize] == ids[b as usize]).collect();
        let mut rows = Buffer::zeros(groups.len() * width);
        rows.par_chunks_mut(width).zip(&groups).for_each(|(row, tokens)| {
            for &t in *tokens {
                simd::add_assign(row, &gradient[t as usize * width..][..width]);
            }
        });
        (groups.iter().map(|g| ids[g[0] as usize]).collect(), rows)
    }
}

impl CustomOp2 for Embeddings {
    fn name(&self) -> &'static str {
        "embeddings"
    }

    fn cpu_fwd(
        &self,
        word: &CpuStorage,
        wl: &Layout,
        position: &CpuStorage,
        pl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = wl.dims()[1];
        Self::check(&self.ids, &self.word, "token id")?;
        if self.first_position + self.seq > pl.dims()[0] {
            candle_core::bail!("{} tokens are more than the position table holds", self.seq);
        }
        let (word, position) = (elements(word, wl)?, elements(position, pl)?);
        let mut out = Buffer::stale(self.ids.len() * width);
        out.par_chunks_mut(width).enumerate().for_each(|(t, row)| {
            row.copy_from_slice(&word[self.ids[t] as usize * width..][..width]);
            simd::add_assign(row, &position[(self.first_position + t % self.seq) * width..][..width]);
        });
        if let Some((table, types)) = &self.types {
            Self::check(types, table, "token type")?;
            with_elements(table, |table| {
                out.par_chunks_mut(width).zip(types).for_each(|(row, &kind)| {
                    simd::add_assign(row, &table[kind as usize * width..][..width]);
                });
                Ok(())
            })?;
        }
        Ok((CpuStorage::F32(out.into_vec()), (self.ids.len() / self.seq, self.seq, width).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = self.word.dim(1)?;
        with_elements(gradient, |g| {
            if self.word.is_variable() {
                let (ids, rows) = Self::gather_rows(&self.ids, g, width);
                deposit_rows(&self.word, ids, rows)?;
            }
            if self.position.is_variable() {
                let mut d = Buffer::zeros(self.position.elem_count());
                d[self.first_position * width..].par_chunks_mut(width).take(self.seq).enumerate().for_each(
                    |(i, row)| g.chunks_exact(width).skip(i).step_by(self.seq).for_each(|g| simd::add_assign(row, g)),
                );
                deposit(&self.position, d)?;
            }
            if let Some((table, types)) = self.types.as_ref().filter(|(table, _)| table.is_variable()) {
                let (ids, rows) = Self::gather_rows(types, g, width);
                let mut d = Buffer::zeros(table.elem_count());
                for (id, row) in ids.iter().zip(rows.chunks_exact(width)) {
                    d[*id as usize * width..][..width].copy_from_slice(row);
                }
                deposit(table, d)?;
            }
            Ok(())
        })?;
        Ok((None, None))
    }
}
