//! Our own file, whole and broken, and what can be asked of statistics.

use std::fs;

use tempfile::TempDir;

use super::super::{ActivationStatistics, FormatError, StatisticsError};

const LAYERS: [[u64; 5]; 2] = [[0, 1, 127, 128, 300], [1 << 40, 16_383, 16_384, 5, (1 << 53) - 1]];

fn statistics() -> ActivationStatistics {
    ActivationStatistics::counted(&[&LAYERS[0], &LAYERS[1]], 1234, "a model")
}

/// The bytes of the file, and how such bytes are read.
fn written() -> (TempDir, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf.activations");
    statistics().write(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside the file");
    let bytes = fs::read(path).unwrap();
    (folder, bytes)
}

fn read(folder: &TempDir, bytes: &[u8]) -> Result<ActivationStatistics, StatisticsError> {
    let path = folder.path().join("other");
    fs::write(&path, bytes).unwrap();
    ActivationStatistics::open(path)
}

fn refusal(folder: &TempDir, bytes: &[u8]) -> FormatError {
    match read(folder, bytes) {
        Err(StatisticsError::Format { source, path }) => {
            assert!(path.ends_with("other"));
            source
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read() {
    let (folder, bytes) = written();
    let read = read(&folder, &bytes).unwrap();
    let wanted = statistics();
    for layer in 0..2 {
        assert_eq!(read.layer(layer), wanted.layer(layer));
    }
    assert_eq!((read.tokens(), read.model()), (Some(1234), Some("a model")));
    assert_eq!(read.fingerprint(), wanted.fingerprint());
    assert!(read.source().ends_with("other"), "{}", read.source());
    read.check_shape(2, 5).unwrap();
}

#[test]
fn the_file_says_what_it_is() {
    let (_folder, bytes) = written();
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap();
    let header: serde_json::Value = serde_json::from_slice(line).unwrap();
    assert_eq!(header["format"], "powerinfer activation statistics");
    assert_eq!((&header["n_layers"], &header["hidden_dim"]), (&2.into(), &5.into()));
    assert_eq!(header["fingerprint"], statistics().fingerprint().to_string());
}

#[test]
fn statistics_of_a_large_model_stay_below_a_megabyte() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("large");
    let layer: Vec<u64> = (0..11_008_u64).map(|i| i * 16_383 / 11_008).collect();
    let layers = vec![&layer[..]; 32];
    let statistics = ActivationStatistics::counted(&layers, 16_384, "7B");
    statistics.write(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1_000_000);
    assert_eq!(ActivationStatistics::open(&path).unwrap().fingerprint(), statistics.fingerprint());
}

#[test]
fn a_file_cut_or_lengthened_is_refused() {
    let (folder, bytes) = written();
    let header = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for n in 0..bytes.len() {
        let error = refusal(&folder, &bytes[..n]);
        if n >= header {
            assert!(matches!(error, FormatError::Truncated { wanted: 10, .. }), "{n}: {error}");
        }
    }
    let error = refusal(&folder, &[&bytes[..], b"\0"].concat());
    assert!(matches!(error, FormatError::Trailing { wanted: 10 }), "{error}");
}

#[test]
fn changed_files_are_refused_by_what_changed() {
    let (folder, bytes) = written();
    let mut count = bytes.clone();
    *count.last_mut().unwrap() ^= 1;
    assert!(matches!(refusal(&folder, &count), FormatError::Fingerprint { .. }));
    let header = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (line, counts) = bytes.split_at(header);
    let line = std::str::from_utf8(line).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        refusal(&folder, &[line.replace(from, to).as_bytes(), counts].concat())
    };
    let version = changed("\"version\":1", "\"version\":2");
    assert!(matches!(version, FormatError::Version { wanted: 1, found: 2 }), "{version}");
    assert!(matches!(changed("\"n_layers\":2", "\"n_layers\":0"), FormatError::Empty { .. }));
    assert!(matches!(changed("\"n_layers\":2", "\"n_layers\":1"), FormatError::Trailing { .. }));
    let huge = changed("\"n_layers\":2", "\"n_layers\":9999999999999999999");
    assert!(matches!(huge, FormatError::Truncated { .. }), "{huge}");
    let swapped =
        line.replace("\"n_layers\":2,\"hidden_dim\":5", "\"n_layers\":5,\"hidden_dim\":2");
    let swapped = refusal(&folder, &[swapped.as_bytes(), counts].concat());
    assert!(matches!(swapped, FormatError::Fingerprint { .. }), "{swapped}");
    assert!(matches!(changed("\"tokens\"", "\"token\""), FormatError::Header(_)));
    assert!(matches!(changed("powerinfer activation", "other"), FormatError::Foreign));
    for long in [&b"\x80\x00"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        let error = refusal(&folder, &[line.as_bytes(), long, &counts[1..]].concat());
        assert!(matches!(error, FormatError::Number { index: 0 }), "{error}");
    }
}

#[test]
fn a_vector_alone_is_no_statistics() {
    let folder = TempDir::new().unwrap();
    let error = refusal(&folder, &super::torch_file::TorchFile::floats(&[1.0]).build());
    assert!(matches!(error, FormatError::Foreign), "{error}");
}

#[test]
fn only_whole_numbers_are_written() {
    let folder = TempDir::new().unwrap();
    for found in [0.5, 9_007_199_254_740_992.0] {
        let mut statistics = statistics();
        statistics.counts[6] = found;
        let error = statistics.write(folder.path().join("x")).unwrap_err();
        let is_named = matches!(error, StatisticsError::Fraction { layer: 1, neuron: 1, .. });
        assert!(is_named, "{error}");
    }
}

#[test]
fn fingerprints_tell_numbers_and_shapes_apart_and_nothing_else() {
    let whole = statistics();
    let same =
        ActivationStatistics { tokens: None, source: "elsewhere".to_owned(), ..whole.clone() };
    assert_eq!(same.fingerprint(), whole.fingerprint());
    let mut other = whole.clone();
    other.counts[3] += 1.0;
    assert_ne!(other.fingerprint(), whole.fingerprint());
    let reshaped = ActivationStatistics { hidden_dim: 2, ..whole.clone() };
    assert_ne!(reshaped.fingerprint(), whole.fingerprint());
}

#[test]
fn the_hottest_neurons_have_the_largest_share() {
    let statistics = ActivationStatistics::counted(&[&[1, 6, 0, 3], &[0, 0, 0, 0]], 10, "m");
    for (share, wanted) in [(0.0, 0.0), (0.25, 0.6), (0.5, 0.9), (0.75, 1.0), (1.0, 1.0)] {
        assert!((statistics.hottest_share(0, share) - wanted).abs() < 1e-12, "{share}");
    }
    assert!(statistics.hottest_share(1, 0.5) <= 0.0, "nothing is a share of nothing");
}
