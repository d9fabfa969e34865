//! A validated directory of a bundle's bytes.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::FORMAT_VERSION;
use crate::error::{Result, fail};
use crate::header::{self, Header, RawTensor};
use crate::metadata::{self, Architecture, Head, TokenizerConfig, Weights};
use crate::precision::{Precision, Storage};
use crate::schema::{Element, LinearName, Sizes, visit_tensors};
use crate::view::View;

/// One tensor of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its elements.
    pub element: Element,
    /// Its bytes, counted from the beginning of the file.
    pub range: Range<usize>,
}

/// What a bundle holds and where: a few kilobytes, owned, valid for the bytes it was parsed from.
///
/// A layout that exists has passed every structural check, so that views of the same bytes cannot fail:
/// element types and shapes are the architecture's, tensors are aligned and follow one another up to the file's exact end,
/// every scale, bias and temperature is a finite number. Only damage inside large tensors goes unseen; [`Layout::verify`]
/// finds that.
#[derive(Debug, Clone)]
pub struct Layout {
    architecture: Architecture,
    storage: Storage,
    precision: Precision,
    heads: Vec<Head>,
    head_widths: Vec<Vec<usize>>,
    tokenizer: TokenizerConfig,
    provenance: String,
    quantization: Option<String>,
    data_start: usize,
    /// In file order, padding and checksums included.
    tensors: Vec<TensorInfo>,
    /// Index into `tensors` of every tensor of the schema, in the schema's order.
    schema: Vec<u32>,
}

impl Layout {
    /// Validates `bytes`, a whole bundle, and returns its directory.
    ///
    /// Cost: parsing a JSON header of some 40 KiB and looking at every scale and bias; 0.2 ms for six layers. Weights are not
    /// read. What is allocated is bounded by the header's real length, whatever the header claims.
    ///
    /// # Errors
    /// Any [`crate::ErrorKind`] but `Alignment`, `Usage` and `Io`; the text names the tensor or the metadata key.
    pub fn parse(bytes: &[u8]) -> Result<Layout> {
        let header = header::parse(bytes)?;
        let version = match header.metadata("attar.format") {
            None => fail!(Metadata, "no \"attar.format\" in the metadata: a safetensors file, but not an attar bundle"),
            Some("1") => 1,
            Some("2") => 2,
            Some(version) => fail!(
                Version,
                "bundle format {:.20}, this version reads formats 1 to {FORMAT_VERSION}; re-run attar-quantize or update attar",
                version
            ),
        };
        let text = |key: &str| match header.metadata(key) {
            Some(text) => Ok(text),
            None => fail!(Metadata, "no {key:?} in the metadata; re-run attar-quantize"),
        };
        let architecture: Architecture = metadata::parse_json("attar.architecture", text("attar.architecture")?)?;
        architecture.validate()?;
        let weights: Weights = metadata::parse_json("attar.weights", text("attar.weights")?)?;
        // Format 1 has no exceptions, and ignores metadata that it does not know.
        let precision: Precision = match version {
            1 => Precision::default(),
            _ => metadata::parse_json("attar.precision", text("attar.precision")?)?,
        };
        let storage = Storage::new(&architecture, weights, &precision)?;
        let heads: Vec<Head> = metadata::parse_json("attar.heads", text("attar.heads")?)?;
        metadata::validate_heads(&heads)?;
        let tokenizer: TokenizerConfig = metadata::parse_json("attar.tokenizer", text("attar.tokenizer")?)?;
        tokenizer.validate(architecture.vocabulary)?;
        let provenance = text("attar.provenance")?.to_string();
        metadata::check_object("attar.provenance", &provenance)?;
        let quantization = header.metadata("attar.quantization").map(str::to_string);
        if let Some(text) = &quantization {
            metadata::check_object("attar.quantization", text)?;
        }
        let mut directory = Directory::new(&header);
        let sizes = directory.sizes(&heads)?;
        let mut schema = Vec::with_capacity(header.tensors.len());
        visit_tensors(&architecture, &storage, &heads, &sizes, &mut |name, element, shape| {
            let index = directory.take(name)?;
            let found = &header.tensors[index];
            if found.element != element || found.shape != shape {
                fail!(
                    Tensor,
                    "tensor {name:?} is {:?} {:?}, expected {element:?} {shape:?} (from attar.architecture and attar.heads)",
                    found.element,
                    found.shape
                );
            }
            schema.push(index as u32);
            Ok(())
        })?;
        directory.finish()?;
        let data_start = header.data_start;
        let tensors = header
            .tensors
            .into_iter()
            .map(|t| TensorInfo { name: t.name.into_owned(), element: t.element, range: t.range })
            .collect();
        let layout = Layout {
            architecture,
            storage,
            precision,
            heads,
            head_widths: sizes.head_widths,
            tokenizer,
            provenance,
            quantization,
            data_start,
            tensors,
            schema,
        };
        layout.check_header_sum(bytes)?;
        layout.check_values(bytes)?;
        Ok(layout)
    }

    /// The encoder's shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How weights are stored.
    pub fn weights(&self) -> Weights {
        self.storage.weights
    }

    /// Which weights are stored in another way.
    pub fn precision(&self) -> &Precision {
        &self.precision
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The heads.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// For every head the widths of its layers but the last.
    pub fn head_widths(&self) -> &[Vec<usize>] {
        &self.head_widths
    }

    /// How text becomes tokens.
    pub fn tokenizer(&self) -> &TokenizerConfig {
        &self.tokenizer
    }

    /// JSON text of an object: where the student comes from.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }

    /// JSON text of an object: what quantising lost, if that was measured.
    pub fn quantization(&self) -> Option<&str> {
        self.quantization.as_deref()
    }

    /// All tensors in file order, padding and checksums included.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensors that carry the model, without padding and checksums, in the order in which [`crate::Encoder`] wants them.
    pub fn model_tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.schema.iter().map(|&i| &self.tensors[i as usize])
    }

    /// Length of the file, bytes.
    pub fn file_len(&self) -> usize {
        self.tensors.last().map_or(self.data_start, |t| t.range.end)
    }

    /// Length of everything before the tensors' bytes.
    pub fn header_len(&self) -> usize {
        self.data_start
    }

    /// Number of parameters, padding not counted.
    pub fn parameters(&self) -> u64 {
        let a = &self.architecture;
        let (h, layers) = (a.hidden as u64, a.layers as u64);
        let linear = |name: LinearName| {
            let (n, k) = name.shape(a);
            n as u64 * (k as u64 + 1)
        };
        let embeddings = (a.vocabulary + a.positions + a.types) as u64 * h + 2 * h;
        let layer = [LinearName::Qkv(0), LinearName::AttentionOutput(0), LinearName::FfnUp(0), LinearName::FfnDown(0)];
        let per_layer = layer.into_iter().map(linear).sum::<u64>() + 4 * h;
        let mut total = embeddings + layers * per_layer + linear(LinearName::Pooler);
        for (head, widths) in self.heads.iter().zip(&self.head_widths) {
            let mut inputs = h;
            for outputs in widths.iter().map(|&w| w as u64).chain([head.labels.len() as u64]) {
                total += head.copies as u64 * outputs * (inputs + 1);
                inputs = outputs;
            }
        }
        total
    }

    /// Typed views of `bytes`, which must be the bytes this layout was parsed from.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Size`] if their number is another; [`crate::ErrorKind::Alignment`] if they do not begin on a
    /// 4-byte boundary of memory (64 is better; a map always does).
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> Result<View<'a>> {
        View::new(self, bytes)
    }

    pub(crate) fn schema_tensor(&self, index: usize) -> &TensorInfo {
        &self.tensors[self.schema[index] as usize]
    }

    /// Checks every byte of `bytes` against the checksums. Reads the whole file: 2 ms for 23 MB in memory.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Checksum`], naming the first tensor whose bytes changed; [`crate::ErrorKind::Size`].
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        self.check_header_sum(bytes)?;
        let (_, tensors) = self.split();
        for (i, tensor) in tensors.iter().enumerate() {
            if self.sum(bytes, i + 1)? != xxh3_64(&bytes[tensor.range.clone()]) {
                fail!(
                    Checksum,
                    "tensor {:?} (bytes {} to {}) or its checksum was changed after it was written; fetch the file again",
                    tensor.name,
                    tensor.range.start,
                    tensor.range.end
                );
            }
        }
        Ok(())
    }

    /// The checksum tensor and all others.
    fn split(&self) -> (&TensorInfo, &[TensorInfo]) {
        let (sums, others) = self.tensors.split_last().expect("parse demanded attar.checksums as the last tensor");
        (sums, others)
    }

    fn sum(&self, bytes: &[u8], index: usize) -> Result<u64> {
        let at = self.split().0.range.start + 8 * index;
        match bytes.get(at..at + 8).and_then(|b| b.first_chunk::<8>()) {
            Some(eight) if bytes.len() == self.file_len() => Ok(u64::from_le_bytes(*eight)),
            _ => fail!(Size, "{} bytes, but the layout was parsed from {}", bytes.len(), self.file_len()),
        }
    }

    fn check_header_sum(&self, bytes: &[u8]) -> Result<()> {
        if self.sum(bytes, 0)? != xxh3_64(&bytes[..self.data_start]) {
            fail!(Checksum, "the header or its checksum was changed after it was written; fetch the file again");
        }
        Ok(())
    }

    /// Refuses what would make every result NaN: looks at every f32 tensor but the packed weights and embeddings.
    fn check_values(&self, bytes: &[u8]) -> Result<()> {
        for &index in &self.schema {
            let tensor = &self.tensors[index as usize];
            let name = tensor.name.as_str();
            let scales = name.ends_with(".scales");
            if scales && tensor.element == Element::F16 {
                let (halves, _) = bytes[tensor.range.clone()].as_chunks::<2>();
                // Scales of int4 groups may be negative.
                let bad = |h: &[u8; 2]| u16::from_le_bytes(*h) & 0x7c00 == 0x7c00;
                if halves.iter().fold(false, |any, h| any | bad(h)) {
                    let at = halves.iter().position(bad).unwrap_or(0);
                    fail!(
                        Value,
                        "tensor {name:?} holds {} at index {at}, expected a finite number",
                        half::f16::from_le_bytes(halves[at])
                    );
                }
                continue;
            }
            let packed = name.ends_with(".weight") && !name.ends_with("norm.weight") && !name.starts_with("head.");
            if tensor.element != Element::F32 || packed || name == "embeddings.word" || name == "embeddings.position" {
                continue;
            }
            let (floats, _) = bytes[tensor.range.clone()].as_chunks::<4>();
            // Exponent all ones: infinity or NaN. A scale has no sign either. Branch-free, so that it vectorises.
            let bad = |bits: u32| bits & 0x7f80_0000 == 0x7f80_0000 || (scales && bits >> 31 == 1);
            if floats.iter().fold(false, |any, f| any | bad(u32::from_le_bytes(*f))) {
                let at = floats.iter().position(|f| bad(u32::from_le_bytes(*f))).unwrap_or(0);
                let expected = if scales { "a finite number, not negative" } else { "a finite number" };
                fail!(
                    Value,
                    "tensor {name:?} holds {} at index {at}, expected {expected}",
                    f32::from_le_bytes(floats[at])
                );
            }
        }
        Ok(())
    }
}

/// Finds the header's tensors by name, each once. The writer's order is met without a search; any other costs one sort.
struct Directory<'a, 'b> {
    tensors: &'b [RawTensor<'a>],
    taken: Vec<bool>,
    cursor: usize,
    sorted: Option<Vec<u32>>,
}

impl<'a, 'b> Directory<'a, 'b> {
    fn new(header: &'b Header<'a>) -> Self {
        Directory { tensors: &header.tensors, taken: vec![false; header.tensors.len()], cursor: 0, sorted: None }
    }

    fn find(&mut self, name: &str) -> Result<usize> {
        while self.tensors.get(self.cursor).is_some_and(|t| t.name.starts_with("pad.")) {
            self.cursor += 1;
        }
        if self.tensors.get(self.cursor).is_some_and(|t| t.name == name) {
            return Ok(self.cursor);
        }
        let tensors = self.tensors;
        let sorted = self.sorted.get_or_insert_with(|| {
            let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
            order.sort_by(|&a, &b| tensors[a as usize].name.cmp(&tensors[b as usize].name));
            order
        });
        match sorted.binary_search_by(|&i| tensors[i as usize].name.as_ref().cmp(name)) {
            Ok(at) => Ok(sorted[at] as usize),
            Err(_) => fail!(Tensor, "tensor {name:?} is missing; re-run attar-quantize"),
        }
    }

    fn take(&mut self, name: &str) -> Result<usize> {
        let index = self.find(name)?;
        self.taken[index] = true;
        self.cursor = index + 1;
        Ok(index)
    }

    /// Sizes that metadata does not fix.
    fn sizes(&mut self, heads: &[Head]) -> Result<Sizes> {
        let mut first = |name: &str| -> Result<usize> {
            let tensor = &self.tensors[self.find(name)?];
            match tensor.shape.dims().first() {
                Some(&n) => Ok(n),
                None => fail!(Tensor, "tensor {name:?} is a scalar"),
            }
        };
        let vocabulary_bytes = first("tokenizer.bytes")?;
        let vocabulary_table = first("tokenizer.table")?;
        let mut head_widths = Vec::with_capacity(heads.len());
        for head in heads {
            let mut widths = Vec::new();
            for layer in 0..head.layers - 1 {
                let name = format!("head.{}.0.{layer}.weight", head.name);
                let width = first(&name)?;
                if width == 0 {
                    fail!(Tensor, "tensor {name:?} has no rows");
                }
                widths.push(width);
            }
            head_widths.push(widths);
        }
        if !vocabulary_table.is_power_of_two() {
            fail!(Tensor, "tensor \"tokenizer.table\" has {vocabulary_table} slots, expected a power of two");
        }
        Ok(Sizes { vocabulary_bytes, vocabulary_table, head_widths })
    }

    /// Every tensor must have been asked for, but padding, and the checksums, which must be the last.
    fn finish(mut self) -> Result<()> {
        let index = self.take("attar.checksums")?;
        let sums = &self.tensors[index];
        // One for the header and one for each tensor but itself.
        let expected = self.tensors.len();
        if index + 1 != expected || sums.element != Element::U64 || sums.shape.dims() != [expected] {
            fail!(
                Tensor,
                "tensor \"attar.checksums\" is number {index}, {:?} {:?}; expected the last, U64 [{expected}]",
                sums.element,
                sums.shape
            );
        }
        for (tensor, taken) in self.tensors.iter().zip(&self.taken) {
            if !taken && !tensor.name.starts_with("pad.") {
                fail!(Tensor, "tensor {:?} is unexpected, or stands twice", tensor.name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
