#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::parameters::save_tensors;
use crate::{ErrorKind, backward};

pub(crate) fn bert() -> EncoderConfig {
    EncoderConfig { positions: 20, ..EncoderConfig::bert(3, 24, 3, 40, 50) }
}

fn mpnet() -> EncoderConfig {
    EncoderConfig { kind: EncoderKind::MpNet, types: 0, pad_id: 1, relative_buckets: 8, layer_norm_eps: 1e-5, ..bert() }
}

pub(crate) fn batch() -> Batch {
    let rows = [(vec![2, 7, 9, 3, 11, 3], vec![0, 0, 0, 0, 1, 1]), (vec![2, 8, 3], vec![0, 0, 0]), (vec![5], vec![1])];
    Batch::new(&rows, 0, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.dims(), b.dims());
    for (a, b) in flat(a).iter().zip(flat(b)) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

#[test]
fn buckets_are_those_of_the_published_code() {
    // transformers 5.23, MPNetEncoder.relative_position_bucket, 32 buckets.
    let distances = [0, 1, -1, 7, -7, 8, -8, 12, -15, 16, -16, 33, 64, -91, 127, 128, -500];
    let expected = [0, 17, 1, 23, 7, 24, 8, 25, 9, 26, 10, 28, 30, 15, 31, 31, 15];
    assert_eq!(distances.map(|d| relative::bucket(d, 32)), expected);
}

#[test]
fn the_first_token_alone_is_what_the_whole_pass_gives() {
    for config in [bert(), mpnet()] {
        let encoder = Encoder::new(&config, 3, &Device::Cpu).unwrap();
        let whole = encoder.pooled(&encoder.forward(&batch(), Mode::Eval).unwrap()).unwrap();
        assert_close(&encoder.pool(&batch(), Mode::Eval).unwrap(), &whole, 1e-6);
    }
}

#[test]
fn padding_changes_nothing() {
    for config in [bert(), mpnet()] {
        let encoder = Encoder::new(&config, 3, &Device::Cpu).unwrap();
        let alone = Batch::new(&[(vec![2, 8, 3], vec![0; 3])], 0, &Device::Cpu).unwrap();
        let hidden = encoder.forward(&batch(), Mode::Eval).unwrap().narrow(0, 1, 1).unwrap().narrow(1, 0, 3).unwrap();
        assert_close(&hidden, &encoder.forward(&alone, Mode::Eval).unwrap(), 1e-6);
        let embeddings = encoder.embed(&batch()).unwrap();
        assert_close(&embeddings.narrow(0, 1, 1).unwrap(), &encoder.embed(&alone).unwrap(), 1e-6);
        for row in embeddings.to_vec2::<f32>().unwrap() {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn capturing_gives_every_layer_and_changes_nothing() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let all = Capture { hidden_states: true, projections: true };
    for mode in [Mode::Eval, Mode::Train { seed: 4 }] {
        let encoded = encoder.encode(&batch(), mode, all).unwrap();
        // Positions of padding are not defined: compare the longest row.
        let row = |t: &Tensor| t.narrow(0, 0, 1).unwrap();
        assert_close(&row(&encoded.hidden), &row(&encoder.forward(&batch(), mode).unwrap()), 1e-5);
        assert_eq!(encoded.layers.len(), 3);
        assert_close(encoded.layers[2].hidden.as_ref().unwrap(), &encoded.hidden, 0.0);
        for layer in &encoded.layers {
            for t in [&layer.query, &layer.key, &layer.value] {
                assert_eq!(t.as_ref().unwrap().dims(), [3, 6, 24]);
            }
        }
        assert_eq!(encoded.embedded.unwrap().dims(), [3, 6, 24]);
    }
}

#[test]
fn dropout_repeats_with_its_seed_and_only_with_it() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let pool = |mode| flat(&encoder.pool(&batch(), mode).unwrap());
    assert_eq!(pool(Mode::Train { seed: 1 }), pool(Mode::Train { seed: 1 }));
    assert_ne!(pool(Mode::Train { seed: 1 }), pool(Mode::Train { seed: 2 }));
    assert_ne!(pool(Mode::Train { seed: 1 }), pool(Mode::Eval));
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let encoder = Encoder::new(&EncoderConfig::bert(2, 64, 2, 256, 60), 3, &Device::Cpu).unwrap();
    let parameters = encoder.parameters().unwrap();
    let rows: Vec<_> = (0..40u32).map(|r| ((0..9).map(|i| (r * 7 + i * 3) % 60).collect(), vec![0; 9])).collect();
    let batch = Batch::new(&rows, 0, &Device::Cpu).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let loss = encoder.pool(&batch, Mode::Train { seed: 9 }).unwrap().sqr().unwrap().mean_all().unwrap();
            let gradients = backward(&loss, &parameters).unwrap();
            (0..parameters.len()).map(|i| gradients.get(i).unwrap().map(|g| flat(&g))).collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert_eq!(one, run(3));
    assert_eq!(one, run(1));
}

#[test]
fn eval_records_no_graph() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let loss = encoder.pool(&batch(), Mode::Eval).unwrap().sum_all().unwrap();
    assert_eq!(backward(&loss, &encoder.parameters().unwrap()).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn mpnet_trains_its_relative_bias() {
    let encoder = Encoder::new(&mpnet(), 3, &Device::Cpu).unwrap();
    let parameters = encoder.parameters().unwrap();
    let loss = encoder.pool(&batch(), Mode::Train { seed: 1 }).unwrap().sqr().unwrap().sum_all().unwrap();
    let gradients = backward(&loss, &parameters).unwrap();
    for (i, p) in parameters.iter().enumerate() {
        let gradient = gradients.get(i).unwrap().unwrap_or_else(|| panic!("{} has no gradient", p.name));
        assert!(flat(&gradient).iter().any(|&g| g != 0.0), "{}: all zero", p.name);
    }
}

/// Writes a Hugging Face folder with a prefix before names, without a pooler, in f16 where asked.
fn write_folder(encoder: &Encoder, folder: &Path, prefix: &str, dtype: DType) {
    std::fs::write(folder.join("config.json"), encoder.config().to_json().to_string()).unwrap();
    let mut tensors: std::collections::HashMap<String, Tensor> = encoder
        .parameters()
        .unwrap()
        .snapshot()
        .unwrap()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("pooler."))
        .map(|(name, t)| (format!("{prefix}{name}"), t.to_dtype(dtype).unwrap()))
        .collect();
    tensors.insert(format!("{prefix}embeddings.position_ids"), Tensor::new(&[0i64, 1], &Device::Cpu).unwrap());
    save_tensors(&tensors, &folder.join("model.safetensors")).unwrap();
}

#[test]
fn folders_load_with_and_without_a_prefix_and_a_pooler() {
    let original = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    for (prefix, dtype, tolerance) in [("", DType::F32, 0.0), ("bert.", DType::F32, 0.0), ("", DType::F16, 5e-3)] {
        let folder = tempfile::tempdir().unwrap();
        write_folder(&original, folder.path(), prefix, dtype);
        let loaded = Encoder::load(folder.path(), &Layers::All, &Device::Cpu).unwrap();
        let hidden = |e: &Encoder| e.forward(&batch(), Mode::Eval).unwrap().narrow(0, 0, 1).unwrap();
        assert_close(&hidden(&loaded), &hidden(&original), tolerance);
    }
}

#[test]
fn chosen_layers_are_the_ones_kept() {
    let original = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original, folder.path(), "", DType::F32);
    let load = |layers: &Layers| Encoder::load(folder.path(), layers, &Device::Cpu);
    let first = load(&Layers::First(2)).unwrap();
    assert_eq!(first.config().layers, 2);
    let states = original.encode(&batch(), Mode::Eval, Capture { hidden_states: true, ..Default::default() }).unwrap();
    let row = |t: &Tensor| t.narrow(0, 0, 1).unwrap();
    assert_close(
        &row(&first.forward(&batch(), Mode::Eval).unwrap()),
        &row(states.layers[1].hidden.as_ref().unwrap()),
        1e-6,
    );

    let chosen = load(&Layers::Chosen(vec![0, 2])).unwrap().parameters().unwrap();
    let value = |p: &Parameters, i: usize| flat(&p.get(&format!("encoder.layer.{i}.output.dense.weight")).unwrap().var);
    let all = original.parameters().unwrap();
    assert_eq!((value(&chosen, 0), value(&chosen, 1)), (value(&all, 0), value(&all, 2)));

    for bad in [Layers::First(0), Layers::First(4), Layers::Chosen(vec![]), Layers::Chosen(vec![0, 3])] {
        assert_eq!(load(&bad).unwrap_err().kind(), ErrorKind::Argument, "{bad:?}");
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(&encoder, folder.path(), "", DType::F32);
    let load = || Encoder::load(folder.path(), &Layers::All, &Device::Cpu).unwrap_err();
    let other = EncoderConfig { vocabulary: 51, ..bert() };
    std::fs::write(folder.path().join("config.json"), other.to_json().to_string()).unwrap();
    let error = load();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains("word_embeddings") && error.to_string().contains("51"), "{error}");

    std::fs::write(folder.path().join("config.json"), mpnet().to_json().to_string()).unwrap();
    assert!(load().to_string().contains("is missing"));

    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(load().kind(), ErrorKind::Format);
    std::fs::remove_file(&weights).unwrap();
    assert_eq!(load().kind(), ErrorKind::Io);
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let kind = |rows: &[(Vec<u32>, Vec<u32>)]| {
        Batch::new(rows, 0, &Device::Cpu).and_then(|b| encoder.forward(&b, Mode::Eval)).unwrap_err().kind()
    };
    assert_eq!(kind(&[]), ErrorKind::Argument);
    assert_eq!(kind(&[(vec![], vec![])]), ErrorKind::Argument);
    assert_eq!(kind(&[(vec![1, 2], vec![0])]), ErrorKind::Argument);
    assert_eq!(kind(&[(vec![1; 21], vec![0; 21])]), ErrorKind::Argument);
    assert_eq!(kind(&[(vec![50], vec![0])]), ErrorKind::Tensor);
    assert_eq!(kind(&[(vec![1], vec![2])]), ErrorKind::Tensor);
    let mut broken = batch();
    broken.lengths[0] = 7;
    assert_eq!(encoder.forward(&broken, Mode::Eval).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn layer_norms_with_their_first_names_are_found() {
    let original = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original, folder.path(), "bert.", DType::F32);
    let weights = folder.path().join("model.safetensors");
    let tensors: std::collections::HashMap<String, Tensor> =
        candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    let old =
        |name: String| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    let renamed = tensors.into_iter().map(|(name, tensor)| (old(name), tensor)).collect();
    save_tensors(&renamed, &weights).unwrap();
    let loaded = Encoder::load(folder.path(), &Layers::All, &Device::Cpu).unwrap();
    let hidden = |e: &Encoder| e.forward(&batch(), Mode::Eval).unwrap().narrow(0, 0, 1).unwrap();
    assert_close(&hidden(&loaded), &hidden(&original), 0.0);
}

#[test]
fn frozen_layers_compute_the_same_and_get_no_gradient() {
    for config in [bert(), mpnet()] {
        let mut encoder = Encoder::new(&config, 3, &Device::Cpu).unwrap();
        let mode = Mode::Train { seed: 4 };
        let before = encoder.pool(&batch(), mode).unwrap();
        encoder.freeze(2);
        let after = encoder.pool(&batch(), mode).unwrap();
        assert_close(&after, &before, 1e-6);
        let parameters = encoder.parameters().unwrap();
        let gradients = backward(&after.sum_all().unwrap(), &parameters).unwrap();
        for (i, parameter) in parameters.iter().enumerate() {
            let trained = parameter.name.contains("layer.2.") || parameter.name.starts_with("pooler");
            assert_eq!(gradients.get(i).unwrap().is_some(), trained, "{}", parameter.name);
        }
    }
}

#[test]
fn int8_answers_and_does_not_train() {
    for config in [bert(), mpnet()] {
        let mut encoder = Encoder::new(&config, 3, &Device::Cpu).unwrap();
        let exact = encoder.embed(&batch()).unwrap();
        encoder.set_precision(Precision::Int8);
        let rounded = encoder.embed(&batch()).unwrap();
        assert_close(&rounded, &exact, 2e-2);
        assert_ne!(flat(&rounded), flat(&exact));
        let error = encoder.pool(&batch(), Mode::Train { seed: 1 }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
    }
}

#[test]
fn padding_beyond_the_position_table_is_left_out() {
    let encoder = Encoder::new(&bert(), 3, &Device::Cpu).unwrap();
    let most = encoder.config().max_tokens();
    let exact = Batch::new(&[(vec![3; most], vec![0; most]), (vec![4, 5], vec![0, 1])], 0, &Device::Cpu).unwrap();
    let pad = |t: &Tensor| t.pad_with_zeros(1, 0, 4).unwrap();
    let padded = Batch { ids: pad(&exact.ids), types: pad(&exact.types), lengths: exact.lengths.clone() };
    let pooled = |batch: &Batch| encoder.pool(batch, Mode::Eval).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(pooled(&padded), pooled(&exact));
}
