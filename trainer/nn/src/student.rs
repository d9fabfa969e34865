//! An encoder with heads, and the student folder.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::head::Head;
use crate::ops::DropoutKeys;
use crate::parameters::{Parameters, Source, finish, load_tensors, temporary_name};
use crate::random::key_of;
use crate::{Batch, Encoder, EncoderConfig, Error, ErrorKind, HeadSpec, Layers, Mode, Precision, Result};

/// The version of the student folder that this crate writes.
const FORMAT: u32 = 1;

/// The content of `attar.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    pooling: String,
    #[serde(default)]
    heads: Vec<HeadSpec>,
    #[serde(default)]
    provenance: toml::Table,
}

/// An encoder with named classification heads over its pooled vector.
#[derive(Debug, Clone)]
pub struct Student {
    encoder: Encoder,
    heads: Vec<Head>,
    parameters: Parameters,
    provenance: toml::Table,
}

impl Student {
    /// An encoder without heads.
    pub fn new(encoder: Encoder) -> Self {
        let parameters = encoder.parameters().expect("an encoder's parameter names are unique");
        Self { encoder, heads: Vec::new(), parameters, provenance: toml::Table::new() }
    }

    /// Adds a fresh head.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a specification that is out of range or a name that is taken.
    pub fn add_head(&mut self, spec: HeadSpec, seed: u64) -> Result<()> {
        let device = self.encoder.device().clone();
        self.attach(spec, &Source { tensors: None, origin: Path::new(""), prefixes: &[], seed, device: &device })
    }

    fn attach(&mut self, spec: HeadSpec, source: &Source<'_>) -> Result<()> {
        if self.heads.iter().any(|h| h.spec.name == spec.name) {
            return Err(Error::argument(format!("head {:?} exists already", spec.name)));
        }
        let config = self.encoder.config();
        let head = Head::new(spec, config.hidden, config.initializer_range as f32, source)?;
        head.register(&mut self.parameters)?;
        self.heads.push(head);
        Ok(())
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// See [`Encoder::set_precision`].
    pub fn set_precision(&mut self, precision: Precision) {
        self.encoder.set_precision(precision);
    }

    /// See [`Encoder::freeze`].
    pub fn freeze(&mut self, layers: usize) {
        self.encoder.freeze(layers);
    }

    /// All parameters: encoder, pooler, heads.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The heads' specifications.
    pub fn heads(&self) -> impl Iterator<Item = &HeadSpec> {
        self.heads.iter().map(|h| &h.spec)
    }

    /// The specification of a head.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] where there is none of this name.
    pub fn head(&self, name: &str) -> Result<&HeadSpec> {
        self.find(name).map(|h| &h.spec)
    }

    /// What the folder this student came from says about its origin.
    pub fn provenance(&self) -> &toml::Table {
        &self.provenance
    }

    /// Sets a head's temperature.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for an unknown head or a temperature that is not positive.
    pub fn set_temperature(&mut self, name: &str, temperature: f64) -> Result<()> {
        let spec = HeadSpec { temperature, ..self.find(name)?.spec.clone() };
        spec.check()?;
        for head in self.heads.iter_mut().filter(|h| h.spec.name == name) {
            head.spec = spec.clone();
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Head> {
        self.heads.iter().find(|h| h.spec.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.heads.iter().map(|h| h.spec.name.as_str()).collect();
            Error::argument(format!("head {name:?} is not among this student's: {known:?}"))
        })
    }

    /// The pooled vector `[b, h]`, before dropout; one of them serves all heads.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn pool(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        self.encoder.pool(batch, mode)
    }

    /// The logits `[b, labels]` of each copy of a head, not divided by its temperature.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for an unknown head; else as [`Encoder::forward`].
    pub fn logits(&self, batch: &Batch, head: &str, mode: Mode) -> Result<Vec<Tensor>> {
        self.find(head)?;
        self.logits_from_pooled(&self.pool(batch, mode)?, head, mode)
    }

    /// As [`Student::logits`], from a pooled vector `[b, h]`.
    ///
    /// # Errors
    /// As [`Student::logits`].
    pub fn logits_from_pooled(&self, pooled: &Tensor, head: &str, mode: Mode) -> Result<Vec<Tensor>> {
        let head = self.find(head)?;
        let keys = DropoutKeys::new(mode, key_of(&head.spec.name));
        head.forward(pooled, mode != Mode::Eval, &keys, self.encoder.config().hidden_dropout)
    }

    /// The mean of a head's copies, `[b, labels]`: what inference uses (before the temperature).
    ///
    /// # Errors
    /// As [`Student::logits`].
    pub fn mean_logits(&self, batch: &Batch, head: &str) -> Result<Tensor> {
        let copies = self.logits(batch, head, Mode::Eval)?;
        Ok(Tensor::stack(&copies, 0)?.mean(0)?)
    }

    /// Writes the student folder: config.json, model.safetensors, attar.toml, and a copy of `tokenizer`. Each file is
    /// written to a temporary name and renamed; attar.toml comes last, so that a folder with one is complete.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] naming the file.
    pub fn save(&self, folder: &Path, tokenizer: &Path, provenance: &toml::Table) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create the folder", e))?;
        let bytes = std::fs::read(tokenizer).map_err(|e| Error::io(tokenizer, "read the tokenizer", e))?;
        write(&folder.join("tokenizer.json"), &bytes)?;
        let config = serde_json::to_string_pretty(&self.encoder.config().to_json())
            .map_err(|e| Error::argument(format!("config.json: {e}")))?;
        write(&folder.join("config.json"), config.as_bytes())?;
        self.parameters.save(&folder.join("model.safetensors"))?;
        let manifest = Manifest {
            format: FORMAT,
            pooling: "cls".to_owned(),
            heads: self.heads().cloned().collect(),
            provenance: provenance.clone(),
        };
        write_manifest(folder, &manifest)
    }

    /// The heads of a student folder, without its weights.
    ///
    /// # Errors
    /// As [`Student::load`].
    pub fn heads_of(folder: &Path) -> Result<Vec<HeadSpec>> {
        Ok(Self::manifest(folder)?.heads)
    }

    /// The provenance of a student folder, without its weights.
    ///
    /// # Errors
    /// As [`Student::load`].
    pub fn provenance_of(folder: &Path) -> Result<toml::Table> {
        Ok(Self::manifest(folder)?.provenance)
    }

    /// Writes another provenance into a student folder.
    ///
    /// # Errors
    /// As [`Student::load`], and [`crate::ErrorKind::Io`] where it cannot be written.
    pub fn replace_provenance(folder: &Path, provenance: &toml::Table) -> Result<()> {
        let manifest = Manifest { provenance: provenance.clone(), ..Self::manifest(folder)? };
        write_manifest(folder, &manifest)
    }

    fn manifest(folder: &Path) -> Result<Manifest> {
        let path = folder.join("attar.toml");
        if !path.is_file() {
            let encoder = folder.join("config.json").is_file();
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "{}: no such file; expected the folder of a trained student or teacher{}",
                    path.display(),
                    if encoder { ", but this one holds an encoder without heads" } else { "" }
                ),
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", e))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|e| Error::format(&path, e))?;
        if manifest.format != FORMAT || manifest.pooling != "cls" {
            return Err(Error::format(
                &path,
                format!(
                    "format {} with pooling {:?}, expected {FORMAT} and \"cls\"",
                    manifest.format, manifest.pooling
                ),
            ));
        }
        manifest.heads.iter().try_for_each(|spec| spec.check().map_err(|e| Error::format(&path, e)))?;
        Ok(manifest)
    }

    /// Reads a student folder.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] for a missing file, [`crate::ErrorKind::Format`] for one that is malformed or does not fit the others.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let manifest = Self::manifest(folder)?;
        let config = EncoderConfig::load(&folder.join("config.json"))?;
        let weights = folder.join("model.safetensors");
        let tensors: HashMap<String, Tensor> = load_tensors(&weights)?;
        let source = Source { tensors: Some(&tensors), origin: &weights, prefixes: &[], seed: 0, device };
        let mut student = Self::new(Encoder::from_source(config, &Layers::All, &source)?);
        for spec in manifest.heads {
            student.attach(spec, &source)?;
        }
        student.provenance = manifest.provenance;
        Ok(student)
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<()> {
    let text = toml::to_string(manifest).map_err(|e| Error::argument(format!("attar.toml: {e}")))?;
    write(&folder.join("attar.toml"), text.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_name(path);
    std::fs::write(&temporary, bytes).map_err(|e| Error::io(&temporary, "write", e))?;
    finish(&temporary, path)
}

mod go_on;
mod mean;
#[cfg(test)]
mod tests;
