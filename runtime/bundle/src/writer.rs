//! Streams a bundle out, tensor by tensor.

use std::io::Write;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result, fail};
use crate::metadata::{check_object, validate_heads};
use crate::precision::Storage;
use crate::schema::{Contents, Element, Sizes, TensorSpec, visit_tensors};
use crate::{ALIGNMENT, FORMAT_VERSION, MAX_HEADER_BYTES};

/// Writes a bundle to any sink: the header first, since every size is known from [`Contents`], then the tensors in the order
/// of [`Encoder::next_tensor`], then the checksums. Memory: one header; tensors pass through.
#[derive(Debug)]
pub struct Encoder<W> {
    sink: W,
    /// Every tensor but the checksums, padding included.
    tensors: Vec<TensorSpec>,
    next: usize,
    sums: Vec<u64>,
    written: u64,
}

impl<W: Write> Encoder<W> {
    /// Writes the header of a bundle that holds `contents`.
    ///
    /// # Errors
    /// [`ErrorKind::Metadata`] for contents that no reader would accept, [`ErrorKind::Header`] if the header grows too long,
    /// [`ErrorKind::Io`].
    pub fn new(sink: W, contents: &Contents) -> Result<Encoder<W>> {
        contents.architecture.validate()?;
        validate_heads(&contents.heads)?;
        contents.tokenizer.validate(contents.architecture.vocabulary)?;
        check_object("attar.provenance", &contents.provenance)?;
        if let Some(text) = &contents.quantization {
            check_object("attar.quantization", text)?;
        }
        for (head, widths) in contents.heads.iter().zip(&contents.head_widths) {
            if widths.len() + 1 != head.layers || widths.contains(&0) {
                fail!(Metadata, "head {:?} has {} layers, but inner widths {widths:?}", head.name, head.layers);
            }
        }
        if contents.head_widths.len() != contents.heads.len() {
            fail!(Metadata, "{} heads, but inner widths of {}", contents.heads.len(), contents.head_widths.len());
        }
        if !contents.vocabulary_table.is_power_of_two() {
            fail!(Metadata, "tokenizer.table has {} slots, expected a power of two", contents.vocabulary_table);
        }
        let tensors = with_padding(contents.tensors()?);
        let header = header(contents, &tensors)?;
        let sums = vec![xxh3_64(&header)];
        let mut encoder = Encoder { sink, tensors, next: 0, sums, written: 0 };
        encoder.put(&header)?;
        encoder.pad()?;
        Ok(encoder)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(|e| Error::io("writing the bundle", e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes padding tensors that come next.
    fn pad(&mut self) -> Result<()> {
        while let Some(pad) = self.tensors.get(self.next).filter(|t| t.name.starts_with("pad.")) {
            let zeros = [0; ALIGNMENT];
            let zeros = &zeros[..pad.bytes()];
            self.put(zeros)?;
            self.sums.push(xxh3_64(zeros));
            self.next += 1;
        }
        Ok(())
    }

    /// The tensor that must be written next; `None` when [`Encoder::finish`] is due.
    pub fn next_tensor(&self) -> Option<&TensorSpec> {
        self.tensors.get(self.next)
    }

    /// Writes the next tensor, little-endian.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not `name`'s turn or `bytes` has another length than announced; [`ErrorKind::Io`].
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.next_tensor() {
            Some(spec) if spec.name == name && spec.bytes() == bytes.len() => {}
            Some(spec) => fail!(
                Usage,
                "tensor {name:?} of {} bytes was given, expected {:?} of {} bytes",
                bytes.len(),
                spec.name,
                spec.bytes()
            ),
            None => fail!(Usage, "tensor {name:?} was given after the last one"),
        }
        self.put(bytes)?;
        self.sums.push(xxh3_64(bytes));
        self.next += 1;
        self.pad()
    }

    /// Writes the checksums and returns the sink and the length of the bundle in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if tensors are missing; [`ErrorKind::Io`].
    pub fn finish(mut self) -> Result<(W, u64)> {
        if let Some(spec) = self.next_tensor() {
            fail!(Usage, "tensor {:?} was never given", spec.name);
        }
        let sums: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        self.put(&sums)?;
        self.sink.flush().map_err(|e| Error::io("writing the bundle", e))?;
        Ok((self.sink, self.written))
    }
}

impl Contents {
    /// The tensors that carry the model, without padding and checksums, in the order in which [`Encoder`] wants them.
    ///
    /// # Errors
    /// [`ErrorKind::Metadata`] for exceptions of precision that do not fit the architecture.
    pub fn tensors(&self) -> Result<Vec<TensorSpec>> {
        let sizes = Sizes {
            vocabulary_bytes: self.vocabulary_bytes,
            vocabulary_table: self.vocabulary_table,
            head_widths: self.head_widths.clone(),
        };
        let storage = Storage::new(&self.architecture, self.weights, &self.precision)?;
        let mut tensors = Vec::new();
        visit_tensors(&self.architecture, &storage, &self.heads, &sizes, &mut |name, element, shape| {
            tensors.push(TensorSpec { name: name.into(), element, shape: shape.dims().to_vec() });
            Ok(())
        })?;
        Ok(tensors)
    }
}

/// Puts a `pad.N` tensor after every tensor that does not end on a boundary.
fn with_padding(tensors: Vec<TensorSpec>) -> Vec<TensorSpec> {
    let mut padded = Vec::with_capacity(2 * tensors.len());
    let mut pads = 0;
    for tensor in tensors {
        let over = tensor.bytes() % ALIGNMENT;
        padded.push(tensor);
        if over != 0 {
            padded.push(TensorSpec {
                name: format!("pad.{pads}"),
                element: Element::U8,
                shape: vec![ALIGNMENT - over],
            });
            pads += 1;
        }
    }
    padded
}

/// The value with the members of every object in alphabetical order: the same bundle from every build, whether or not
/// another crate of the program has switched serde_json's `preserve_order` on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Length and JSON, padded with spaces up to the boundary on which data begins.
fn header(contents: &Contents, tensors: &[TensorSpec]) -> Result<Vec<u8>> {
    let text = |key: &str, value: serde_json::Result<Value>| match value {
        Ok(value) => Ok((key.to_string(), Value::String(sorted(value).to_string()))),
        Err(e) => Err(Error::new(ErrorKind::Metadata, format!("{key}: {e}"))),
    };
    let mut metadata = vec![
        text("attar.format", Ok(json!(if contents.precision.is_uniform() { 1 } else { FORMAT_VERSION })))?,
        text("attar.architecture", serde_json::to_value(&contents.architecture))?,
        text("attar.weights", Ok(json!(contents.weights.name())))?,
        text("attar.heads", serde_json::to_value(&contents.heads))?,
        text("attar.tokenizer", serde_json::to_value(&contents.tokenizer))?,
        text("attar.provenance", serde_json::from_str(&contents.provenance))?,
    ];
    if let Some(quantization) = &contents.quantization {
        metadata.push(text("attar.quantization", serde_json::from_str(quantization))?);
    }
    if !contents.precision.is_uniform() {
        metadata.push(text("attar.precision", serde_json::to_value(&contents.precision))?);
    }
    let metadata = sorted(Value::Object(metadata.into_iter().collect()));
    // Written by hand, since the members must keep the file's order.
    let mut text = format!("{{\"__metadata__\":{metadata}");
    let sums = TensorSpec { name: "attar.checksums".into(), element: Element::U64, shape: vec![tensors.len() + 1] };
    let mut start = 0usize;
    for tensor in tensors.iter().chain([&sums]) {
        let end = start + tensor.bytes();
        let entry = sorted(json!({
            "dtype": tensor.element.safetensors_name(),
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }));
        text.push_str(&format!(",{}:{entry}", Value::String(tensor.name.clone())));
        start = end;
    }
    text.push('}');
    let length = (8 + text.len()).next_multiple_of(ALIGNMENT) - 8;
    if length > MAX_HEADER_BYTES {
        fail!(Header, "the header would have {length} bytes, at most {MAX_HEADER_BYTES}; is the provenance too long?");
    }
    let mut bytes = (length as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(8 + length, b' ');
    Ok(bytes)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
