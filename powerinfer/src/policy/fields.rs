//! The field names of a type, as its `Deserialize` asks for them.

use std::cell::Cell;

use serde::de::{self, Error as _};

/// The names of the fields that a type's `Deserialize` asks for.
pub(super) fn fields_of<T: for<'de> de::Deserialize<'de>>() -> &'static [&'static str] {
    let asked = Cell::new(&[] as &'static [&'static str]);
    // The probe always refuses; only what was asked for counts.
    let refused = T::deserialize(FieldProbe { asked: &asked }).is_err();
    debug_assert!(refused, "the probe gives no value");
    asked.get()
}

struct FieldProbe<'a> {
    asked: &'a Cell<&'static [&'static str]>,
}

impl<'de> de::Deserializer<'de> for FieldProbe<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.asked.set(fields);
        Err(Self::Error::custom("asked"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
