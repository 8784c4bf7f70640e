//! What a file says about itself.

use powerinfer::{GgufFile, MetadataError, MetadataType};

use crate::support::demo_path;

#[test]
fn a_file_lists_its_tensors() {
    let file = GgufFile::open(demo_path()).unwrap();
    let info = file.info();
    assert!(info.is_sparse, "{info:?}");
    assert_eq!(info.file_bytes, std::fs::metadata(demo_path()).unwrap().len());
    let tensors: Vec<_> = file.tensors().collect::<Result<_, _>>().unwrap();
    assert_eq!(tensors.len() as u64, info.n_tensors);
    let embedding = tensors.iter().find(|t| t.name == "token_embd.weight").unwrap();
    assert_eq!(embedding.shape, [256, 2048]);
    for tensor in &tensors {
        let elements: u64 = tensor.shape.iter().product();
        let (block, bytes) = (tensor.dtype.block_elements(), tensor.dtype.block_bytes());
        assert_eq!(tensor.bytes, elements / u64::from(block) * u64::from(bytes), "{tensor:?}");
        assert!(tensor.offset + tensor.bytes <= info.file_bytes, "{tensor:?}");
    }
}

#[test]
fn metadata_is_read_by_type() {
    let file = GgufFile::open(demo_path()).unwrap();
    let meta = file.metadata();
    assert_eq!(meta.string("general.architecture").unwrap(), Some("llama"));
    assert_eq!(meta.u32("llama.block_count").unwrap(), Some(6));
    assert_eq!(meta.u64("llama.block_count").unwrap(), Some(6));
    assert_eq!(meta.u32("no.such.key").unwrap(), None);
    assert_eq!(meta.u32("no\0key").unwrap(), None);
    assert_eq!(meta.strings("tokenizer.ggml.tokens").unwrap().unwrap().len(), 2048);
    let error = meta.u32("general.architecture").unwrap_err();
    assert!(matches!(error, MetadataError::WrongType { .. }), "{error:?}");
    let error = meta.string("tokenizer.ggml.tokens").unwrap_err();
    assert!(error.to_string().contains("an array of 2048 string"), "{error}");
}

#[test]
fn entries_can_be_walked() {
    let file = GgufFile::open(demo_path()).unwrap();
    let entries: Vec<_> = file.metadata().entries().collect::<Result<_, _>>().unwrap();
    assert_eq!(entries.len() as u64, file.info().n_metadata);
    for entry in entries {
        assert!(!entry.key().is_empty());
        assert!(entry.is_array() || entry.len() == 1, "{}", entry.key());
        if entry.len() > 0 {
            entry.element(0).unwrap();
        }
        assert!(entry.element(entry.len()).is_err(), "{} has no such element", entry.key());
        if entry.key() == "general.architecture" {
            assert_eq!(entry.kind(), MetadataType::String);
            assert_eq!(entry.element(0).unwrap().to_string(), "llama");
        }
    }
}

#[test]
fn a_row_survives_its_blocks() {
    let file = GgufFile::open(demo_path()).unwrap();
    let q8 = file.tensors().map(Result::unwrap).find(|t| t.dtype.name() == "q8_0").unwrap().dtype;
    let row: Vec<f32> = (0..64u8).map(|i| f32::from(i) / 8.0 - 4.0).collect();
    let blocks = q8.quantize_row(&row).unwrap();
    let back = q8.dequantize_row(&blocks, row.len()).unwrap();
    for (x, y) in row.iter().zip(&back) {
        assert!((x - y).abs() <= 4.0 / 127.0, "{x} {y}");
    }
    assert!(q8.quantize_row(&row[1..]).is_err(), "no whole number of blocks");
    assert!(q8.dequantize_row(&blocks[1..], row.len()).is_err(), "too few bytes");
}
