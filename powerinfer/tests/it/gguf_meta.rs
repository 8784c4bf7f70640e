//! Reads the metadata of a GGUF file, for tests that need no native core.

use std::collections::HashMap;
use std::path::Path;

use powerinfer::TokenizerSpec;

/// A metadata value, in the detail that the tests look at.
#[derive(Clone, Debug)]
enum Value {
    Uint(u64),
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
}

/// The metadata of a file, by key.
pub(crate) struct Metadata(HashMap<String, Value>);

impl Metadata {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(bytes.starts_with(b"GGUF") || bytes.starts_with(b"PWRI"), "{}", path.display());
        // Magic, version and number of tensors.
        let mut reader = Reader { rest: &bytes[16..] };
        let n_entries = u64::from_le_bytes(reader.take());
        let entries = (0..n_entries).map(|_| {
            let key = String::from_utf8(reader.bytes()).expect("keys are UTF-8");
            let kind = u32::from_le_bytes(reader.take());
            (key, reader.value(kind))
        });
        Self(entries.collect())
    }

    pub(crate) fn string(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            Value::Bytes(bytes) => Some(String::from_utf8(bytes.clone()).expect("UTF-8")),
            other => panic!("{key} is not a string: {other:?}"),
        }
    }

    pub(crate) fn tokenizer_spec(&self) -> TokenizerSpec {
        let id = |name: &str| match self.0.get(&format!("tokenizer.ggml.{name}_token_id"))? {
            Value::Uint(id) => Some(u32::try_from(*id).expect("ids have 32 bits")),
            other => panic!("{name} is not an id: {other:?}"),
        };
        let flag = |name: &str| match self.0.get(&format!("tokenizer.ggml.{name}"))? {
            Value::Bool(flag) => Some(*flag),
            other => panic!("{name} is not a flag: {other:?}"),
        };
        TokenizerSpec {
            model: self.string("tokenizer.ggml.model").expect("a tokenizer"),
            pre: self.string("tokenizer.ggml.pre"),
            tokens: self.array("tokens", bytes_of),
            scores: self.array("scores", float_of),
            token_types: self.array("token_type", int_of),
            merges: self.array("merges", |v| String::from_utf8(bytes_of(v)).expect("UTF-8")),
            bos_id: id("bos"),
            eos_id: id("eos"),
            unk_id: id("unknown"),
            sep_id: id("seperator"),
            pad_id: id("padding"),
            eot_id: id("eot"),
            add_bos: flag("add_bos_token"),
            add_eos: flag("add_eos_token"),
            add_space_prefix: flag("add_space_prefix"),
        }
    }

    fn array<T>(&self, name: &str, convert: impl Fn(&Value) -> T) -> Vec<T> {
        match self.0.get(&format!("tokenizer.ggml.{name}")) {
            None => Vec::new(),
            Some(Value::Array(values)) => values.iter().map(convert).collect(),
            Some(other) => panic!("{name} is not an array: {other:?}"),
        }
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => panic!("not a string: {other:?}"),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it was an f32 in the file")]
fn float_of(value: &Value) -> f32 {
    match value {
        Value::Float(float) => *float as f32,
        other => panic!("not a float: {other:?}"),
    }
}

fn int_of(value: &Value) -> i32 {
    match value {
        Value::Int(int) => i32::try_from(*int).expect("types have 32 bits"),
        other => panic!("not an integer: {other:?}"),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.rest.split_first_chunk().expect("the file goes on");
        self.rest = rest;
        *head
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = usize::try_from(u64::from_le_bytes(self.take())).expect("fits");
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head.to_vec()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            0 => Value::Uint(u8::from_le_bytes(self.take()).into()),
            1 => Value::Int(i8::from_le_bytes(self.take()).into()),
            2 => Value::Uint(u16::from_le_bytes(self.take()).into()),
            3 => Value::Int(i16::from_le_bytes(self.take()).into()),
            4 => Value::Uint(u32::from_le_bytes(self.take()).into()),
            5 => Value::Int(i32::from_le_bytes(self.take()).into()),
            6 => Value::Float(f32::from_le_bytes(self.take()).into()),
            7 => Value::Bool(u8::from_le_bytes(self.take()) != 0),
            8 => Value::Bytes(self.bytes()),
            9 => {
                let kind = u32::from_le_bytes(self.take());
                let n = u64::from_le_bytes(self.take());
                Value::Array((0..n).map(|_| self.value(kind)).collect())
            }
            10 => Value::Uint(u64::from_le_bytes(self.take())),
            11 => Value::Int(i64::from_le_bytes(self.take())),
            12 => Value::Float(f64::from_le_bytes(self.take())),
            other => panic!("unknown metadata type {other}"),
        }
    }
}
