//! BERT and MPNet encoders.

mod names;
mod relative;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{D, DType, Device, Tensor};

use crate::config::EncoderKind;
use crate::head::value;
use crate::ops::{self, AttentionSpec, DropoutKeys, LayerSpec, LayerTensors, ScoreBias};
use crate::parameters::{Parameter, Parameters, Source, Start, load_tensors};
use crate::{Batch, EncoderConfig, Error, Mode, Precision, Result};

/// Which layers of a pretrained encoder to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layers {
    /// All of them.
    All,
    /// The first k.
    First(usize),
    /// These, counted from 0, in this order.
    Chosen(Vec<usize>),
}

impl Layers {
    /// The kept layers of an encoder that has `available`, in order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for none, or one that the encoder does not have.
    pub fn resolve(&self, available: usize) -> Result<Vec<usize>> {
        let chosen: Vec<usize> = match self {
            Self::All => (0..available).collect(),
            Self::First(k) => (0..*k).collect(),
            Self::Chosen(list) => list.clone(),
        };
        if chosen.is_empty() || chosen.iter().any(|&i| i >= available) {
            return Err(Error::argument(format!(
                "layers {self:?} of an encoder with {available}: expected at least one, all within it"
            )));
        }
        Ok(chosen)
    }
}

/// What [`Encoder::encode`] keeps beside the last hidden state, for matching a teacher's insides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capture {
    /// Keep each layer's output.
    pub hidden_states: bool,
    /// Keep each layer's queries, keys and values.
    pub projections: bool,
}

/// One layer's captured tensors, each `[b, s, h]`.
#[derive(Debug, Clone, Default)]
pub struct LayerState {
    /// The layer's output.
    pub hidden: Option<Tensor>,
    /// Its queries, heads side by side.
    pub query: Option<Tensor>,
    /// Its keys.
    pub key: Option<Tensor>,
    /// Its values.
    pub value: Option<Tensor>,
}

/// The result of [`Encoder::encode`].
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The last layer's output, `[b, s, h]`; positions beyond a sequence's length are meaningless.
    pub hidden: Tensor,
    /// The embeddings' output where hidden states were asked for.
    pub embedded: Option<Tensor>,
    /// What was captured of each layer.
    pub layers: Vec<LayerState>,
}

#[derive(Debug, Clone)]
struct Dense {
    weight: Parameter,
    bias: Parameter,
}

impl Dense {
    fn apply(&self, x: &Tensor, track: bool) -> Result<Tensor> {
        ops::linear(x, &value(&self.weight, track), &value(&self.bias, track))
    }
}

#[derive(Debug, Clone)]
struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    attention_output: Dense,
    attention_norm: Dense,
    up: Dense,
    down: Dense,
    output_norm: Dense,
}

/// A trainable encoder.
#[derive(Debug, Clone)]
pub struct Encoder {
    config: EncoderConfig,
    word: Parameter,
    position: Parameter,
    types: Option<Parameter>,
    norm: Dense,
    relative: Option<Parameter>,
    layers: Vec<Layer>,
    pooler: Dense,
    precision: Precision,
    /// The embeddings and this many of the first layers stay as they are.
    frozen: usize,
    /// Whether linears' inputs are rounded; clones share it, as they share the parameters.
    round_activations: Arc<AtomicBool>,
}

impl Encoder {
    /// A fresh encoder; `seed` determines every weight.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Format`] for a configuration that does not fit itself.
    pub fn new(config: &EncoderConfig, seed: u64, device: &Device) -> Result<Self> {
        config.check()?;
        let source = Source { tensors: None, origin: Path::new(""), prefixes: &[], seed, device };
        Self::build(config.clone(), &(0..config.layers).collect::<Vec<_>>(), &source)
    }

    /// Reads a Hugging Face folder (config.json, model.safetensors), with or without a `bert.` or `mpnet.` prefix before
    /// tensor names. A pooler that the file lacks is initialised from a fixed seed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] for a missing file, [`crate::ErrorKind::Format`] for another architecture or tensors that do
    /// not fit, [`crate::ErrorKind::Argument`] for layers that the encoder does not have.
    pub fn load(folder: &Path, layers: &Layers, device: &Device) -> Result<Self> {
        let config = EncoderConfig::load(&folder.join("config.json"))?;
        let weights = folder.join("model.safetensors");
        let tensors = load_tensors(&weights)?;
        let source =
            Source { tensors: Some(&tensors), origin: &weights, prefixes: &["bert.", "mpnet."], seed: 0, device };
        Self::from_source(config, layers, &source)
    }

    pub(crate) fn from_source(mut config: EncoderConfig, layers: &Layers, source: &Source<'_>) -> Result<Self> {
        let chosen = layers.resolve(config.layers)?;
        config.layers = chosen.len();
        Self::build(config, &chosen, source)
    }

    /// Layer i of the result is layer `chosen[i]` of the source.
    fn build(config: EncoderConfig, chosen: &[usize], source: &Source<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden, config.intermediate);
        let normal = Start::Normal(config.initializer_range as f32);
        let dense = |name: &str, stored: &str, outputs: usize, inputs: usize, optional: bool| -> Result<Dense> {
            let make = |end: &str, shape: &[usize], start| {
                source.make(&format!("{name}.{end}"), &format!("{stored}.{end}"), shape, start, optional)
            };
            Ok(Dense {
                weight: make("weight", &[outputs, inputs], normal)?,
                bias: make("bias", &[outputs], Start::Zeros)?,
            })
        };
        let norm = |name: &str, stored: &str| -> Result<Dense> {
            let make = |end: &str, start| {
                source.make(&format!("{name}.{end}"), &format!("{stored}.{end}"), hidden, start, false)
            };
            Ok(Dense { weight: make("weight", Start::Ones)?, bias: make("bias", Start::Zeros)? })
        };
        let table = |name: &str, rows: usize, width: usize| source.make(name, name, (rows, width), normal, false);
        let mut layers = Vec::with_capacity(chosen.len());
        for (i, &from) in chosen.iter().enumerate() {
            let n = names::layer(config.kind, i);
            let s = names::layer(config.kind, from);
            layers.push(Layer {
                query: dense(&n.query, &s.query, hidden, hidden, false)?,
                key: dense(&n.key, &s.key, hidden, hidden, false)?,
                value: dense(&n.value, &s.value, hidden, hidden, false)?,
                attention_output: dense(&n.attention_output, &s.attention_output, hidden, hidden, false)?,
                attention_norm: norm(&n.attention_norm, &s.attention_norm)?,
                up: dense(&n.up, &s.up, inner, hidden, false)?,
                down: dense(&n.down, &s.down, hidden, inner, false)?,
                output_norm: norm(&n.output_norm, &s.output_norm)?,
            });
        }
        let types = match config.types {
            0 => None,
            types => Some(table("embeddings.token_type_embeddings.weight", types, hidden)?),
        };
        let relative = match config.kind {
            EncoderKind::Bert => None,
            EncoderKind::MpNet => {
                Some(table("encoder.relative_attention_bias.weight", config.relative_buckets, config.heads)?)
            }
        };
        Ok(Self {
            word: table("embeddings.word_embeddings.weight", config.vocabulary, hidden)?,
            position: table("embeddings.position_embeddings.weight", config.positions, hidden)?,
            types,
            norm: norm("embeddings.LayerNorm", "embeddings.LayerNorm")?,
            relative,
            layers,
            pooler: dense("pooler.dense", "pooler.dense", hidden, hidden, !source.has("pooler.dense.weight"))?,
            round_activations: Arc::default(),
            config,
            precision: Precision::F32,
            frozen: 0,
        })
    }

    /// Sets what the layers compute in; f32 at first.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// What the layers compute in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Keeps the embeddings and the first `layers` layers as they are from now on: nothing of theirs is in a graph, so that a
    /// training pass costs the frozen layers a third. 0 trains everything. (Lee et al. 2019, "What would Elsa do?", find 90 % of
    /// what fine-tuning gains in the last quarter of BERT's layers.)
    pub fn freeze(&mut self, layers: usize) {
        self.frozen = layers;
    }

    /// The shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Rounds the input of every linear to int8 and back from now on, or no longer (see [`ops::round_activations`]).
    pub(crate) fn set_round_activations(&self, on: bool) {
        self.round_activations.store(on, Ordering::Relaxed);
    }

    /// The parameters that an int8 runtime rounds: weights of the linears, word and position embeddings.
    pub(crate) fn rounded_parameters(&self) -> Vec<&Parameter> {
        let linears =
            self.layers.iter().flat_map(|l| [&l.query, &l.key, &l.value, &l.attention_output, &l.up, &l.down]);
        let weights = linears.chain([&self.pooler]).map(|dense| &dense.weight);
        [&self.word, &self.position].into_iter().chain(weights).collect()
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        self.word.var.device()
    }

    /// All parameters, the pooler's last; they share their storage with the encoder.
    ///
    /// # Errors
    /// Never in practice: the names are unique.
    pub fn parameters(&self) -> Result<Parameters> {
        let mut all = Parameters::default();
        let mut push = |p: &Parameter| all.push(p.clone());
        push(&self.word)?;
        push(&self.position)?;
        self.types.iter().try_for_each(&mut push)?;
        let mut push_dense = |d: &Dense| {
            push(&d.weight)?;
            push(&d.bias)
        };
        push_dense(&self.norm)?;
        for l in &self.layers {
            for d in
                [&l.query, &l.key, &l.value, &l.attention_output, &l.attention_norm, &l.up, &l.down, &l.output_norm]
            {
                push_dense(d)?;
            }
        }
        push_dense(&self.pooler)?;
        self.relative.iter().try_for_each(|p| all.push(p.clone()))?;
        Ok(all)
    }

    /// The last hidden state, `[b, s, h]`; positions beyond a sequence's length are meaningless.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] for a batch that is malformed or longer than the position table.
    pub fn forward(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        Ok(self.encode(batch, mode, Capture::default())?.hidden)
    }

    /// As [`Encoder::forward`], with what `capture` asks for.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn encode(&self, batch: &Batch, mode: Mode, capture: Capture) -> Result<Encoded> {
        self.run(batch, mode, capture, false)
    }

    /// The pooled vector `[b, h]` of a batch: `pooled(forward(batch))`, but the last layer computes only what `[CLS]` needs,
    /// about a sixth of the work of six layers less.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn pool(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let encoded = self.run(batch, mode, Capture::default(), true)?;
        self.pooled_from(&encoded.hidden, mode)
    }

    /// BERT's pooler, `tanh(W hidden[CLS] + b)`: hidden `[b, s, h]`, result `[b, h]`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] for another shape.
    pub fn pooled(&self, hidden: &Tensor) -> Result<Tensor> {
        // Follows the graph of its argument: an Eval pass stays without one.
        let mode = if hidden.track_op() { Mode::Train { seed: 0 } } else { Mode::Eval };
        self.pooled_from(hidden, mode)
    }

    fn pooled_from(&self, hidden: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut first = hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        if self.round_activations.load(Ordering::Relaxed) {
            first = ops::round_activations(&first)?;
        }
        Ok(self.pooler.apply(&first, mode != Mode::Eval)?.tanh()?)
    }

    /// Sentence embeddings `[b, h]`: the mean of the hidden states over each sequence's tokens, of length 1. No graph.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn embed(&self, batch: &Batch) -> Result<Tensor> {
        let hidden = self.forward(batch, Mode::Eval)?;
        let (rows, seq, _) = hidden.dims3()?;
        let weights: Vec<f32> = batch
            .lengths
            .iter()
            .flat_map(|&n| (0..seq).map(move |i| if i < n { 1.0 / n as f32 } else { 0.0 }))
            .collect();
        let weights = Tensor::from_vec(weights, (rows, 1, seq), hidden.device())?;
        let mean = weights.matmul(&hidden)?.squeeze(1)?;
        let norm = mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        Ok(mean.broadcast_div(&norm)?)
    }

    /// `first_only`: compute only the first token's row of the last layer.
    fn run(&self, batch: &Batch, mode: Mode, capture: Capture, first_only: bool) -> Result<Encoded> {
        let (_, seq) = batch.check()?;
        let most = self.config.max_tokens();
        if seq > most && batch.lengths.iter().all(|&n| n <= most) {
            // A GPU's batch is padded to a multiple of 8: only padding lies beyond the table.
            let cut = |t: &Tensor| t.narrow(1, 0, most)?.contiguous();
            let cut = Batch { ids: cut(&batch.ids)?, types: cut(&batch.types)?, lengths: batch.lengths.clone() };
            return self.run(&cut, mode, capture, first_only);
        }
        if seq > most {
            return Err(Error::argument(format!(
                "batch of {seq} tokens, expected at most {most}: the position table ends there; truncate the input"
            )));
        }
        let track = mode != Mode::Eval;
        let keys = DropoutKeys::new(mode, 0);
        let track_embeddings = track && self.frozen == 0;
        let mut hidden =
            self.embeddings(batch, track_embeddings, &keys)?.to_dtype(self.precision.dtype(self.device()))?;
        let embedded = capture.hidden_states.then(|| hidden.clone());
        let bias = match &self.relative {
            Some(table) => Some(relative::bias(&value(table, track_embeddings), seq, self.config.relative_buckets)?),
            None => None,
        };
        let mut states = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let first_only = first_only && i + 1 == self.layers.len();
            let track = track && i >= self.frozen;
            let mut state = LayerState::default();
            hidden = self.layer(layer, &hidden, bias.as_ref(), batch, track, &keys, capture, first_only, &mut state)?;
            if capture.hidden_states {
                state.hidden = Some(hidden.clone());
            }
            if capture != Capture::default() {
                states.push(state);
            }
        }
        Ok(Encoded { hidden: hidden.to_dtype(DType::F32)?, embedded, layers: states })
    }

    fn embeddings(&self, batch: &Batch, track: bool, keys: &DropoutKeys) -> Result<Tensor> {
        let (word, position) = (value(&self.word, track), value(&self.position, track));
        let types = self.types.as_ref().map(|t| value(t, track));
        let tables = ops::EmbeddingTables {
            word: &word,
            position: &position,
            types: types.as_ref(),
            first_position: self.config.first_position(),
        };
        let sum = ops::embeddings(&tables, &batch.ids, &batch.types)?;
        let normed = ops::layer_norm(
            &sum,
            &value(&self.norm.weight, track),
            &value(&self.norm.bias, track),
            self.config.layer_norm_eps,
        )?;
        ops::dropout(&normed, keys.next(self.config.hidden_dropout))
    }

    #[allow(clippy::too_many_arguments)]
    fn layer(
        &self,
        layer: &Layer,
        x: &Tensor,
        bias: Option<&ScoreBias>,
        batch: &Batch,
        track: bool,
        keys: &DropoutKeys,
        capture: Capture,
        first_only: bool,
        state: &mut LayerState,
    ) -> Result<Tensor> {
        let pair = |d: &Dense| (value(&d.weight, track), value(&d.bias, track));
        let tensors = LayerTensors {
            query: pair(&layer.query),
            key: pair(&layer.key),
            value: pair(&layer.value),
            attention_output: pair(&layer.attention_output),
            attention_norm: pair(&layer.attention_norm),
            up: pair(&layer.up),
            down: pair(&layer.down),
            output_norm: pair(&layer.output_norm),
        };
        let spec = LayerSpec {
            attention: AttentionSpec {
                heads: self.config.heads,
                lengths: batch.lengths.clone(),
                dropout: keys.next(self.config.attention_dropout),
            },
            attention_dropout: keys.next(self.config.hidden_dropout),
            output_dropout: keys.next(self.config.hidden_dropout),
            layer_norm_eps: self.config.layer_norm_eps,
            first_only,
            round_activations: self.round_activations.load(Ordering::Relaxed),
            precision: self.precision,
        };
        let (hidden, projections) = ops::encoder_layer(x, &tensors, bias, &spec, capture.projections)?;
        if let Some([query, key, value]) = projections {
            (state.query, state.key, state.value) = (Some(query), Some(key), Some(value));
        }
        Ok(hidden)
    }
}

#[cfg(test)]
pub(crate) mod tests;
