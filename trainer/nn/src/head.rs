//! Classification heads over the pooled vector.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::ops::{self, DropoutKeys};
use crate::parameters::{Parameter, Parameters, Source, Start};
use crate::{Error, Result};

/// What a head classifies, and its shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// The name by which it is chosen.
    pub name: String,
    /// Its classes, in the order of the logits.
    pub labels: Vec<String>,
    /// The number of copies: one per teacher in m-o-1 training; their outputs are averaged at inference.
    pub copies: usize,
    /// The number of fully connected layers of each copy, with tanh between them.
    pub layers: usize,
    /// What logits are divided by before the soft-max, so that a probability means what it says.
    pub temperature: f64,
}

impl HeadSpec {
    /// One copy of one layer at temperature 1.
    pub fn new(name: &str, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            labels: labels.iter().map(|&l| l.to_owned()).collect(),
            copies: 1,
            layers: 1,
            temperature: 1.0,
        }
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] naming the field.
    pub fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let problem = if self.name.is_empty() || !self.name.chars().all(plain) {
            "name: expected letters, digits, '_' and '-'"
        } else if self.labels.len() < 2 {
            "labels: expected at least two"
        } else if self.labels.iter().enumerate().any(|(i, l)| self.labels[..i].contains(l)) {
            "labels: expected each once"
        } else if !(1..=64).contains(&self.copies) {
            "copies: expected 1 to 64"
        } else if !(1..=16).contains(&self.layers) {
            "layers: expected 1 to 16"
        } else if !(self.temperature.is_finite() && self.temperature > 0.0) {
            "temperature: expected a positive number"
        } else {
            return Ok(());
        };
        Err(Error::argument(format!("head {:?}: {problem}", self.name)))
    }
}

/// A head's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) spec: HeadSpec,
    /// `[copy][layer]`: weight and bias.
    copies: Vec<Vec<(Parameter, Parameter)>>,
}

impl Head {
    pub(crate) fn new(spec: HeadSpec, hidden: usize, std: f32, source: &Source<'_>) -> Result<Self> {
        spec.check()?;
        let mut copies = Vec::with_capacity(spec.copies);
        for copy in 0..spec.copies {
            let mut layers = Vec::with_capacity(spec.layers);
            for layer in 0..spec.layers {
                let outputs = if layer + 1 == spec.layers { spec.labels.len() } else { hidden };
                let name = format!("heads.{}.{copy}.{layer}", spec.name);
                let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
                layers.push((
                    source.make(&weight, &weight, (outputs, hidden), Start::Normal(std), false)?,
                    source.make(&bias, &bias, outputs, Start::Zeros, false)?,
                ));
            }
            copies.push(layers);
        }
        Ok(Self { spec, copies })
    }

    pub(crate) fn register(&self, parameters: &mut Parameters) -> Result<()> {
        for (weight, bias) in self.copies.iter().flatten() {
            parameters.push(weight.clone())?;
            parameters.push(bias.clone())?;
        }
        Ok(())
    }

    /// Logits of each copy, `[b, labels]`, from the pooled vector `[b, h]`.
    pub(crate) fn forward(
        &self,
        pooled: &Tensor,
        track: bool,
        keys: &DropoutKeys,
        dropout: f64,
    ) -> Result<Vec<Tensor>> {
        let mut logits = Vec::with_capacity(self.copies.len());
        for copy in &self.copies {
            let mut x = ops::dropout(pooled, keys.next(dropout))?;
            for (i, (weight, bias)) in copy.iter().enumerate() {
                if i > 0 {
                    x = x.tanh()?;
                }
                x = ops::linear(&x, &value(weight, track), &value(bias, track))?;
            }
            logits.push(x);
        }
        Ok(logits)
    }
}

/// A parameter's value, detached where no graph is wanted.
pub(crate) fn value(parameter: &Parameter, track: bool) -> Tensor {
    if track { parameter.var.as_tensor().clone() } else { parameter.var.as_detached_tensor() }
}
