//! Writes a student as a bundle, one tensor in memory at a time.

use std::io::Write;

use attar_bundle::{Encoder, LinearName, NormName, Weights, packing};
use bytemuck::cast_slice;
use serde_json::Value;

use crate::error::Result;
use crate::scheme::{quantise_rows, to_f16};
use crate::student::Student;

/// Writes the bundle to `sink` and returns its length in bytes.
pub(crate) fn write<W: Write>(student: &Student, weights: Weights, quantization: &Value, sink: W) -> Result<u64> {
    let mut out = Out { encoder: Encoder::new(sink, &student.contents(weights, quantization))?, student, weights };
    out.encoder.tensor("tokenizer.bytes", &student.tables.bytes)?;
    out.encoder.tensor("tokenizer.offsets", cast_slice(&student.tables.offsets))?;
    out.encoder.tensor("tokenizer.table", cast_slice(&student.tables.table))?;
    let a = &student.architecture;
    out.rows("embeddings.word", "embeddings.word_embeddings.weight", a.vocabulary)?;
    out.rows("embeddings.position", "embeddings.position_embeddings.weight", a.positions)?;
    let types = student.tensors.read(&student.name("embeddings.token_type_embeddings.weight"))?;
    out.encoder.tensor("embeddings.type", cast_slice(&types))?;
    out.norm(NormName::Embeddings)?;
    for i in 0..a.layers {
        out.linear(LinearName::Qkv(i))?;
        out.linear(LinearName::AttentionOutput(i))?;
        out.norm(NormName::Attention(i))?;
        out.linear(LinearName::FfnUp(i))?;
        out.linear(LinearName::FfnDown(i))?;
        out.norm(NormName::Output(i))?;
    }
    out.linear(LinearName::Pooler)?;
    for (head, copies) in student.heads.iter().zip(&student.head_layers) {
        for (c, layers) in copies.iter().enumerate() {
            for (l, layer) in layers.iter().enumerate() {
                out.encoder.tensor(&format!("head.{}.{c}.{l}.weight", head.name), cast_slice(&layer.weight))?;
                out.encoder.tensor(&format!("head.{}.{c}.{l}.bias", head.name), cast_slice(&layer.bias))?;
            }
        }
    }
    Ok(out.encoder.finish()?.1)
}

struct Out<'s, W> {
    encoder: Encoder<W>,
    student: &'s Student,
    weights: Weights,
}

impl<W: Write> Out<'_, W> {
    fn rows(&mut self, name: &str, source: &str, rows: usize) -> Result<()> {
        let source = self.student.name(source);
        let values = self.student.tensors.read_rows(&source, rows)?;
        match self.weights {
            Weights::Int8 => {
                let rows = quantise_rows(&values, self.student.architecture.hidden);
                self.encoder.tensor(name, cast_slice(&rows.values))?;
                self.encoder.tensor(&format!("{name}.scales"), cast_slice(&rows.scales))?;
            }
            Weights::F16 => self.encoder.tensor(name, cast_slice(&to_f16(&values, &source)?))?,
            Weights::F32 => self.encoder.tensor(name, cast_slice(&values))?,
        }
        Ok(())
    }

    fn norm(&mut self, norm: NormName) -> Result<()> {
        let [weight, bias] = self.student.norm_names(norm);
        let prefix = norm.prefix();
        self.encoder.tensor(&format!("{prefix}.weight"), cast_slice(&self.student.tensors.read(&weight)?))?;
        self.encoder.tensor(&format!("{prefix}.bias"), cast_slice(&self.student.tensors.read(&bias)?))?;
        Ok(())
    }

    fn linear(&mut self, linear: LinearName) -> Result<()> {
        let (n, k) = linear.shape(&self.student.architecture);
        let np = packing::padded_outputs(n);
        let prefix = linear.prefix();
        let names = self.student.linear_names(linear);
        let mut weight = Vec::with_capacity(n * k);
        let mut bias = Vec::with_capacity(np);
        for name in &names {
            weight.extend(self.student.tensors.read(&format!("{name}.weight"))?);
            bias.extend(self.student.tensors.read(&format!("{name}.bias"))?);
        }
        bias.resize(np, 0.0);
        let name = format!("{prefix}.weight");
        match self.weights {
            Weights::Int8 => {
                let mut rows = quantise_rows(&weight, k);
                rows.scales.resize(np, 0.0);
                let sums = packing::channel_sums(&rows.values, n, k);
                self.encoder.tensor(&name, cast_slice(&packing::pack_i8(&rows.values, n, k)))?;
                self.encoder.tensor(&format!("{prefix}.scales"), cast_slice(&rows.scales))?;
                self.encoder.tensor(&format!("{prefix}.sums"), cast_slice(&sums))?;
            }
            Weights::F16 => {
                let halves = to_f16(&weight, &format!("{}.weight", names[0]))?;
                self.encoder.tensor(&name, cast_slice(&packing::pack_float(&halves, n, k)))?;
            }
            Weights::F32 => self.encoder.tensor(&name, cast_slice(&packing::pack_float(&weight, n, k)))?,
        }
        self.encoder.tensor(&format!("{prefix}.bias"), cast_slice(&bias))?;
        Ok(())
    }
}
