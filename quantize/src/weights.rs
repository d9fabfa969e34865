//! A student's tensors as numbers: linears stacked, migrated scales and pruned rows applied.

use attar_bundle::{LinearName, NormName};

use crate::error::Result;
use crate::student::Student;

/// A linear in f32: weight `[n, k]` row-major, bias `[n]`.
#[derive(Debug, Clone)]
pub(crate) struct FloatLinear {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl Student {
    /// A linear's weight and bias; of query, key and value one below the other.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] for a weight that is no finite number, naming the tensor.
    pub(crate) fn linear(&self, name: LinearName) -> Result<FloatLinear> {
        let (outputs, inputs) = name.shape(&self.architecture);
        let mut weight = Vec::with_capacity(outputs * inputs);
        let mut bias = Vec::with_capacity(outputs);
        for source in &self.linear_names(name) {
            weight.extend(self.tensors.read(&format!("{source}.weight"))?);
            bias.extend(self.tensors.read(&format!("{source}.bias"))?);
        }
        let hidden = self.architecture.hidden;
        match name {
            LinearName::Qkv(i) => {
                if let Some(scales) = &self.migrated[i] {
                    // The values' rows alone: attention mixes tokens, not channels.
                    let values = weight[2 * hidden * inputs..].chunks_exact_mut(inputs);
                    for ((row, bias), scale) in values.zip(&mut bias[2 * hidden..]).zip(scales) {
                        row.iter_mut().for_each(|w| *w /= scale);
                        *bias /= scale;
                    }
                }
            }
            LinearName::AttentionOutput(i) => {
                if let Some(scales) = &self.migrated[i] {
                    for row in weight.chunks_exact_mut(inputs) {
                        row.iter_mut().zip(scales).for_each(|(w, scale)| *w *= scale);
                    }
                }
            }
            _ => {}
        }
        Ok(FloatLinear { weight, bias, outputs, inputs })
    }

    /// A norm's weight and bias.
    ///
    /// # Errors
    /// As [`Student::linear`].
    pub(crate) fn norm(&self, name: NormName) -> Result<[Vec<f32>; 2]> {
        let [weight, bias] = self.norm_names(name);
        Ok([self.tensors.read(&weight)?, self.tensors.read(&bias)?])
    }

    /// Name of the word embeddings in the source.
    pub(crate) fn word_name(&self) -> String {
        self.name("embeddings.word_embeddings.weight")
    }

    /// The word embeddings of the tokens that are kept, `[V, H]`.
    ///
    /// # Errors
    /// As [`Student::linear`].
    pub(crate) fn word_rows(&self) -> Result<Vec<f32>> {
        let hidden = self.architecture.hidden;
        let Some(kept) = &self.kept else {
            return self.tensors.read_rows(&self.word_name(), self.architecture.vocabulary);
        };
        let last = kept.last().map_or(0, |&id| id as usize + 1);
        let mut rows = self.tensors.read_rows(&self.word_name(), last)?;
        // `kept` rises, so every row moves down or stays.
        for (to, &from) in kept.iter().enumerate() {
            let from = from as usize * hidden;
            rows.copy_within(from..from + hidden, to * hidden);
        }
        rows.truncate(kept.len() * hidden);
        Ok(rows)
    }

    /// The position embeddings.
    ///
    /// # Errors
    /// As [`Student::linear`].
    pub(crate) fn position_rows(&self) -> Result<Vec<f32>> {
        self.tensors.read(&self.name("embeddings.position_embeddings.weight"))
    }

    /// The type embeddings.
    ///
    /// # Errors
    /// As [`Student::linear`].
    pub(crate) fn type_rows(&self) -> Result<Vec<f32>> {
        self.tensors.read(&self.name("embeddings.token_type_embeddings.weight"))
    }
}
