//! Reads the weights of a BERT classifier out of an ONNX export of transformers or optimum.
//!
//! Exporters of PyTorch keep the names of biases, norms and embeddings, but fold the transposition of a linear's weight into
//! it and call it `onnx::MatMul_1234`. So a linear is found by its bias: the `Add` (or `Gemm`) that reads it, and the weight of
//! the `MatMul` before that. Every operator must be one that such a graph has, and every matrix must have been understood:
//! the first node that does not fit is named.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::f16;
use prost::Message;
use prost::bytes::Bytes;

use super::proto::{EXTERNAL, FLOAT, FLOAT16, Graph, Model, Node, Tensor};
use crate::error::{Error, Result, fail};

/// Tensors by name: shape, and values.
pub(crate) type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What PyTorch's exporters make of BERT, over the versions of operator sets.
const OPERATORS: [&str; 47] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Div",
    "Dropout",
    "Equal",
    "Erf",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "Gemm",
    "GreaterOrEqual",
    "Identity",
    "IsNaN",
    "LayerNormalization",
    "Less",
    "LessOrEqual",
    "MatMul",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Pow",
    "Range",
    "ReduceMean",
    "Reshape",
    "ScatterND",
    "Shape",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];
const WORD: &str = "embeddings.word_embeddings.weight";

/// Reads the tensors of an ONNX file under the names that a Hugging Face folder has for them.
///
/// # Errors
/// [`crate::ErrorKind::Source`], naming the node or tensor that is not BERT's.
pub(crate) fn read(path: &Path) -> Result<Named> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    parse(Bytes::from(bytes)).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
}

pub(crate) fn parse(bytes: Bytes) -> Result<Named> {
    let model = match Model::decode(bytes) {
        Ok(model) => model,
        Err(e) => fail!(Source, "not an ONNX file: {e}"),
    };
    let Some(graph) = model.graph else { fail!(Source, "not an ONNX file: it has no graph") };
    for node in &graph.node {
        let domain = node.domain.as_deref().unwrap_or("");
        let op = node.op_type.as_deref().unwrap_or("");
        if !matches!(domain, "" | "ai.onnx") || !OPERATORS.contains(&op) {
            fail!(
                Source,
                "{} is no part of BERT as transformers and optimum export it; export the f32 model without optimising or \
                 quantising it",
                describe(node)
            );
        }
    }
    Import::new(&graph)?.tensors()
}

fn describe(node: &Node) -> String {
    let domain = node.domain.as_deref().filter(|d| !d.is_empty()).map(|d| format!("{d}.")).unwrap_or_default();
    let (name, op) = (node.name.as_deref().unwrap_or(""), node.op_type.as_deref().unwrap_or("no operator"));
    format!("node {name:?} ({domain}{op})")
}

struct Import<'g> {
    graph: &'g Graph,
    /// Initialisers, constants, and what `Identity` calls them.
    constants: BTreeMap<&'g str, &'g Tensor>,
    /// Which node makes a value.
    makers: HashMap<&'g str, &'g Node>,
    /// What stands before BERT's own names.
    wrapper: &'g str,
}

impl<'g> Import<'g> {
    fn new(graph: &'g Graph) -> Result<Import<'g>> {
        let mut constants: BTreeMap<&str, &Tensor> =
            graph.initializer.iter().map(|t| (t.name.as_deref().unwrap_or(""), t)).collect();
        let mut makers = HashMap::new();
        for node in &graph.node {
            let Some(output) = node.output.first() else { fail!(Source, "{} has no output", describe(node)) };
            makers.insert(output.as_str(), node);
            let constant = match (node.op_type.as_deref(), node.input.first()) {
                // Equal tensors are stored once; the others are the first one's identities.
                (Some("Identity"), Some(input)) => constants.get(input.as_str()).copied(),
                (Some("Constant"), _) => node.attribute.iter().find_map(|a| a.t.as_ref()),
                _ => None,
            };
            if let Some(tensor) = constant {
                constants.insert(output, tensor);
            }
        }
        let Some(word) = constants.keys().find(|name| name.ends_with(WORD)) else {
            fail!(Source, "no initialiser is called \"...{WORD}\": not an export of BERT by transformers or optimum");
        };
        let before = &word[..word.len() - WORD.len()];
        let wrapper = before.strip_suffix("bert.").unwrap_or(before);
        Ok(Import { graph, constants, makers, wrapper })
    }

    fn tensors(&self) -> Result<Named> {
        let mut named = Named::new();
        // Weights of linears, by where they lie in the graph.
        let mut claimed: Vec<&str> = Vec::new();
        for node in &self.graph.node {
            let Some((linear, weight, transposed)) = self.linear(node)? else { continue };
            let (shape, values) = floats(weight, self.constants[weight])?;
            let [rows, columns] = shape[..] else {
                fail!(Source, "{}: its weight {weight:?} is {shape:?}, expected a matrix", describe(node));
            };
            claimed.push(weight);
            let entry = match transposed {
                false => (vec![rows, columns], values),
                true => {
                    let value = |i: usize| values[i % rows * columns + i / rows];
                    (vec![columns, rows], (0..rows * columns).map(value).collect())
                }
            };
            named.insert(format!("{linear}.weight"), entry);
        }
        for (name, tensor) in &self.constants {
            let Some(name) = name.strip_prefix(self.wrapper).filter(|n| n.ends_with(".weight") || n.ends_with(".bias"))
            else {
                continue;
            };
            if !named.contains_key(name) {
                named.insert(name.to_string(), floats(name, tensor)?);
            }
        }
        self.all_understood(&claimed)?;
        Ok(named)
    }

    /// If `node` adds the bias of a linear: the linear's name, its weight's, and whether that is `[inputs, outputs]`.
    fn linear(&self, node: &'g Node) -> Result<Option<(String, &'g str, bool)>> {
        let bias_of = |name: &'g str| {
            let own = name.strip_prefix(self.wrapper)?.strip_suffix(".bias")?;
            (self.constants.contains_key(name) && !own.ends_with("LayerNorm")).then(|| own.to_string())
        };
        let constant = |name: &'g String| self.constants.contains_key(name.as_str());
        let inputs = &node.input;
        match (node.op_type.as_deref(), inputs.as_slice()) {
            (Some("Gemm"), [_, weight, bias]) => {
                let Some(name) = bias_of(bias) else { return Ok(None) };
                let flag = |key: &str| node.attribute.iter().find(|a| a.name.as_deref() == Some(key));
                let plain = |key: &str| flag(key).and_then(|a| a.f).is_none_or(|f| f == 1.0);
                if !constant(weight) || !plain("alpha") || !plain("beta") {
                    fail!(Source, "{} is not a linear with a constant weight", describe(node));
                }
                Ok(Some((name, weight, flag("transB").and_then(|a| a.i) != Some(1))))
            }
            (Some("Add"), [a, b]) => {
                let (name, other) = match (bias_of(a), bias_of(b)) {
                    (Some(name), _) => (name, b),
                    (_, Some(name)) => (name, a),
                    _ => return Ok(None),
                };
                let product = self.makers.get(other.as_str()).filter(|n| n.op_type.as_deref() == Some("MatMul"));
                let Some(weight) = product.and_then(|product| product.input.get(1)) else {
                    fail!(Source, "{} adds {name}.bias to something that is no MatMul", describe(node));
                };
                if constant(weight) {
                    return Ok(Some((name, weight, true)));
                }
                // Newer exporters keep the weight as it is and transpose it in the graph.
                let transpose = self.makers.get(weight.as_str()).filter(|n| n.op_type.as_deref() == Some("Transpose"));
                match transpose.and_then(|n| n.input.first()).filter(|name| constant(name)) {
                    Some(weight) => Ok(Some((name, weight, false))),
                    None => fail!(Source, "{}: the weight of {name} is computed, expected a constant", describe(node)),
                }
            }
            _ => Ok(None),
        }
    }

    /// Every constant matrix must be a linear's weight or have a name of BERT's: another one means that the graph does
    /// something that would be lost.
    fn all_understood(&self, claimed: &[&str]) -> Result<()> {
        for node in &self.graph.node {
            for input in &node.input {
                let Some(tensor) = self.constants.get(input.as_str()) else { continue };
                let large = tensor.dims.iter().filter(|&&d| d > 1).count() >= 2;
                let float = matches!(tensor.data_type, Some(FLOAT | FLOAT16));
                let named = input.ends_with(".weight");
                if large && float && !named && !claimed.contains(&input.as_str()) {
                    fail!(Source, "{} reads the matrix {input:?}, which no linear of BERT is", describe(node));
                }
            }
        }
        Ok(())
    }
}

fn floats(name: &str, tensor: &Tensor) -> Result<(Vec<usize>, Vec<f32>)> {
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |product, &d| product.checked_mul(d)));
    let (Some(shape), Some(count)) = (shape, count) else {
        fail!(Source, "tensor {name:?} has dimensions {:?}", tensor.dims);
    };
    if tensor.data_location == Some(EXTERNAL) {
        fail!(Source, "tensor {name:?} lies in another file; save the model as one file");
    }
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let values: Vec<f32> = match tensor.data_type {
        Some(FLOAT) if raw.is_empty() => tensor.float_data.clone(),
        Some(FLOAT) => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Some(FLOAT16) => raw.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        other => fail!(Source, "tensor {name:?} has ONNX element type {other:?}, expected float (1) or float16 (10)"),
    };
    if values.len() != count {
        fail!(Source, "tensor {name:?}: {} values, expected {count} of {shape:?}", values.len());
    }
    Ok((shape, values))
}
