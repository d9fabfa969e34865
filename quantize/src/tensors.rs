//! A source's tensors: of a safetensors file, one by one, or of an ONNX file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result, fail};
use crate::onnx::{self, Named};

/// Longest header that is read, as the safetensors crate has it.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Named tensors, and the file they come from.
#[derive(Debug)]
pub(crate) struct Tensors {
    path: PathBuf,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// Only one tensor is in memory at a time, which is why the file is not read or mapped as a whole.
    Safetensors { file: File, metadata: Metadata, data_start: u64 },
    /// ONNX files are read whole: what a tensor is follows from the graph.
    Memory(Named),
}

impl Tensors {
    pub(crate) fn open(path: &Path) -> Result<Tensors> {
        let io = |e| Error::io(path, e);
        let place = path.display();
        let mut file = File::open(path).map_err(io)?;
        let file_len = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if file_len < 8 {
            fail!(Source, "{place}: {file_len} bytes are no safetensors file");
        }
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES.min(file_len - 8) {
            fail!(
                Source,
                "{place}: the header claims {length} bytes of a file of {file_len}: truncated, or no safetensors file"
            );
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = match serde_json::from_slice(&header) {
            Ok(metadata) => metadata,
            Err(e) => fail!(Source, "{place}: not a safetensors header: {e}"),
        };
        let data_start = 8 + length;
        let expected = data_start + metadata.data_len() as u64;
        if expected != file_len {
            fail!(
                Source,
                "{place}: the header describes {expected} bytes, but the file has {file_len}: truncated or damaged"
            );
        }
        Ok(Tensors { path: path.into(), store: Store::Safetensors { file, metadata, data_start } })
    }

    /// The tensors of an ONNX file under the names that a Hugging Face folder has for them.
    pub(crate) fn of_onnx(path: &Path) -> Result<Tensors> {
        Ok(Tensors { path: path.into(), store: Store::Memory(onnx::read(path)?) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn names(&self) -> Vec<String> {
        match &self.store {
            Store::Safetensors { metadata, .. } => metadata.offset_keys(),
            Store::Memory(named) => named.keys().cloned().collect(),
        }
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.store {
            Store::Safetensors { metadata, .. } => metadata.info(name).map(|info| info.shape.as_slice()),
            Store::Memory(named) => named.get(name).map(|(shape, _)| shape.as_slice()),
        }
    }

    /// Refuses a tensor that is missing, has another shape, or no numbers that are weights.
    pub(crate) fn expect(&self, name: &str, shape: &[usize], why: &str) -> Result<()> {
        let place = self.path.display();
        let Some(found) = self.shape(name) else {
            fail!(Tensor, "{place}: tensor {name:?} is missing, expected {shape:?} ({why})");
        };
        if found != shape {
            fail!(Tensor, "{place}: tensor {name:?} is {found:?}, expected {shape:?} ({why})");
        }
        let dtype = match &self.store {
            Store::Safetensors { metadata, .. } => metadata.info(name).map(|info| info.dtype),
            Store::Memory(_) => Some(Dtype::F32),
        };
        match dtype {
            Some(Dtype::F32 | Dtype::F16 | Dtype::BF16) => Ok(()),
            other => fail!(Tensor, "{place}: tensor {name:?} has element type {other:?}, expected F32, F16 or BF16"),
        }
    }

    /// The first `rows` rows of a tensor as f32; every one must be a finite number.
    pub(crate) fn read_rows(&self, name: &str, rows: usize) -> Result<Vec<f32>> {
        let place = self.path.display();
        let Some(shape) = self.shape(name) else {
            fail!(Tensor, "{place}: tensor {name:?} is missing");
        };
        let elements = shape.iter().skip(1).product::<usize>() * rows.min(shape.first().copied().unwrap_or(1));
        let values = match &self.store {
            Store::Safetensors { file, metadata, data_start } => {
                self.read_elements(file, metadata, *data_start, name, elements)?
            }
            Store::Memory(named) => named[name].1[..elements].to_vec(),
        };
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            fail!(Tensor, "{place}: tensor {name:?} holds {} at index {at}, expected finite numbers", values[at]);
        }
        Ok(values)
    }

    fn read_elements(
        &self,
        mut file: &File,
        metadata: &Metadata,
        data_start: u64,
        name: &str,
        elements: usize,
    ) -> Result<Vec<f32>> {
        let place = self.path.display();
        let Some(info) = metadata.info(name) else {
            fail!(Tensor, "{place}: tensor {name:?} is missing");
        };
        let mut values = vec![0f32; elements];
        let start = data_start + info.data_offsets.0 as u64;
        file.seek(SeekFrom::Start(start)).map_err(|e| Error::io(&self.path, e))?;
        if info.dtype == Dtype::F32 {
            file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(|e| Error::io(&self.path, e))?;
        } else {
            let mut halves = vec![0u16; elements];
            file.read_exact(bytemuck::cast_slice_mut(&mut halves)).map_err(|e| Error::io(&self.path, e))?;
            let widen = match info.dtype {
                Dtype::F16 => |bits| f16::from_bits(bits).to_f32(),
                Dtype::BF16 => |bits| bf16::from_bits(bits).to_f32(),
                other => {
                    fail!(Tensor, "{place}: tensor {name:?} has element type {other:?}, expected F32, F16 or BF16")
                }
            };
            values.iter_mut().zip(halves).for_each(|(value, bits)| *value = widen(bits));
        }
        Ok(values)
    }

    /// A whole tensor as f32.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>> {
        self.read_rows(name, usize::MAX)
    }
}
