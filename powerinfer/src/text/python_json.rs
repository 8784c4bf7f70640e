//! JSON as Python's `json.dumps` writes it, which is what models saw in training.
//!
//! The template engine's own `tojson` escapes `<`, `>`, `&` and `'` for HTML.

use std::io::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};

/// The `tojson` filter, with the keyword arguments that Hugging Face gives it.
pub(super) fn tojson(value: &Value, kwargs: &Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let ensure_ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }, ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => {
            let detail = "tojson: separators must be two strings";
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
    };
    let style = Style {
        indent,
        item,
        key,
        ensure_ascii: ensure_ascii.unwrap_or(false),
        depth: 0,
        is_empty: true,
    };
    let refused = |source| {
        Error::new(ErrorKind::BadSerialization, "tojson: the value has no JSON form")
            .with_source(source)
    };
    let mut json = serde_json::to_value(value).map_err(refused)?;
    if sort_keys == Some(true) {
        json.sort_all_objects();
    }
    let mut out = Vec::new();
    json.serialize(&mut Serializer::with_formatter(&mut out, style)).map_err(refused)?;
    String::from_utf8(out)
        .map_err(|e| Error::new(ErrorKind::BadSerialization, "tojson").with_source(e))
}

/// Where `json.dumps` puts spaces and line breaks.
struct Style<'a> {
    indent: Option<usize>,
    item: &'a str,
    key: &'a str,
    ensure_ascii: bool,
    /// Number of open arrays and objects.
    depth: usize,
    /// The innermost of them has no item yet.
    is_empty: bool,
}

impl Style<'_> {
    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        let Some(indent) = self.indent else {
            return Ok(());
        };
        write!(out, "\n{:width$}", "", width = indent * self.depth)
    }

    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        out.write_all(bracket)
    }

    fn begin_item<W: ?Sized + Write>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        self.is_empty = false;
        if !is_first {
            out.write_all(self.item.as_bytes())?;
        }
        self.new_line(out)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !std::mem::replace(&mut self.is_empty, false) {
            self.new_line(out)?;
        }
        out.write_all(bracket)
    }
}

impl Formatter for Style<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ensure_ascii {
            return out.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                write!(out, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use minijinja::{Environment, context};

    use super::*;

    fn dump(arguments: &str) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.add_filter("tojson", |v: &Value, k: Kwargs| tojson(v, &k));
        let json = r#"{"b": [1, 2.5, "<é🦙>'\n"], "a": {}, "c": []}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        environment
            .render_str(&format!("{{{{ x|tojson{arguments} }}}}"), context! { x => Serde(value) })
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let cases = [
            ("", r#"{"b": [1, 2.5, "<é🦙>'\n"], "a": {}, "c": []}"#),
            ("(sort_keys=true)", r#"{"a": {}, "b": [1, 2.5, "<é🦙>'\n"], "c": []}"#),
            (
                "(ensure_ascii=true)",
                r#"{"b": [1, 2.5, "<\u00e9\ud83e\udd99>'\n"], "a": {}, "c": []}"#,
            ),
            ("(separators=(',', ':'))", r#"{"b":[1,2.5,"<é🦙>'\n"],"a":{},"c":[]}"#),
            (
                "(indent=2)",
                "{\n  \"b\": [\n    1,\n    2.5,\n    \"<é🦙>'\\n\"\n  ],\n  \"a\": {},\n  \"c\": []\n}",
            ),
        ];
        for (arguments, expected) in cases {
            assert_eq!(dump(arguments).unwrap(), expected, "{arguments}");
        }
    }

    #[test]
    fn unknown_arguments_are_errors() {
        assert!(dump("(colour=1)").is_err());
        assert!(dump("(separators=(',',))").is_err());
    }
}
