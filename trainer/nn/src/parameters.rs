//! Named trainable tensors.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::random::{combine, key_of, truncated_normal};
use crate::{Error, Result};

/// One trainable tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in the safetensors file.
    pub name: String,
    /// Its value; clones share the storage.
    pub var: Var,
    /// Whether weight decay applies: not for biases and layer norms.
    pub decay: bool,
    /// Whether it began from a seed, not from a file.
    pub fresh: bool,
}

/// Trainable tensors in a fixed order, with unique names.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    entries: Vec<Parameter>,
    index: HashMap<String, usize>,
}

impl Parameters {
    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.entries.iter()
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of scalars in all tensors.
    pub fn scalars(&self) -> usize {
        self.entries.iter().map(|p| p.var.elem_count()).sum()
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// Appends a parameter.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] where the name is taken.
    pub fn push(&mut self, parameter: Parameter) -> Result<()> {
        if self.index.contains_key(&parameter.name) {
            return Err(Error::argument(format!(
                "parameter {:?} exists already; names must be unique",
                parameter.name
            )));
        }
        self.index.insert(parameter.name.clone(), self.entries.len());
        self.entries.push(parameter);
        Ok(())
    }

    /// Copies of all values, by name, on the CPU: what a checkpoint keeps or what "the best so far" restores.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn snapshot(&self) -> Result<HashMap<String, Tensor>> {
        self.entries
            .iter()
            .map(|p| Ok((p.name.clone(), p.var.as_detached_tensor().to_device(&Device::Cpu)?.copy()?)))
            .collect()
    }

    /// Sets every parameter from tensors of the same names and shapes; further tensors are ignored.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a missing name or another shape; then some parameters may have been set.
    pub fn restore(&self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        for p in &self.entries {
            let Some(tensor) = tensors.get(&p.name) else {
                return Err(Error::argument(format!("restoring parameters: {:?} is missing", p.name)));
            };
            if tensor.shape() != p.var.shape() {
                return Err(Error::argument(format!(
                    "restoring parameters: {:?} has shape {:?}, expected {:?}",
                    p.name,
                    tensor.dims(),
                    p.var.dims()
                )));
            }
            p.var.set(&tensor.to_dtype(p.var.dtype())?.to_device(p.var.device())?)?;
        }
        Ok(())
    }

    /// Sets every parameter that began from a file to `(1 - share)` of itself and `share` of the tensor of its name: a point
    /// between two trainings' weights (Wortsman et al. 2022). A fresh parameter stays as it is.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a missing name, [`crate::ErrorKind::Tensor`] for another shape.
    pub fn mix(&self, tensors: &HashMap<String, Tensor>, share: f64) -> Result<()> {
        let mut mixed = self.snapshot()?;
        for p in self.entries.iter().filter(|p| !p.fresh) {
            if let (Some(own), Some(other)) = (mixed.get_mut(&p.name), tensors.get(&p.name)) {
                // In this form what is equal stays so to the bit: frozen layers do not move.
                *own = (&*own + ((other - &*own)? * share)?)?;
            } else {
                return Err(Error::argument(format!("mixing parameters: {:?} is missing", p.name)));
            }
        }
        self.restore(&mixed)
    }

    /// Writes all tensors as f32 safetensors, to a temporary name that is then renamed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        save_tensors(&self.snapshot()?, path)
    }

    /// Reads all parameters from a safetensors file (see [`Parameters::restore`]).
    ///
    /// # Errors
    /// As [`Parameters::restore`]; [`crate::ErrorKind::Io`] or [`crate::ErrorKind::Format`] for an unreadable file.
    pub fn load(&self, path: &Path) -> Result<()> {
        self.restore(&load_tensors(path)?)
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Writes tensors as safetensors, to a temporary name beside `path` that is renamed once the bytes are on the disk.
///
/// # Errors
/// [`crate::ErrorKind::Io`] naming the file.
pub fn save_tensors(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<()> {
    let temporary = temporary_name(path);
    candle_core::safetensors::save(tensors, &temporary)
        .map_err(|e| Error::io(&temporary, "write", std::io::Error::other(e.to_string())))?;
    finish(&temporary, path)
}

/// Gives a file its name once its bytes are on the disk: after a power cut there is the old file or the new one, never half of it.
///
/// # Errors
/// [`crate::ErrorKind::Io`] naming the file.
pub fn finish(temporary: &Path, path: &Path) -> Result<()> {
    let synced = std::fs::OpenOptions::new().write(true).open(temporary).and_then(|file| file.sync_all());
    synced.map_err(|e| Error::io(temporary, "write", e))?;
    std::fs::rename(temporary, path).map_err(|e| Error::io(path, "rename the finished file to", e))?;
    // Where the file system can, the name lasts too.
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The name that a file has until it is complete.
pub(crate) fn temporary_name(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Reads a safetensors file onto the CPU; floats of any width become f32.
pub(crate) fn load_tensors(path: &Path) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|e| Error::format(path, format!("not a valid safetensors file: {e}")))?;
    tensors
        .into_iter()
        .map(|(name, t)| {
            let t = if t.dtype().is_float() && t.dtype() != DType::F32 { t.to_dtype(DType::F32)? } else { t };
            Ok((name, t))
        })
        .collect()
}

/// How a parameter begins where no file gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// Truncated normal of this standard deviation.
    Normal(f32),
    Zeros,
    Ones,
}

/// Where the parameters of a module come from: a file's tensors, or a seed.
pub(crate) struct Source<'a> {
    pub(crate) tensors: Option<&'a HashMap<String, Tensor>>,
    /// What to call the file in errors.
    pub(crate) origin: &'a Path,
    /// Prefixes that the file may put before a name.
    pub(crate) prefixes: &'a [&'a str],
    pub(crate) seed: u64,
    pub(crate) device: &'a Device,
}

/// What a layer norm's parameter is called in files as old as `bert-base-uncased`, which come from TensorFlow.
fn first_name(name: &str) -> Option<String> {
    let old = |end: &str, old: &str| name.strip_suffix(end).map(|start| format!("{start}{old}"));
    old("LayerNorm.weight", "LayerNorm.gamma").or_else(|| old("LayerNorm.bias", "LayerNorm.beta"))
}

impl Source<'_> {
    fn find(&self, name: &str) -> Option<&Tensor> {
        let tensors = self.tensors?;
        let named = |name: &str| {
            tensors.get(name).or_else(|| self.prefixes.iter().find_map(|p| tensors.get(&format!("{p}{name}"))))
        };
        named(name).or_else(|| named(&first_name(name)?))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Makes the parameter `name` from the file's tensor `stored`; a file that lacks it is an error unless `optional`.
    pub(crate) fn make(
        &self,
        name: &str,
        stored: &str,
        shape: impl Into<Shape>,
        start: Start,
        optional: bool,
    ) -> Result<Parameter> {
        let shape = shape.into();
        let found = self.find(stored);
        let tensor = match found {
            Some(tensor) if tensor.shape() == &shape && tensor.dtype() == DType::F32 => {
                tensor.to_device(self.device)?
            }
            Some(tensor) => {
                return Err(Error::format(
                    self.origin,
                    format!(
                        "tensor {stored:?}: {:?} {:?}, expected floats of shape {:?}; config.json and weights do not belong together",
                        tensor.dtype(),
                        tensor.dims(),
                        shape.dims()
                    ),
                ));
            }
            None if self.tensors.is_some() && !optional => {
                return Err(Error::format(
                    self.origin,
                    format!("tensor {stored:?} is missing; is this another architecture?"),
                ));
            }
            None => match start {
                Start::Zeros => Tensor::zeros(shape, DType::F32, self.device)?,
                Start::Ones => Tensor::ones(shape, DType::F32, self.device)?,
                // Keyed by name: another head or layer more does not change what the rest begins with.
                Start::Normal(std) => {
                    let values = truncated_normal(combine(self.seed, key_of(name)), shape.elem_count(), std);
                    Tensor::from_vec(values, shape, self.device)?
                }
            },
        };
        let decay = !(name.ends_with(".bias") || name.contains("LayerNorm"));
        Ok(Parameter { name: name.to_owned(), var: Var::from_tensor(&tensor)?, decay, fresh: found.is_none() })
    }
}
