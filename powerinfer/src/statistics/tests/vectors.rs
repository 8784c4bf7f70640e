//! Vectors of every type and form are read.

use std::io::Cursor;

use half::{bf16, f16};

use super::super::{TorchError, read_torch_vector};
use super::torch_file::TorchFile;

fn read(file: &TorchFile) -> Result<Vec<f64>, TorchError> {
    read_torch_vector(Cursor::new(file.build()))
}

/// A file of two byte orders of these little-endian numbers.
fn both_orders<const N: usize>(class: &'static str, numbers: &[[u8; N]], wanted: &[f64]) {
    let elements = numbers.len() as u64;
    let little = TorchFile::of_bytes(class, numbers.concat(), elements);
    let reversed = numbers.iter().map(|&number| {
        let mut number = number;
        number.reverse();
        number
    });
    let bytes = reversed.collect::<Vec<_>>().concat();
    let big = TorchFile { byte_order: Some("big"), bytes, ..little.clone() };
    let old = TorchFile { byte_order: None, ..little.clone() };
    for file in [little, big, old] {
        assert_eq!(read(&file).unwrap(), wanted, "{file:?}");
    }
}

#[test]
fn every_type_is_read_in_both_byte_orders() {
    let numbers = [0.0, 1.5, 1000.0, 65280.0];
    both_orders("DoubleStorage", &numbers.map(f64::to_le_bytes), &numbers);
    both_orders("FloatStorage", &[0.0_f32, 1.5, 1000.0, 65280.0].map(f32::to_le_bytes), &numbers);
    both_orders("HalfStorage", &numbers.map(|x| f16::from_f64(x).to_le_bytes()), &numbers);
    let numbers = [0.0, 1.5, 1000.0, 65280.0];
    both_orders("BFloat16Storage", &numbers.map(|x| bf16::from_f64(x).to_le_bytes()), &numbers);
    let wanted = [0.0, 1.0, 70000.0, 5_000_000_000.0];
    both_orders("LongStorage", &[0_i64, 1, 70000, 5_000_000_000].map(i64::to_le_bytes), &wanted);
    both_orders("IntStorage", &[0_i32, 1, 70000, -3].map(i32::to_le_bytes), &[0.0, 1.0, 7e4, -3.0]);
    both_orders("ShortStorage", &[0_i16, 300, -3].map(i16::to_le_bytes), &[0.0, 300.0, -3.0]);
    both_orders("CharStorage", &[[0], [127], [255]], &[0.0, 127.0, -1.0]);
    both_orders("ByteStorage", &[[0], [127], [255]], &[0.0, 127.0, 255.0]);
    both_orders("BoolStorage", &[[0], [1], [1]], &[0.0, 1.0, 1.0]);
}

#[test]
fn offsets_and_strides_are_followed() {
    let values: Vec<f32> = (0..300_u16).map(f32::from).collect();
    for (offset, size, stride) in [
        (0, 300, 1),
        (7, 293, 1),
        (0, 100, 3),
        (299, 1, 1),
        (5, 2, 290),
        (9, 1, 1 << 40),
        (4, 3, 0),
    ] {
        let file = TorchFile { offset, size, stride, ..TorchFile::floats(&values) };
        let wanted: Vec<f64> = (0..size)
            .map(|i| f64::from(u16::try_from(offset + i * stride).unwrap_or_default()))
            .collect();
        assert_eq!(read(&file).unwrap(), wanted, "{offset} {size} {stride}");
    }
}

#[test]
fn vectors_outside_of_their_storage_are_refused() {
    let file = TorchFile::floats(&[1.0; 10]);
    for (offset, size, stride) in [
        (0, 11, 1),
        (1, 10, 1),
        (0, 2, 10),
        (0, 11, 0),
        (10, 1, 1),
        (u64::MAX >> 1, 3, u64::MAX >> 1),
    ] {
        let error = read(&TorchFile { offset, size, stride, ..file.clone() }).unwrap_err();
        assert!(
            matches!(error, TorchError::OutOfStorage { .. }),
            "{offset} {size} {stride}: {error}"
        );
    }
    let error = read(&TorchFile { size: 0, ..file }).unwrap_err();
    assert!(matches!(error, TorchError::Empty), "{error}");
}

#[test]
fn any_prefix_parameters_and_compression_are_read() {
    let file = TorchFile::floats(&[3.0, 0.0, 4.0]);
    for prefix in ["", "archive/", "activation_3/", "a/b c/"] {
        for (is_parameter, is_compressed) in [(false, false), (true, false), (false, true)] {
            let file = TorchFile { prefix, is_parameter, is_compressed, ..file.clone() };
            assert_eq!(read(&file).unwrap(), [3.0, 0.0, 4.0], "{file:?}");
        }
    }
}

#[test]
fn a_storage_must_have_the_bytes_of_its_elements() {
    for bytes in [vec![0; 11], vec![0; 13], Vec::new()] {
        let file = TorchFile { bytes, ..TorchFile::floats(&[0.0; 3]) };
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("`archive/data/0`: wanted 12 bytes, found"), "{error}");
    }
}

#[test]
fn unknown_byte_orders_are_refused() {
    let file = TorchFile { byte_order: Some("middle"), ..TorchFile::floats(&[0.0]) };
    let error = read(&file).unwrap_err().to_string();
    assert!(error.contains("wanted little or big, found \"middle\""), "{error}");
}
