#![allow(clippy::unwrap_used)]
use prost::Message;
use prost::bytes::Bytes;

use super::import::parse;
use super::proto::{Model, Node};
use crate::common::Source;
use crate::student::Student;
use crate::{ErrorKind, Options, quantize};

/// A classifier's export, decoded, and where it lies.
fn exported(source: &Source) -> (Model, std::path::PathBuf) {
    let path = source.folder.path().join("model.onnx");
    super::export(source.write(), &path).unwrap();
    (Model::decode(std::fs::read(&path).unwrap().as_slice()).unwrap(), path)
}

fn encoded(model: &Model) -> Bytes {
    Bytes::from(model.encode_to_vec())
}

/// Out and in again: the same bundle, byte for byte, but for the time it took.
#[test]
fn what_is_exported_is_imported() {
    let source = Source::student(1);
    let (_, onnx) = exported(&source);
    let bundle = |from: &std::path::Path, name: &str| {
        let output = source.folder.path().join(name);
        quantize(&Options::new(from, &output, attar_bundle::Weights::Int8), &mut |_, _| {}).unwrap();
        std::fs::read(output).unwrap()
    };
    let expected = bundle(source.folder.path(), "safetensors.attar");
    assert_eq!(bundle(&onnx, "file.attar"), expected);
    std::fs::remove_file(source.folder.path().join("model.safetensors")).unwrap();
    assert_eq!(bundle(source.folder.path(), "folder.attar"), expected);
}

#[test]
fn the_graph_has_the_promised_inputs_and_outputs() {
    let (model, _) = exported(&Source::student(2));
    assert_eq!(model.opset_import[0].version, Some(17));
    let graph = model.graph.unwrap();
    let names: Vec<_> = graph.input.iter().map(|i| i.name.clone().unwrap()).collect();
    assert_eq!(names, ["input_ids", "attention_mask", "token_type_ids"]);
    let names: Vec<_> = graph.output.iter().map(|i| i.name.clone().unwrap()).collect();
    assert_eq!(names, ["relevance", "nli"]);
    // Every value is made once, before it is read.
    let mut known: Vec<String> = graph.input.iter().map(|i| i.name.clone().unwrap()).collect();
    known.extend(graph.initializer.iter().map(|t| t.name.clone().unwrap()));
    for node in &graph.node {
        assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
        assert!(!known.contains(&node.output[0]), "{node:?}");
        known.push(node.output[0].clone());
    }
}

/// How other exporters name things: a wrapper before "bert.", weights without names, equal tensors as identities.
#[test]
fn exporters_names_are_understood() {
    let (mut model, path) = exported(&Source::student(1));
    let expected = parse(encoded(&model)).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let rename = |name: &mut String| {
        if let Some(linear) = name.strip_suffix(".weight_transposed") {
            *name = format!("onnx::MatMul_{}", linear.len() + linear.bytes().map(usize::from).sum::<usize>());
        } else if name.starts_with("encoder.") || name.starts_with("embeddings.") || name.starts_with("pooler.") {
            *name = format!("model.bert.{name}");
        } else if name.starts_with("heads.") {
            *name = format!("model.{name}");
        }
    };
    graph.initializer.iter_mut().for_each(|t| rename(t.name.as_mut().unwrap()));
    graph.node.iter_mut().flat_map(|n| &mut n.input).for_each(rename);
    let bias = "model.bert.encoder.layer.1.output.dense.bias";
    let tensor = graph.initializer.iter_mut().find(|t| t.name.as_deref() == Some(bias)).unwrap();
    tensor.name = Some("shared".into());
    let identity = Node {
        input: vec!["shared".into()],
        output: vec![bias.into()],
        op_type: Some("Identity".into()),
        ..Node::default()
    };
    graph.node.insert(0, identity);
    let found = parse(encoded(&model)).unwrap();
    for (name, tensor) in &expected {
        let place = if name.starts_with("heads.") { name.clone() } else { format!("bert.{name}") };
        assert_eq!(found.get(&place), Some(tensor), "{name}");
    }
    drop(path);
}

#[test]
fn what_is_no_bert_is_named() {
    let (good, _) = exported(&Source::student(1));
    let refused = |change: &dyn Fn(&mut Model)| {
        let mut model = good.clone();
        change(&mut model);
        let error = parse(encoded(&model)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        error.to_string()
    };
    let fused = refused(&|m| {
        let node = &mut m.graph.as_mut().unwrap().node[20];
        (node.domain, node.op_type) = (Some("com.microsoft".into()), Some("Attention".into()));
    });
    assert!(fused.contains("(com.microsoft.Attention)") && fused.contains("_20"), "{fused}");
    let quantised = refused(&|m| m.graph.as_mut().unwrap().node[9].op_type = Some("MatMulInteger".into()));
    assert!(quantised.contains("(MatMulInteger)"), "{quantised}");
    let unnamed = refused(&|m| {
        let graph = m.graph.as_mut().unwrap();
        graph.initializer.iter_mut().for_each(|t| t.name = t.name.as_ref().map(|n| n.replace("word_embeddings", "x")));
    });
    assert!(unnamed.contains("word_embeddings"), "{unnamed}");
    let strange = refused(&|m| {
        let graph = m.graph.as_mut().unwrap();
        let from = "encoder.layer.1.intermediate.dense.bias".to_string();
        graph.initializer.iter_mut().filter(|t| t.name.as_ref() == Some(&from)).for_each(|t| t.name = Some("b".into()));
        graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| **i == from).for_each(|i| *i = "b".into());
    });
    assert!(strange.contains("encoder.layer.1.intermediate.dense.weight_transposed"), "{strange}");
    let short = refused(&|m| {
        let tensor = &mut m.graph.as_mut().unwrap().initializer[12];
        tensor.raw_data = tensor.raw_data.as_ref().map(|data| data.slice(4..));
    });
    assert!(short.contains("values, expected"), "{short}");
    assert!(parse(Bytes::from_static(b"no protobuf")).unwrap_err().to_string().contains("not an ONNX file"));
    assert!(parse(Bytes::new()).unwrap_err().to_string().contains("no graph"));
}

/// A graph that lacks a layer's tensors is refused by name, as a folder is.
#[test]
fn a_missing_linear_is_named() {
    let source = Source::student(1);
    let (mut model, path) = exported(&source);
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.retain(|t| t.name.as_deref() != Some("embeddings.LayerNorm.bias"));
    std::fs::write(&path, encoded(&model)).unwrap();
    let error = Student::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tensor);
    assert!(error.to_string().contains("\"embeddings.LayerNorm.bias\" is missing"), "{error}");
}
