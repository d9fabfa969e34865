//! The safetensors header: eight bytes of length, then JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::{Result, fail};
use crate::schema::Element;
use crate::{ALIGNMENT, MAX_HEADER_BYTES};

/// Most dimensions a tensor has in format 1.
pub(crate) const MAX_RANK: usize = 4;

/// A tensor's shape, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    pub(crate) fn new(dims: &[usize]) -> Shape {
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len().min(MAX_RANK) };
        shape.dims[..shape.rank].copy_from_slice(&dims[..shape.rank]);
        shape
    }

    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of elements, `None` where it overflows.
    pub(crate) fn elements(&self) -> Option<usize> {
        self.dims().iter().try_fold(1usize, |product, &d| product.checked_mul(d))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dims().fmt(f)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Dims;
        impl<'de> Visitor<'de> for Dims {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a shape of at most {MAX_RANK} dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Shape, A::Error> {
                let mut shape = Shape { dims: [0; MAX_RANK], rank: 0 };
                while let Some(d) = seq.next_element::<usize>()? {
                    if shape.rank == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.dims[shape.rank] = d;
                    shape.rank += 1;
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Dims)
    }
}

/// One tensor as the header describes it. `range` counts from the beginning of the file.
#[derive(Debug)]
pub(crate) struct RawTensor<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) element: Element,
    pub(crate) shape: Shape,
    pub(crate) range: Range<usize>,
}

/// The parsed header: metadata pairs, and tensors in file order.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) tensors: Vec<RawTensor<'a>>,
    /// Where the tensors' bytes begin.
    pub(crate) data_start: usize,
}

impl Header<'_> {
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }
}

/// A string that borrows from the header where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Shape,
    data_offsets: (usize, usize),
}

struct Metadata<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut pairs: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
                while let Some((Text(key), Text(value))) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if pairs.len() == 64 {
                        return Err(A::Error::custom("__metadata__ has more than 64 keys"));
                    }
                    if pairs.iter().any(|(k, _)| *k == key) {
                        return Err(A::Error::custom(format!("__metadata__ has {key:?} twice")));
                    }
                    pairs.push((key, value));
                }
                Ok(Metadata(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

struct Entries<'a> {
    metadata: Option<Metadata<'a>>,
    tensors: Vec<(Cow<'a, str>, Entry<'a>)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a safetensors header")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut entries = Entries { metadata: None, tensors: Vec::new() };
                while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
                    if name == "__metadata__" {
                        if entries.metadata.replace(map.next_value()?).is_some() {
                            return Err(A::Error::custom("__metadata__ stands twice"));
                        }
                    } else {
                        let entry = map.next_value()?;
                        entries.tensors.push((name, entry));
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Parses the header and checks what safetensors and the format ask of the tensors' places: no holes, no overlaps, every
/// tensor on a 64-byte boundary, sizes that agree with element type and shape, and the exact end of the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Header<'_>> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        fail!(Size, "{} bytes are no bundle: expected at least 8 bytes of header length", bytes.len());
    };
    let length = u64::from_le_bytes(*length);
    let length = match usize::try_from(length) {
        Ok(length) if length <= MAX_HEADER_BYTES => length,
        _ => fail!(
            Header,
            "the header claims {length} bytes, at most {MAX_HEADER_BYTES} are read; most likely this is not an attar bundle"
        ),
    };
    if length > rest.len() {
        fail!(Size, "the header claims {length} bytes, but the file ends after {}: it is truncated", rest.len());
    }
    let data_start = 8 + length;
    let Ok(json) = std::str::from_utf8(&rest[..length]) else {
        fail!(Header, "the header is not UTF-8 text: this is not an attar bundle, or it is damaged");
    };
    let entries: Entries<'_> = match serde_json::from_str(json) {
        Ok(entries) => entries,
        Err(e) => fail!(Header, "the header is not a safetensors header: {e}"),
    };
    let Some(Metadata(metadata)) = entries.metadata else {
        fail!(
            Header,
            "the header has no __metadata__: a plain safetensors file? attar-quantize makes bundles from students"
        );
    };
    if !data_start.is_multiple_of(ALIGNMENT) {
        fail!(Placement, "data begins at byte {data_start}, expected a multiple of {ALIGNMENT}");
    }
    let mut tensors = Vec::with_capacity(entries.tensors.len());
    let mut end = data_start;
    let mut pads = 0usize;
    for (name, entry) in entries.tensors {
        let Some(element) = Element::from_safetensors(&entry.dtype) else {
            fail!(Tensor, "tensor {name:?} has element type {:?}, which no bundle has", entry.dtype);
        };
        let (from, to) = entry.data_offsets;
        let (Some(from), Some(to)) = (from.checked_add(data_start), to.checked_add(data_start)) else {
            fail!(Placement, "tensor {name:?}: data_offsets [{from}, {to}] overflow");
        };
        if from != end || to < from {
            fail!(
                Placement,
                "tensor {name:?} lies at bytes {from} to {to}, expected to begin at {end}: tensors must follow one another"
            );
        }
        let size = entry.shape.elements().and_then(|n| n.checked_mul(element.bytes()));
        if size != Some(to - from) {
            fail!(Tensor, "tensor {name:?}: {} bytes cannot hold {element:?} {:?}", to - from, entry.shape);
        }
        if let Some(number) = name.strip_prefix("pad.") {
            if number.parse() != Ok(pads) || element != Element::U8 || to - from >= ALIGNMENT {
                fail!(Placement, "tensor {name:?}: padding must be \"pad.{pads}\" of fewer than {ALIGNMENT} U8");
            }
            pads += 1;
        } else if !from.is_multiple_of(ALIGNMENT) {
            fail!(Placement, "tensor {name:?} begins at byte {from}, expected a multiple of {ALIGNMENT}");
        }
        end = to;
        tensors.push(RawTensor { name, element, shape: entry.shape, range: from..to });
    }
    if end > bytes.len() {
        fail!(Size, "the header describes {end} bytes, but the file ends after {}: it is truncated", bytes.len());
    }
    if end < bytes.len() {
        fail!(Size, "the header describes {end} bytes, but the file has {}: something was appended to it", bytes.len());
    }
    Ok(Header { metadata, tensors, data_start })
}
