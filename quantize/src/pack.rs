//! Turns a student's tensors into the bundle's, and says how far each moved.

use std::collections::BTreeMap;

use attar_bundle::{LinearName, Precision, Rows, Weights, packing};
use attar_rounding::{Range, int8};
use bytemuck::cast_slice;
use half::f16;
use serde::{Serialize, Serializer};

use crate::error::Result;
use crate::scheme::{to_f16, to_int4};
use crate::student::Student;

/// What to store how.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) weights: Weights,
    /// How the word embeddings are stored.
    pub(crate) word: Rows,
    /// How the ranges of int8 and int4 are chosen.
    pub(crate) range: Range,
    /// Scales of int8 linears that were chosen with calibration text, by the linears' prefix.
    pub(crate) scales: BTreeMap<String, Vec<f32>>,
    /// Linears of an int8 bundle that stay f16, in file order.
    pub(crate) f16: Vec<LinearName>,
}

impl Recipe {
    pub(crate) fn plain(weights: Weights) -> Recipe {
        Recipe { weights, word: weights.into(), range: Range::MinMax, scales: BTreeMap::new(), f16: Vec::new() }
    }

    pub(crate) fn precision(&self) -> Precision {
        Precision {
            word_embeddings: (self.word != self.weights.into()).then_some(self.word),
            f16_linears: self.f16.iter().map(|name| name.prefix()).collect(),
        }
    }

    /// How a linear is stored.
    pub(crate) fn linear(&self, name: LinearName) -> Weights {
        if self.f16.contains(&name) { Weights::F16 } else { self.weights }
    }
}

/// How far a tensor moved when it was rounded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorError {
    /// The bundle's tensor.
    pub tensor: String,
    /// `"int8"`, `"int4"` or `"f16"`.
    pub kind: &'static str,
    /// Root mean square of the weights' errors, divided by that of the weights.
    #[serde(serialize_with = "six_digits")]
    pub relative_rms: f64,
    /// Largest error of a weight.
    #[serde(serialize_with = "six_digits")]
    pub max: f64,
}

/// Six significant digits: more would be noise in a header, and a parser that is a bit off would not give them back.
pub(crate) fn six_digits<S: Serializer>(x: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(format!("{x:.5e}").parse().unwrap_or(*x))
}

impl TensorError {
    fn of(tensor: &str, kind: &'static str, before: &[f32], after: impl Iterator<Item = f32>) -> TensorError {
        let (mut error, mut size, mut max) = (0f64, 0f64, 0f64);
        for (&w, r) in before.iter().zip(after) {
            let difference = f64::from(w - r).abs();
            error += difference * difference;
            size += f64::from(w) * f64::from(w);
            max = max.max(difference);
        }
        let relative_rms = if size > 0.0 { (error / size).sqrt() } else { 0.0 };
        TensorError { tensor: tensor.into(), kind, relative_rms, max }
    }
}

/// A tensor's elements.
#[derive(Debug)]
pub(crate) enum Values {
    U8(Vec<u8>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Values {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Values::U8(values) => values,
            Values::I8(values) => cast_slice(values),
            Values::I32(values) => cast_slice(values),
            Values::F16(values) => cast_slice(values),
            Values::F32(values) => cast_slice(values),
        }
    }
}

/// The tensors of embeddings, norms and linears by name, as a bundle has them.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) tensors: BTreeMap<String, Values>,
    /// One for each tensor that was rounded, in file order.
    pub(crate) errors: Vec<TensorError>,
}

impl Packed {
    /// # Errors
    /// [`crate::ErrorKind::Overflow`] where a weight does not fit, and as [`Student::linear`].
    pub(crate) fn new(student: &Student, recipe: &Recipe) -> Result<Packed> {
        let mut packed = Packed::default();
        let a = &student.architecture;
        packed.rows(
            "embeddings.word",
            &student.word_name(),
            student.word_rows()?,
            a.hidden,
            recipe.word,
            recipe.range,
        )?;
        let position = student.name("embeddings.position_embeddings.weight");
        packed.rows(
            "embeddings.position",
            &position,
            student.position_rows()?,
            a.hidden,
            recipe.weights.into(),
            recipe.range,
        )?;
        packed.put("embeddings.type", Values::F32(student.type_rows()?));
        for norm in student.norms() {
            let [weight, bias] = student.norm(norm)?;
            packed.put(&format!("{}.weight", norm.prefix()), Values::F32(weight));
            packed.put(&format!("{}.bias", norm.prefix()), Values::F32(bias));
        }
        for name in LinearName::all(a) {
            packed.linear(student, recipe, name)?;
        }
        Ok(packed)
    }

    fn put(&mut self, name: &str, values: Values) {
        self.tensors.insert(name.into(), values);
    }

    pub(crate) fn rows(
        &mut self,
        name: &str,
        source: &str,
        values: Vec<f32>,
        width: usize,
        kind: Rows,
        range: Range,
    ) -> Result<()> {
        let scales = format!("{name}.scales");
        match kind {
            Rows::Int4 => {
                let rows = to_int4(&values, width, range, source)?;
                self.errors.push(TensorError::of(name, "int4", &values, rows.dequantise(width).into_iter()));
                self.put(name, Values::U8(packing::pack_i4(&rows.values, width)));
                self.put(&scales, Values::F16(rows.scales));
            }
            Rows::Int8 => {
                let rows = int8::quantise_rows(&values, width, range);
                self.errors.push(TensorError::of(name, "int8", &values, rows.dequantise(width).into_iter()));
                self.put(name, Values::I8(rows.values));
                self.put(&scales, Values::F32(rows.scales));
            }
            Rows::F16 => {
                let halves = to_f16(&values, source)?;
                self.errors.push(TensorError::of(name, "f16", &values, halves.iter().map(|h| h.to_f32())));
                self.put(name, Values::F16(halves));
            }
            Rows::F32 => self.put(name, Values::F32(values)),
        }
        Ok(())
    }

    fn linear(&mut self, student: &Student, recipe: &Recipe, name: LinearName) -> Result<()> {
        let linear = student.linear(name)?;
        let (n, k) = (linear.outputs, linear.inputs);
        let np = packing::padded_outputs(n);
        let prefix = name.prefix();
        let weight = format!("{prefix}.weight");
        match recipe.linear(name) {
            Weights::Int8 => {
                let mut rows = match recipe.scales.get(&prefix) {
                    Some(scales) => int8::quantise_rows_by(&linear.weight, k, scales.clone()),
                    None => int8::quantise_rows(&linear.weight, k, recipe.range),
                };
                self.errors.push(TensorError::of(&weight, "int8", &linear.weight, rows.dequantise(k).into_iter()));
                rows.scales.resize(np, 0.0);
                self.put(&format!("{prefix}.sums"), Values::I32(packing::channel_sums(&rows.values, n, k)));
                self.put(&weight, Values::I8(packing::pack_i8(&rows.values, n, k)));
                self.put(&format!("{prefix}.scales"), Values::F32(rows.scales));
            }
            Weights::F16 => {
                let halves = to_f16(&linear.weight, &format!("{}.weight", student.linear_names(name)[0]))?;
                self.errors.push(TensorError::of(&weight, "f16", &linear.weight, halves.iter().map(|h| h.to_f32())));
                self.put(&weight, Values::F16(packing::pack_float(&halves, n, k)));
            }
            Weights::F32 => self.put(&weight, Values::F32(packing::pack_float(&linear.weight, n, k))),
        }
        let mut bias = linear.bias;
        bias.resize(np, 0.0);
        self.put(&format!("{prefix}.bias"), Values::F32(bias));
        Ok(())
    }
}
