#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::ErrorKind;

#[test]
fn config_json_round_trips() {
    let bert = EncoderConfig { hidden_dropout: 0.05, ..EncoderConfig::bert(3, 64, 4, 128, 500) };
    assert_eq!(EncoderConfig::from_json(&bert.to_json()).unwrap(), bert);
    let mpnet = EncoderConfig {
        kind: EncoderKind::MpNet,
        types: 0,
        pad_id: 1,
        relative_buckets: 32,
        positions: 514,
        layer_norm_eps: 1e-5,
        ..EncoderConfig::bert(2, 64, 4, 128, 500)
    };
    assert_eq!(EncoderConfig::from_json(&mpnet.to_json()).unwrap(), mpnet);
    assert_eq!((bert.max_tokens(), mpnet.max_tokens()), (512, 512));
}

#[test]
fn what_is_not_computed_is_rejected() {
    let good = EncoderConfig::bert(2, 64, 4, 128, 500).to_json();
    assert!(EncoderConfig::from_json(&good).is_ok());
    for (key, value) in [
        ("model_type", json!("roberta")),
        ("hidden_act", json!("gelu_new")),
        ("position_embedding_type", json!("relative_key")),
        ("is_decoder", json!(true)),
        ("hidden_size", json!(65)),
        ("hidden_size", json!(-64)),
        ("hidden_size", json!("64")),
        ("hidden_size", json!(u64::MAX)),
        ("num_hidden_layers", json!(0)),
        ("num_attention_heads", json!(0)),
        ("vocab_size", json!(null)),
        ("pad_token_id", json!(500)),
        ("hidden_dropout_prob", json!(1.0)),
        ("attention_probs_dropout_prob", json!("none")),
        ("layer_norm_eps", json!(0)),
    ] {
        let mut bad = good.clone();
        bad[key] = value.clone();
        let error = EncoderConfig::from_json(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format, "{key}: {value}");
        assert!(error.to_string().contains(key), "{key}: {value}: {error}");
    }
    assert!(EncoderConfig::from_json(&json!([])).is_err());
}

#[test]
fn a_broken_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let missing = EncoderConfig::load(&path).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    std::fs::write(&path, "{\"model_type\": ").unwrap();
    let broken = EncoderConfig::load(&path).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Format);
    assert!(missing.to_string().contains("config.json") && broken.to_string().contains("config.json"));
}
