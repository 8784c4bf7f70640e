//! Writes what `torch.save` writes for one vector, with every detail open to change.

use std::io::{Cursor, Write as _};

use zip::write::{SimpleFileOptions, ZipWriter};

/// A vector as `torch.save` writes it: `storage[offset + i * stride]` for `i < size`.
#[derive(Debug, Clone)]
pub(super) struct TorchFile {
    pub(super) class: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) elements: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) stride: u64,
    pub(super) prefix: &'static str,
    pub(super) byte_order: Option<&'static str>,
    pub(super) is_parameter: bool,
    pub(super) is_compressed: bool,
}

impl TorchFile {
    pub(super) fn of_bytes(class: &'static str, bytes: Vec<u8>, elements: u64) -> Self {
        Self {
            class,
            bytes,
            elements,
            offset: 0,
            size: elements,
            stride: 1,
            prefix: "archive/",
            byte_order: Some("little"),
            is_parameter: false,
            is_compressed: false,
        }
    }

    pub(super) fn floats(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::of_bytes("FloatStorage", bytes, values.len() as u64)
    }

    /// The pickle of the vector, as `torch` writes it.
    pub(super) fn pickle(&self) -> Vec<u8> {
        let mut pickle = Pickle::default();
        if self.is_parameter {
            pickle.global("torch._utils", "_rebuild_parameter");
        }
        pickle.global("torch._utils", "_rebuild_tensor_v2").mark();
        pickle.mark().text("storage").global("torch", self.class).text("0").text("cpu");
        pickle.int(self.elements).raw(b"t").put().raw(b"Q"); // the storage
        pickle.int(self.offset).int(self.size).raw(b"\x85").put().int(self.stride).raw(b"\x85");
        pickle.put().raw(b"\x89").empty_dict().raw(b"t").put().raw(b"R").put();
        if self.is_parameter {
            pickle.raw(b"\x88").empty_dict().raw(b"\x87").put().raw(b"R").put();
        }
        pickle.end()
    }

    pub(super) fn build(&self) -> Vec<u8> {
        self.build_with(&self.pickle())
    }

    /// An archive with another pickle.
    pub(super) fn build_with(&self, pickle: &[u8]) -> Vec<u8> {
        let mut entries = vec![("data.pkl", pickle)];
        if let Some(order) = self.byte_order {
            entries.push(("byteorder", order.as_bytes()));
        }
        entries.extend([("data/0", &self.bytes[..]), ("version", b"3\n")]);
        let method = if self.is_compressed {
            zip::CompressionMethod::Deflated
        } else {
            zip::CompressionMethod::Stored
        };
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(format!("{}{name}", self.prefix), options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }
}

/// A pickle of protocol 2 under construction.
#[derive(Debug, Clone)]
pub(super) struct Pickle {
    bytes: Vec<u8>,
    n_remembered: u8,
}

impl Default for Pickle {
    fn default() -> Self {
        Self { bytes: vec![0x80, 2], n_remembered: 0 }
    }
}

impl Pickle {
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    pub(super) fn mark(&mut self) -> &mut Self {
        self.raw(b"(")
    }

    /// Remembers what is on top, as `torch` does with all that it might need again.
    pub(super) fn put(&mut self) -> &mut Self {
        let index = self.n_remembered;
        self.n_remembered += 1;
        self.raw(&[b'q', index])
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes()).put()
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let n = u32::try_from(text.len()).unwrap();
        self.raw(b"X").raw(&n.to_le_bytes()).raw(text.as_bytes()).put()
    }

    /// In the shortest form, as Python writes it.
    pub(super) fn int(&mut self, n: u64) -> &mut Self {
        if let Ok(n) = u8::try_from(n) {
            self.raw(&[b'K', n])
        } else if let Ok(n) = u16::try_from(n) {
            self.raw(b"M").raw(&n.to_le_bytes())
        } else if let Ok(n) = i32::try_from(n) {
            self.raw(b"J").raw(&n.to_le_bytes())
        } else {
            self.raw(b"\x8a\x08").raw(&n.to_le_bytes())
        }
    }

    pub(super) fn empty_dict(&mut self) -> &mut Self {
        self.global("collections", "OrderedDict").raw(b")R").put()
    }

    pub(super) fn end(&mut self) -> Vec<u8> {
        self.raw(b".");
        self.bytes.clone()
    }
}
