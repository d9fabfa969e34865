//! Where a training begins: an encoder's folder or a trained student's.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::Student;
use crate::head::HeadSpec;
use crate::parameters::{Source, load_tensors};
use crate::{Encoder, Layers, Result};

impl Student {
    /// A student to train: the encoder of `folder`, and the heads `wanted`.
    ///
    /// Where the folder is a student's, a head that it has under the same name, with the same labels and layers, goes on
    /// with its weights. As many copies go on as they are; another number of them begin as the copies' mean, which
    /// answers as the copies did together (heads of one layer only). Every other head is fresh, from `seed`.
    ///
    /// # Errors
    /// As [`Encoder::load`], [`Student::load`] and [`Student::add_head`].
    pub fn start(folder: &Path, layers: &Layers, wanted: &[HeadSpec], seed: u64, device: &Device) -> Result<Self> {
        let mut student = Self::new(Encoder::load(folder, layers, device)?);
        let trained = match folder.join("attar.toml").is_file() {
            true => Self::heads_of(folder)?,
            false => Vec::new(),
        };
        let weights = folder.join("model.safetensors");
        let tensors = if trained.is_empty() { HashMap::new() } else { load_tensors(&weights)? };
        for spec in wanted {
            match trained.iter().find(|found| goes_on(found, spec)) {
                Some(found) => {
                    let tensors = copies(found, spec, &tensors)?;
                    let source = Source { tensors: Some(&tensors), origin: &weights, prefixes: &[], seed, device };
                    student.attach(spec.clone(), &source)?;
                }
                None => student.add_head(spec.clone(), seed)?,
            }
        }
        Ok(student)
    }
}

fn goes_on(found: &HeadSpec, wanted: &HeadSpec) -> bool {
    found.name == wanted.name
        && found.labels == wanted.labels
        && found.layers == wanted.layers
        && (found.copies == wanted.copies || found.layers == 1)
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
