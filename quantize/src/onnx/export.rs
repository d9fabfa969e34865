//! The f32 student as an ONNX graph, opset 17.

use std::io::Write;
use std::path::{Path, PathBuf};

use attar_bundle::{AtomicFile, NormName};
use prost::Message;
use prost::bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, FLOAT, Graph, INT64, Model, Node,
    OperatorSet, Property, Shape, Tensor, TensorType, Type, ValueInfo,
};
use crate::error::{Error, Result};
use crate::student::Student;

/// ONNX operator set of the exported graph: the first with LayerNormalization.
pub(crate) const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// What was exported.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The file.
    pub output: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its operator set.
    pub opset: i64,
    /// Its outputs, one a head: f32 `[batch, labels]`, logits that are not divided by the head's temperature.
    pub outputs: Vec<String>,
}

/// Writes the student at `source` as an ONNX file.
///
/// Inputs `input_ids`, `attention_mask` and `token_type_ids` are i64 `[batch, tokens]`, both dynamic; `tokens` is at most the
/// student's positions. Outputs are the heads by name. The heads' labels and temperatures stand in the file's metadata.
///
/// # Errors
/// As [`crate::quantize`].
pub fn export(source: &Path, output: &Path) -> Result<ExportReport> {
    crate::keep_source(source, output)?;
    let student = Student::open(source)?;
    let model = model(&student)?;
    let mut file = AtomicFile::create(output)?;
    let bytes = model.encode_to_vec();
    file.write_all(&bytes).map_err(|e| Error::io(file.temporary(), e))?;
    file.commit()?;
    Ok(ExportReport {
        output: output.into(),
        bytes: bytes.len() as u64,
        opset: OPSET,
        outputs: student.heads.iter().map(|head| head.name.clone()).collect(),
    })
}

/// The graph in the making.
struct Builder<'s> {
    student: &'s Student,
    graph: Graph,
}

fn text(value: &str) -> Option<String> {
    Some(value.to_string())
}

fn attribute(name: &str) -> Attribute {
    Attribute { name: text(name), ..Attribute::default() }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute { i: Some(value), r#type: Some(ATTRIBUTE_INT), ..attribute(name) }
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { ints: values.to_vec(), r#type: Some(ATTRIBUTE_INTS), ..attribute(name) }
}

fn value_info(name: &str, kind: i32, dims: [Dimension; 2]) -> ValueInfo {
    let shape = Shape { dim: dims.into() };
    let tensor_type = TensorType { elem_type: Some(kind), shape: Some(shape) };
    ValueInfo { name: text(name), r#type: Some(Type { tensor_type: Some(tensor_type) }) }
}

fn dynamic(name: &str) -> Dimension {
    Dimension { dim_param: text(name), dim_value: None }
}

impl Builder<'_> {
    fn initializer(&mut self, name: &str, kind: i32, dims: &[usize], bytes: Vec<u8>) -> String {
        self.graph.initializer.push(Tensor {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: Some(kind),
            name: text(name),
            raw_data: Some(Bytes::from(bytes)),
            ..Tensor::default()
        });
        name.to_string()
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.initializer(name, FLOAT, dims, bytemuck::cast_slice(values).to_vec())
    }

    fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        self.initializer(name, INT64, dims, bytemuck::cast_slice(values).to_vec())
    }

    /// A node with one output; its name is returned.
    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = format!("{}_{}", op.to_lowercase(), self.graph.node.len());
        self.named(op, inputs, &output, attributes)
    }

    fn named(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|i| i.to_string()).collect(),
            output: vec![output.to_string()],
            name: text(&format!("/{op}_{}", self.graph.node.len())),
            op_type: text(op),
            attribute,
            domain: None,
        });
        output.to_string()
    }

    /// `x W^T + b` of a Hugging Face linear. The weight lies transposed, as exporters of PyTorch have it.
    fn linear(&mut self, x: &str, name: &str, outputs: usize, inputs: usize) -> Result<String> {
        let weight = self.student.tensors.read(&self.student.name(&format!("{name}.weight")))?;
        let bias = self.student.tensors.read(&self.student.name(&format!("{name}.bias")))?;
        let mut transposed = vec![0f32; weight.len()];
        for (n, row) in weight.chunks_exact(inputs).enumerate() {
            row.iter().enumerate().for_each(|(k, &w)| transposed[k * outputs + n] = w);
        }
        let weight = self.floats(&format!("{name}.weight_transposed"), &[inputs, outputs], &transposed);
        let bias = self.floats(&format!("{name}.bias"), &[outputs], &bias);
        let product = self.node("MatMul", &[x, &weight], vec![]);
        Ok(self.node("Add", &[&product, &bias], vec![]))
    }

    fn norm(&mut self, x: &str, norm: NormName) -> Result<String> {
        let [weight, bias] = self.student.norm(norm)?;
        let place = match norm {
            NormName::Embeddings => "embeddings".to_string(),
            NormName::Attention(i) => format!("encoder.layer.{i}.attention.output"),
            NormName::Output(i) => format!("encoder.layer.{i}.output"),
        };
        let names = [("weight", weight), ("bias", bias)]
            .map(|(part, values)| self.floats(&format!("{place}.LayerNorm.{part}"), &[values.len()], &values));
        let eps = Attribute {
            f: Some(self.student.architecture.layer_norm_eps),
            r#type: Some(ATTRIBUTE_FLOAT),
            ..attribute("epsilon")
        };
        Ok(self.node("LayerNormalization", &[x, &names[0], &names[1]], vec![int("axis", -1), eps]))
    }

    /// The embeddings' sum, `[batch, tokens, H]`.
    fn embeddings(&mut self) -> Result<String> {
        let a = &self.student.architecture;
        let (positions, types, hidden) = (a.positions, a.types, a.hidden);
        // All rows, those without a token too: config.json counts them.
        let word = self.student.tensors.read(&self.student.word_name())?;
        let vocabulary = word.len() / hidden;
        let word = self.floats("embeddings.word_embeddings.weight", &[vocabulary, hidden], &word);
        let position = self.student.position_rows()?;
        let position = self.floats("embeddings.position_embeddings.weight", &[positions, hidden], &position);
        let kind = self.student.type_rows()?;
        let kind = self.floats("embeddings.token_type_embeddings.weight", &[types, hidden], &kind);
        let axis = || vec![int("axis", 0)];
        let x = self.node("Gather", &[&word, "input_ids"], axis());
        let y = self.node("Gather", &[&kind, "token_type_ids"], axis());
        let x = self.node("Add", &[&x, &y], vec![]);
        // The first `tokens` rows of the position table.
        let shape = self.node("Shape", &["input_ids"], vec![]);
        let tokens = self.node("Gather", &[&shape, "one_index"], axis());
        let rows = self.node("Slice", &[&position, "zero", &tokens, "zero"], vec![]);
        let x = self.node("Add", &[&x, &rows], vec![]);
        self.norm(&x, NormName::Embeddings)
    }

    fn layer(&mut self, i: usize, x: &str) -> Result<String> {
        let a = &self.student.architecture;
        let (hidden, intermediate) = (a.hidden, a.intermediate);
        let name = |rest: &str| format!("encoder.layer.{i}.{rest}");
        let mut split = Vec::new();
        for (part, order) in [("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])] {
            let y = self.linear(x, &name(&format!("attention.self.{part}")), hidden, hidden)?;
            let y = self.node("Reshape", &[&y, "heads_apart"], vec![]);
            split.push(self.node("Transpose", &[&y], vec![ints("perm", &order)]));
        }
        let scores = self.node("MatMul", &[&split[0], &split[1]], vec![]);
        let scores = self.node("Mul", &[&scores, "attention_factor"], vec![]);
        let scores = self.node("Add", &[&scores, "mask"], vec![]);
        let weights = self.node("Softmax", &[&scores], vec![int("axis", -1)]);
        let context = self.node("MatMul", &[&weights, &split[2]], vec![]);
        let context = self.node("Transpose", &[&context], vec![ints("perm", &[0, 2, 1, 3])]);
        let context = self.node("Reshape", &[&context, "heads_together"], vec![]);
        let y = self.linear(&context, &name("attention.output.dense"), hidden, hidden)?;
        let y = self.node("Add", &[&y, x], vec![]);
        let x = self.norm(&y, NormName::Attention(i))?;
        let h = self.linear(&x, &name("intermediate.dense"), intermediate, hidden)?;
        // GELU(h) = h / 2 (1 + erf(h / sqrt 2))
        let z = self.node("Mul", &[&h, "root_half"], vec![]);
        let z = self.node("Erf", &[&z], vec![]);
        let z = self.node("Add", &[&z, "one"], vec![]);
        let h = self.node("Mul", &[&h, &z], vec![]);
        let h = self.node("Mul", &[&h, "half"], vec![]);
        let y = self.linear(&h, &name("output.dense"), hidden, intermediate)?;
        let y = self.node("Add", &[&y, &x], vec![]);
        self.norm(&y, NormName::Output(i))
    }

    /// Head number `h` over the pooled vectors, an output of the graph.
    fn head(&mut self, h: usize, pooled: &str) {
        let head = self.student.heads[h].clone();
        let mut copies = Vec::new();
        for (c, layers) in self.student.head_layers[h].iter().enumerate() {
            let mut x = pooled.to_string();
            for (l, layer) in layers.iter().enumerate() {
                let name = format!("heads.{}.{c}.{l}", head.name);
                let outputs = layer.bias.len();
                let weight =
                    self.floats(&format!("{name}.weight"), &[outputs, layer.weight.len() / outputs], &layer.weight);
                let bias = self.floats(&format!("{name}.bias"), &[outputs], &layer.bias);
                x = self.node("Gemm", &[&x, &weight, &bias], vec![int("transB", 1)]);
                if l + 1 < layers.len() {
                    x = self.node("Tanh", &[&x], vec![]);
                }
            }
            copies.push(x);
        }
        let inputs: Vec<&str> = copies.iter().map(String::as_str).collect();
        self.named("Mean", &inputs, &head.name, vec![]);
        let labels = Dimension { dim_value: Some(head.labels.len() as i64), dim_param: None };
        self.graph.output.push(value_info(&head.name, FLOAT, [dynamic("batch"), labels]));
    }
}

fn model(student: &Student) -> Result<Model> {
    let a = &student.architecture;
    let mut b = Builder { student, graph: Graph { name: text("attar"), ..Graph::default() } };
    for name in ["input_ids", "attention_mask", "token_type_ids"] {
        b.graph.input.push(value_info(name, INT64, [dynamic("batch"), dynamic("tokens")]));
    }
    let (heads, size) = (a.heads as i64, (a.hidden / a.heads) as i64);
    b.integers("zero", &[1], &[0]);
    b.integers("one_index", &[1], &[1]);
    b.integers("mask_axes", &[2], &[1, 2]);
    b.integers("heads_apart", &[4], &[0, 0, heads, size]);
    b.integers("heads_together", &[3], &[0, 0, a.hidden as i64]);
    b.floats("one", &[], &[1.0]);
    b.floats("half", &[], &[0.5]);
    b.floats("root_half", &[], &[std::f32::consts::FRAC_1_SQRT_2]);
    b.floats("attention_factor", &[], &[1.0 / (size as f32).sqrt()]);
    // Added to the scores of masked tokens; finite, so that a row of nothing but padding is no NaN.
    b.floats("lowest", &[], &[-1e9]);
    let mask = b.node("Cast", &["attention_mask"], vec![int("to", i64::from(FLOAT))]);
    let mask = b.node("Unsqueeze", &[&mask, "mask_axes"], vec![]);
    let mask = b.node("Sub", &["one", &mask], vec![]);
    b.named("Mul", &[&mask, "lowest"], "mask", vec![]);
    let mut x = b.embeddings()?;
    for i in 0..a.layers {
        x = b.layer(i, &x)?;
    }
    b.integers("first", &[], &[0]);
    let first = b.node("Gather", &[&x, "first"], vec![int("axis", 1)]);
    let pooled = b.linear(&first, "pooler.dense", a.hidden, a.hidden)?;
    let pooled = b.node("Tanh", &[&pooled], vec![]);
    for h in 0..student.heads.len() {
        b.head(h, &pooled);
    }
    let property = |key: &str, value: serde_json::Value| Property { key: text(key), value: Some(value.to_string()) };
    Ok(Model {
        ir_version: Some(IR_VERSION),
        producer_name: text("attar-quantize"),
        producer_version: text(env!("CARGO_PKG_VERSION")),
        graph: Some(b.graph),
        opset_import: vec![OperatorSet { domain: text(""), version: Some(OPSET) }],
        metadata_props: vec![
            property("attar.heads", json!(student.heads)),
            property("attar.provenance", serde_json::Value::Object(student.provenance.clone())),
        ],
    })
}
