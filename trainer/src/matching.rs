//! Matching a teacher's insides: self-attention relations and hidden states.

use std::path::Path;

use attar_nn::{
    Batch, Capture, Encoded, Encoder, EncoderKind, LayerState, Layers, Mode, Parameter, Parameters, Student,
};
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::data::vocabulary;
use crate::error::{Error, ErrorKind, Result};

/// `[stage1.match]` or `[stage2.match]`: what the student's last layer learns of a layer of a teacher, besides the answers.
///
/// The teacher runs beside the student on the same tokens, without a graph, which costs a forward pass of it each step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// A classifier or sentence encoder of `[[teachers]]`: a BERT with the student's vocabulary, of any width and depth.
    pub teacher: String,
    /// The teacher's layer, counted from 1; absent for its last. MiniLMv2 takes an upper middle one of large teachers.
    #[serde(default)]
    pub layer: Option<usize>,
    /// Weight of the self-attention relations (MiniLMv2, Wang et al. 2021): the mean over query-query, key-key and
    /// value-value relations; 0 for none.
    #[serde(default)]
    pub relations: f64,
    /// Relation heads; divides both widths.
    #[serde(default = "twelve")]
    pub relation_heads: usize,
    /// Weight of the hidden states (TinyBERT, Jiao et al. 2020), through a learned projection that is thrown away after
    /// training; 0 for none.
    #[serde(default)]
    pub hidden: f64,
}

fn twelve() -> usize {
    12
}

impl MatchConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// A configuration error that names the field, the range and the value.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("match.relations", self.relations), ("match.hidden", self.hidden)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(format!("{name} = {value}, expected 0 or more")));
            }
        }
        if self.relations == 0.0 && self.hidden == 0.0 {
            return Err(Error::config(
                "match: neither relations nor hidden has a weight above 0; give one, or take it out",
            ));
        }
        if self.relation_heads == 0 || self.layer == Some(0) {
            return Err(Error::config("match: relation_heads and layer are counted from 1"));
        }
        Ok(())
    }
}

/// The name of the projection's parameter in checkpoints; no student folder has it.
const PROJECTION: &str = "match.projection.weight";

/// A teacher whose insides a student matches.
pub struct Matcher {
    config: MatchConfig,
    teacher: Encoder,
    /// Counted from 0.
    layer: usize,
    /// `[teacher's width, student's width]`.
    projection: Option<Parameter>,
}

impl Matcher {
    /// Loads the teacher's encoder up to the layer that is matched, and makes the projection.
    ///
    /// # Errors
    /// A configuration error when the teacher tokenises otherwise, has no such layer, or its width and the student's are no
    /// multiples of the relation heads; a model error when the folder cannot be read.
    pub fn load(
        config: &MatchConfig,
        folder: &Path,
        tokenizer: &Path,
        student: &Student,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        let refuse = |reason: String| Err(Error::config(format!("match: teacher {:?}: {reason}", config.teacher)));
        let shape = attar_nn::EncoderConfig::load(&folder.join("config.json"))?;
        if shape.kind != EncoderKind::Bert {
            return refuse(
                "is an MPNet, whose ids are BERT's plus 4 and whose pairs have other separators: its states belong to other \
                 tokens than the student's; choose a BERT with the student's vocabulary, or use its soft labels only"
                    .to_owned(),
            );
        }
        if !same_vocabulary(&folder.join("tokenizer.json"), tokenizer)? {
            return refuse(format!(
                "its vocabulary differs from {}, so that its states belong to other tokens than the student's",
                tokenizer.display()
            ));
        }
        let layers = config.layer.unwrap_or(shape.layers);
        if layers > shape.layers {
            return refuse(format!("layer {layers}, but it has {}", shape.layers));
        }
        let width = student.encoder().config().hidden;
        if config.relations > 0.0
            && !(shape.hidden.is_multiple_of(config.relation_heads) && width.is_multiple_of(config.relation_heads))
        {
            return refuse(format!(
                "relation_heads = {} must divide its width of {} and the student's of {width}",
                config.relation_heads, shape.hidden
            ));
        }
        // What lies above the matched layer need not be computed.
        let mut teacher = Encoder::load(folder, &Layers::First(layers), device)?;
        teacher.set_precision(student.encoder().precision());
        let projection = match config.hidden > 0.0 {
            true => Some(projection(shape.hidden, width, seed, device)?),
            false => None,
        };
        Ok(Self { config: config.clone(), teacher, layer: layers - 1, projection })
    }

    /// The student's parameters and the projection's: what is trained and kept in checkpoints.
    ///
    /// # Errors
    /// Never in practice: no student has a parameter of the projection's name.
    pub fn parameters(&self, student: &Student) -> Result<Parameters> {
        let mut parameters = student.parameters().clone();
        if let Some(projection) = &self.projection {
            parameters.push(projection.clone())?;
        }
        Ok(parameters)
    }

    /// What the student's forward pass must keep.
    pub fn capture(&self) -> Capture {
        Capture { hidden_states: self.config.hidden > 0.0, projections: self.config.relations > 0.0 }
    }

    /// The weighted distance of the student's last layer from the teacher's, a scalar: the mean over the batch's rows.
    ///
    /// # Errors
    /// A model error where a tensor operation fails.
    pub fn loss(&self, student: &Encoded, batch: &Batch) -> Result<Tensor> {
        let of_teacher = self.teacher.encode(batch, Mode::Eval, self.capture())?;
        let missing = || Error::new(ErrorKind::Model, "match: the forward pass kept no layer states");
        let (mine, theirs) =
            (student.layers.last().ok_or_else(missing)?, of_teacher.layers.get(self.layer).ok_or_else(missing)?);
        let mut total: Option<Tensor> = None;
        let mut add = |term: Tensor, weight: f64| -> Result<()> {
            let term = (term * weight)?;
            total = Some(match total.take() {
                Some(sum) => (sum + term)?,
                None => term,
            });
            Ok(())
        };
        if self.config.relations > 0.0 {
            let kinds: [fn(&LayerState) -> &Option<Tensor>; 3] = [|s| &s.query, |s| &s.key, |s| &s.value];
            for of in kinds {
                let (mine, theirs) = (of(mine).as_ref().ok_or_else(missing)?, of(theirs).as_ref().ok_or_else(missing)?);
                let heads = self.config.relation_heads;
                let distance = attar_nn::loss::attention_relations(mine, theirs, heads, &batch.lengths)?;
                add(distance, self.config.relations / kinds.len() as f64)?;
            }
        }
        if let Some(projection) = &self.projection {
            let (mine, theirs) =
                (mine.hidden.as_ref().ok_or_else(missing)?, theirs.hidden.as_ref().ok_or_else(missing)?);
            let projection = Some(projection.var.as_tensor());
            let distance = attar_nn::loss::hidden_states(mine, theirs, projection, &batch.lengths)?;
            add(distance, self.config.hidden)?;
        }
        total.ok_or_else(missing)
    }
}

/// The identity where the widths are equal, so that matching begins with what is there; else random rows of length about 1.
fn projection(rows: usize, columns: usize, seed: u64, device: &Device) -> Result<Parameter> {
    let value = if rows == columns {
        Tensor::eye(rows, candle_core::DType::F32, device)?
    } else {
        let mut random = crate::random::Random::new(&[seed, 0x6d61_7463_6800]);
        let unit = 3f32.sqrt() / (columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| ((random.next_u64() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * unit)
            .collect();
        Tensor::from_vec(values, (rows, columns), device)?
    };
    Ok(Parameter { name: PROJECTION.to_owned(), var: Var::from_tensor(&value)?, decay: true, fresh: true })
}

/// Whether two `tokenizer.json` give the same tokens the same ids.
fn same_vocabulary(a: &Path, b: &Path) -> Result<bool> {
    Ok(vocabulary(a, true)? == vocabulary(b, true)?)
}

#[cfg(test)]
mod tests;
