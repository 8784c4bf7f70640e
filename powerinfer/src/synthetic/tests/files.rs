//! Claims about the files themselves: bytes, names, types, metadata, refused specifications.

use std::fs;

use super::super::{SyntheticError, SyntheticReport};
use super::*;

#[test]
fn same_seed_same_bytes_other_seed_other_bytes() {
    let spec = tiny(Architecture::Llama);
    let bytes = |seed| SyntheticSpec { seed, ..spec }.generate_to_bytes().unwrap();
    assert_eq!(bytes(1), bytes(1), "deterministic, whatever thread wrote what");
    assert_ne!(bytes(1), bytes(2), "the seed matters");
}

#[test]
fn file_equals_bytes_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.powerinfer.gguf");
    let spec = tiny(Architecture::Llama);
    fs::write(&path, "an older file").unwrap();
    let report: SyntheticReport = spec.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes, spec.generate_to_bytes().unwrap(), "one generator");
    assert_eq!(report.file_bytes, bytes.len() as u64, "reported size");
    assert_eq!(report.n_tensors, Weights::read(&bytes).tensors.len(), "reported tensors");
    assert!((report.active_share - 0.1).abs() < 1e-6, "designed share {}", report.active_share);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the model");
}

#[test]
fn missing_folder_is_an_io_error_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("model.gguf");
    let error = tiny(Architecture::Llama).write(&path).unwrap_err();
    assert!(matches!(&error, SyntheticError::Io { path: p, .. } if *p == path), "{error}");
}

#[test]
fn tensors_of_each_family_are_those_of_the_format() {
    let layer = |architecture| match architecture {
        Architecture::Llama | Architecture::Bamboo => {
            "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_output.weight \
             ffn_norm.weight ffn_gate.weight ffn_up.weight ffn_down_t.weight fc1.weight fc2.weight"
        }
        Architecture::Falcon => {
            "attn_norm.weight attn_norm.bias attn_qkv.weight attn_output.weight ffn_up.weight \
             ffn_down_t.weight fc1.weight fc2.weight"
        }
        Architecture::Opt => {
            "attn_norm.weight attn_norm.bias attn_q.weight attn_q.bias attn_k.weight attn_k.bias \
             attn_v.weight attn_v.bias attn_output.weight attn_output.bias ffn_norm.weight \
             ffn_norm.bias ffn_up.weight ffn_up.bias ffn_down_t.weight ffn_down_t.bias fc1.weight \
             fc2.weight"
        }
    };
    let outside = |architecture| match architecture {
        Architecture::Llama | Architecture::Bamboo => {
            "token_embd.weight output_norm.weight output.weight"
        }
        Architecture::Falcon => {
            "token_embd.weight output_norm.weight output_norm.bias output.weight"
        }
        Architecture::Opt => {
            "token_embd.weight position_embd.weight output_norm.weight output_norm.bias"
        }
    };
    for architecture in ARCHITECTURES {
        let model = read(&tiny(architecture));
        let mut wanted: Vec<String> =
            outside(architecture).split_whitespace().map(str::to_owned).collect();
        for i in 0..2 {
            wanted.extend(layer(architecture).split_whitespace().map(|n| format!("blk.{i}.{n}")));
        }
        let mut names: Vec<String> = model.tensors.keys().cloned().collect();
        wanted.sort();
        names.sort();
        assert_eq!(names, wanted, "{architecture:?}");
        let positions = model.tensors.get("position_embd.weight").map(|t| t.n_rows);
        assert!(positions.is_none_or(|n| n == 2050), "rows of the position table: {positions:?}");
    }
}

#[test]
fn types_follow_the_rules_of_the_format() {
    use WeightType as D;
    let types = |dtype, architecture| {
        let spec = SyntheticSpec { dtype, output_dtype: None, ..tiny(architecture) };
        (spec.resolved_output_dtype(), spec.predictor_dtype())
    };
    for (dtype, output, predictor) in [
        (D::F32, D::F32, D::F32),
        (D::F16, D::F16, D::F16),
        (D::Q4_0, D::Q6K, D::Q4_0),
        (D::Q8_0, D::Q8_0, D::Q5_0),
        (D::Q4K, D::Q6K, D::Q5_0),
    ] {
        assert_eq!(types(dtype, Architecture::Llama), (output, predictor), "{dtype}");
    }
    assert_eq!(types(D::Q4_0, Architecture::Falcon).0, D::Q8_0, "falcon has no q6_k output");
    let mut narrow = SyntheticSpec { output_dtype: None, ..tiny(Architecture::Llama) };
    narrow.shape.dim = 288;
    assert_eq!(narrow.resolved_output_dtype(), D::Q8_0, "288 is no multiple of 256");
    let model = read(&tiny(Architecture::Llama));
    let dtype = |name: &str| model.dtypes[name];
    assert_eq!(dtype("token_embd.weight"), "q4_0", "matrices");
    assert_eq!(dtype("blk.0.attn_norm.weight"), "f32", "vectors");
    assert_eq!(dtype("output.weight"), "q6_k", "output");
}

#[test]
fn metadata_describes_the_model() {
    let weights = read(&tiny(Architecture::Llama));
    for (key, value) in [
        ("llama.block_count", 2),
        ("llama.embedding_length", 256),
        ("llama.feed_forward_length", 1280),
        ("llama.attention.head_count", 8),
        ("llama.attention.head_count_kv", 4),
        ("llama.rope.dimension_count", 32),
        ("llama.context_length", 2048),
        ("general.file_type", 2),
    ] {
        assert_eq!(weights.integer(key), value, "{key}");
    }
    let metadata = weights.file.metadata();
    assert_eq!(metadata.string("general.architecture").unwrap(), Some("llama"), "family");
    assert_eq!(metadata.f64("powerinfer.sparse_threshold").unwrap(), Some(0.0), "threshold");
    let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!(tokens.len(), 512, "one token per row of the embedding");
}

#[test]
fn predictor_can_be_left_out_without_changing_the_rest() {
    let with = SyntheticSpec { predictor_rank: Some(512), ..tiny(Architecture::Llama) };
    let [with, without] =
        [with, SyntheticSpec { predictor_rank: None, ..with }].map(|spec| read(&spec));
    assert!(!without.tensors.keys().any(|name| name.contains("fc")), "no predictor");
    for (name, tensor) in &without.tensors {
        assert_eq!(tensor.values, with.tensors[name].values, "{name}");
    }
}

#[test]
fn impossible_specifications_name_the_field() {
    let base = tiny(Architecture::Llama);
    let shape = |change: fn(&mut SyntheticSpec)| {
        let mut spec = base;
        change(&mut spec);
        spec
    };
    for (field, spec) in [
        ("n_layers", shape(|s| s.shape.n_layers = 0)),
        ("dim", shape(|s| s.shape.dim = 100)),
        ("dim", shape(|s| s.shape.dim = 32)),
        ("hidden_dim", shape(|s| s.shape.hidden_dim = 1000)),
        ("vocab_size", shape(|s| s.shape.vocab_size = 258)),
        ("vocab_size", shape(|s| s.shape.vocab_size = u32::MAX)),
        ("context_length", shape(|s| s.shape.context_length = 0)),
        ("n_heads", shape(|s| s.shape.n_heads = 0)),
        ("n_heads", shape(|s| s.shape.n_heads = 256)),
        ("n_heads", shape(|s| s.shape.n_heads = 3)),
        ("n_kv_heads", shape(|s| s.shape.n_kv_heads = 3)),
        ("n_kv_heads", shape(|s| s.shape.n_kv_heads = 16)),
        ("n_kv_heads", shape(|s| s.architecture = Architecture::Opt)),
        ("dtype", shape(|s| (s.dtype, s.shape.dim) = (WeightType::Q4K, 288))),
        ("output_dtype", shape(|s| (s.output_dtype, s.shape.dim) = (Some(WeightType::Q6K), 288))),
        ("active_share", shape(|s| s.active_share = f64::NAN)),
        ("active_share", shape(|s| s.active_share = 0.0)),
        ("active_share", shape(|s| s.active_share = 0.99)),
        (
            "active_share",
            shape(|s| (s.architecture, s.active_share) = (Architecture::Bamboo, 0.95)),
        ),
        ("skew", shape(|s| s.skew = -1.0)),
        ("skew", shape(|s| s.skew = f64::INFINITY)),
        ("predictor_rank", shape(|s| s.predictor_rank = Some(32))),
        ("predictor_rank", shape(|s| s.predictor_rank = Some(100))),
    ] {
        let error = spec.generate_to_bytes().unwrap_err();
        let named = matches!(&error, SyntheticError::InvalidSpec { field: f, .. } if *f == field);
        assert!(named, "want a complaint about {field}: {error}");
    }
    let mut opt = tiny(Architecture::Opt);
    opt.shape.context_length = 2049;
    assert!(opt.validate().is_err(), "beyond the position table");
    let opt = SyntheticSpec { output_dtype: Some(WeightType::F16), ..tiny(Architecture::Opt) };
    assert!(opt.validate().is_err(), "opt has no output matrix");
}

#[test]
fn presets_are_valid_and_found_by_name() {
    for preset in Preset::ALL {
        SyntheticSpec::preset(preset).validate().unwrap();
        assert_eq!(preset.name().parse::<Preset>().unwrap(), preset, "{}", preset.name());
    }
    let error = "70b".parse::<Preset>().unwrap_err().to_string();
    assert!(error.contains("\"70b\"") && error.contains("bamboo-7b"), "{error}");
}
