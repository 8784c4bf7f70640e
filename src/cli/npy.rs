//! The file format of `NumPy`, as far as we write it: a matrix of f32, version 1.

use std::io::{self, Write};

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// The data of a file begins at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// The header of a matrix in row order.
pub(super) fn header(rows: usize, columns: usize) -> Vec<u8> {
    let dictionary =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length_bytes = 2;
    let used = MAGIC.len() + length_bytes + dictionary.len() + 1;
    let padding = used.next_multiple_of(ALIGNMENT) - used;
    let length = u16::try_from(dictionary.len() + padding + 1).expect("two numbers are short");
    let mut header = MAGIC.to_vec();
    header.extend(length.to_le_bytes());
    header.extend(dictionary.bytes());
    header.extend(std::iter::repeat_n(b' ', padding));
    header.push(b'\n');
    header
}

/// Writes one row of the matrix.
pub(super) fn write_row(writer: &mut impl Write, row: &[f32]) -> io::Result<()> {
    row.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_padded_to_the_data() {
        for (rows, columns) in [(1, 1), (3, 32_000), (123_456_789, 987_654_321)] {
            let header = header(rows, columns);
            assert_eq!(header.len() % ALIGNMENT, 0, "{rows} x {columns}");
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            assert_eq!(header.len(), 10 + length);
            let text = String::from_utf8(header[10..].to_vec()).unwrap();
            assert!(text.contains(&format!("'shape': ({rows}, {columns})")), "{text}");
            assert!(text.ends_with('\n'), "{text:?}");
        }
    }
}
