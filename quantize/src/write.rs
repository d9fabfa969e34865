//! Writes a packed student as a bundle.

use std::io::Write;

use attar_bundle::Encoder;
use bytemuck::cast_slice;
use serde_json::Value;

use crate::error::{Result, fail};
use crate::pack::{Packed, Recipe};
use crate::student::Student;

/// Writes the bundle to `sink` and returns its length in bytes.
pub(crate) fn write<W: Write>(
    student: &Student,
    recipe: &Recipe,
    packed: &Packed,
    quantization: &Value,
    sink: W,
) -> Result<u64> {
    let mut encoder = Encoder::new(sink, &student.contents(recipe, quantization))?;
    encoder.tensor("tokenizer.bytes", &student.tables.bytes)?;
    encoder.tensor("tokenizer.offsets", cast_slice(&student.tables.offsets))?;
    encoder.tensor("tokenizer.table", cast_slice(&student.tables.table))?;
    while let Some(name) = encoder.next_tensor().map(|spec| spec.name.clone()).filter(|n| !n.starts_with("head.")) {
        let Some(values) = packed.tensors.get(&name) else {
            fail!(Internal, "nothing was packed for tensor {name:?}");
        };
        encoder.tensor(&name, values.bytes())?;
    }
    for (head, copies) in student.heads.iter().zip(&student.head_layers) {
        for (c, layers) in copies.iter().enumerate() {
            for (l, layer) in layers.iter().enumerate() {
                encoder.tensor(&format!("head.{}.{c}.{l}.weight", head.name), cast_slice(&layer.weight))?;
                encoder.tensor(&format!("head.{}.{c}.{l}.bias", head.name), cast_slice(&layer.bias))?;
            }
        }
    }
    Ok(encoder.finish()?.1)
}
