//! A bundle and the kernels' views of it, in one value that can be shared.

use attar_bundle::{EmbeddingRows, Layout, LinearName, LinearWeights, NormName, View};
use attar_kernels::{Dense, Embeddings, EncoderLayer, Linear, LinearF16, LinearF32, LinearI8, Norm, Table};
use attar_tokenizer::{Config, Tokenizer, Vocabulary};
use self_cell::self_cell;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::Memory;

/// What the views borrow from.
pub(crate) struct Bundle {
    pub(crate) memory: Memory,
    pub(crate) layout: Layout,
    tokenizer: Config,
}

/// Views of the bundle's bytes, each checked once, here.
pub(crate) struct Parts<'a> {
    pub(crate) tokenizer: Tokenizer<'a>,
    pub(crate) embeddings: Embeddings<'a>,
    pub(crate) layers: Vec<EncoderLayer<'a>>,
    pub(crate) pooler: Linear<'a>,
    /// By head, copy and layer.
    pub(crate) heads: Vec<Vec<Vec<Dense<'a>>>>,
}

self_cell!(
    /// A bundle with its views; no weight is copied.
    pub(crate) struct Network {
        owner: Bundle,
        #[covariant]
        dependent: Parts,
    }
);

impl Network {
    pub(crate) fn open(memory: Memory) -> Result<Network> {
        let layout = Layout::parse(memory.bytes())?;
        let memory = memory.aligned();
        let t = layout.tokenizer();
        let max_word_chars = u32::try_from(t.max_word_chars)
            .map_err(|_| Error::new(ErrorKind::Bundle, "attar.tokenizer: \"max_word_chars\" does not fit 32 bits"))?;
        let tokenizer = Config {
            lowercase: t.lowercase,
            strip_accents: t.strip_accents,
            clean_text: true,
            chinese_characters: t.chinese_characters,
            max_word_chars,
            unk: t.unk,
            cls: t.cls,
            sep: t.sep,
            pad: t.pad,
            continuation: t.continuation.clone(),
        };
        Network::try_new(Bundle { memory, layout, tokenizer }, |bundle| Parts::new(bundle))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.borrow_owner().layout
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.borrow_owner().memory
    }

    pub(crate) fn parts(&self) -> &Parts<'_> {
        self.borrow_dependent()
    }
}

fn bad(what: &str) -> impl Fn(attar_kernels::Error) -> Error + '_ {
    move |e| Error::with_source(ErrorKind::Bundle, format!("{what}: {e}; re-run attar-quantize"), e)
}

fn linear<'a>(view: &View<'a>, name: LinearName) -> Result<Linear<'a>> {
    let l = view.linear(name);
    let made = match l.weights {
        LinearWeights::Int8 { weight, scales, sums } => {
            LinearI8::new(weight, scales, sums, l.bias, l.outputs, l.inputs).map(Linear::I8)
        }
        LinearWeights::F16(weight) => LinearF16::new(weight, l.bias, l.outputs, l.inputs).map(Linear::F16),
        LinearWeights::F32(weight) => LinearF32::new(weight, l.bias, l.outputs, l.inputs).map(Linear::F32),
    };
    made.map_err(bad(&name.prefix()))
}

fn norm<'a>(view: &View<'a>, name: NormName) -> Result<Norm<'a>> {
    let n = view.norm(name);
    Norm::new(n.weight, n.bias).map_err(bad(&name.prefix()))
}

fn table(rows: EmbeddingRows<'_>) -> Table<'_> {
    match rows {
        EmbeddingRows::Int4 { data, scales } => Table::I4 { values: data, scales },
        EmbeddingRows::Int8 { data, scales } => Table::I8 { values: data, scales },
        EmbeddingRows::F16(values) => Table::F16(values),
        EmbeddingRows::F32(values) => Table::F32(values),
    }
}

impl<'a> Parts<'a> {
    fn new(bundle: &'a Bundle) -> Result<Parts<'a>> {
        let layout = &bundle.layout;
        let a = layout.architecture();
        let view = layout.view(bundle.memory.bytes())?;
        let v = view.vocabulary();
        let tokenizer = Vocabulary::new(v.bytes, v.offsets, v.table)
            .and_then(|vocabulary| Tokenizer::new(vocabulary, &bundle.tokenizer))
            .map_err(|e| Error::with_source(ErrorKind::Bundle, e.to_string(), e))?;
        let e = view.embedding();
        let word = table(e.word);
        let embeddings = Embeddings::new(
            word,
            table(e.position),
            e.token_type,
            norm(&view, NormName::Embeddings)?,
            a.layer_norm_eps,
        )
        .map_err(bad("embeddings"))?;
        let layer = |i: usize| {
            EncoderLayer::new(
                linear(&view, LinearName::Qkv(i))?,
                linear(&view, LinearName::AttentionOutput(i))?,
                norm(&view, NormName::Attention(i))?,
                linear(&view, LinearName::FfnUp(i))?,
                linear(&view, LinearName::FfnDown(i))?,
                norm(&view, NormName::Output(i))?,
                a.heads,
                a.layer_norm_eps,
            )
            .map_err(bad(&format!("layer.{i}")))
        };
        let layers = (0..a.layers).map(layer).collect::<Result<_>>()?;
        let head = |(i, head): (usize, &attar_bundle::Head)| -> Result<Vec<Vec<Dense<'a>>>> {
            let copies = view.head(i).copies;
            let dense = |l: &attar_bundle::HeadLayer<'a>| {
                Dense::new(l.weight, l.bias, l.outputs, l.inputs).map_err(bad(&format!("head.{}", head.name)))
            };
            copies.iter().map(|copy| copy.iter().map(dense).collect()).collect()
        };
        let heads = layout.heads().iter().enumerate().map(head).collect::<Result<_>>()?;
        Ok(Parts { tokenizer, embeddings, layers, pooler: linear(&view, LinearName::Pooler)?, heads })
    }
}
