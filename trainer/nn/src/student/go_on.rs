//! Going on from a trained student.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::Student;
use crate::head::HeadSpec;
use crate::parameters::{Source, load_tensors};
use crate::{Encoder, Error, Layers, Result};

impl Student {
    /// A student to train further: the encoder and pooler of the student in `folder`, and the heads `wanted`.
    ///
    /// A head that the folder has goes on with its weights: as many copies as they are, another number of them each as the
    /// copies' mean, which answers as the copies did together (heads of one layer only). A head that it has not is fresh, from
    /// `seed`. Temperatures begin at 1.
    ///
    /// # Errors
    /// As [`Student::load`]; [`crate::ErrorKind::Argument`] for a head that the folder has with other labels or layers.
    pub fn go_on(folder: &Path, layers: &Layers, wanted: &[HeadSpec], seed: u64, device: &Device) -> Result<Self> {
        let trained = Self::heads_of(folder)?;
        let mut student = Self::new(Encoder::load(folder, layers, device)?);
        let weights = folder.join("model.safetensors");
        let tensors = load_tensors(&weights)?;
        for spec in wanted {
            let Some(found) = trained.iter().find(|found| found.name == spec.name) else {
                student.add_head(spec.clone(), seed)?;
                continue;
            };
            check(found, spec).map_err(|e| Error::argument(format!("{}: {e}", folder.display())))?;
            let tensors = copies(found, spec, &tensors)?;
            let source = Source { tensors: Some(&tensors), origin: &weights, prefixes: &[], seed, device };
            student.attach(spec.clone(), &source)?;
        }
        Ok(student)
    }
}

fn check(found: &HeadSpec, wanted: &HeadSpec) -> std::result::Result<(), String> {
    let HeadSpec { name, labels, layers, copies, .. } = wanted;
    if found.labels != *labels || found.layers != *layers {
        let (had, has) = (&found.labels, found.layers);
        return Err(format!("head {name:?} has {has} layers and the labels {had:?}, expected {layers} and {labels:?}"));
    }
    if found.copies != *copies && *layers > 1 {
        let had = found.copies;
        return Err(format!(
            "head {name:?} has {had} copies of {layers} layers, expected {copies}; only copies of one layer have a mean"
        ));
    }
    Ok(())
}

/// The tensors of `wanted`'s copies, out of those of `found`'s; one that is missing stays so, for [`Source`] to say.
fn copies(found: &HeadSpec, wanted: &HeadSpec, tensors: &HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>> {
    let mut made = HashMap::new();
    for layer in 0..found.layers {
        for end in ["weight", "bias"] {
            let name = |copy: usize| format!("heads.{}.{copy}.{layer}.{end}", found.name);
            let Some(stored) = (0..found.copies).map(|copy| tensors.get(&name(copy))).collect::<Option<Vec<_>>>()
            else {
                continue;
            };
            let values = match found.copies == wanted.copies {
                true => stored.into_iter().cloned().collect(),
                false => vec![Tensor::stack(&stored, 0)?.mean(0)?; wanted.copies],
            };
            made.extend(values.into_iter().enumerate().map(|(copy, value)| (name(copy), value)));
        }
    }
    Ok(made)
}
