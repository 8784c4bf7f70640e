//! Any bytes are a vector or an error: as an archive of torch, and as the pickle inside of a sound
//! one, which the checksum of the entry would keep most changes away from.
#![no_main]

use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use powerinfer::read_torch_vector;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&around(bytes));
});

fn check(archive: &[u8]) {
    if let Ok(vector) = read_torch_vector(Cursor::new(archive)) {
        assert!(!vector.is_empty());
    }
}

/// An archive with this pickle and a storage of 16 bytes.
fn around(pickle: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("a/data.pkl", pickle), ("a/data/0", &[0; 16])] {
        writer.start_file(name, options).expect("memory takes it");
        writer.write_all(content).expect("memory takes it");
    }
    writer.finish().expect("memory takes it").into_inner()
}
