//! Finds the fields that a type reads by deserializing it: documents that contain every field and every
//! variant, with the place of each text.
//!
//! A new field or variant of a wire type is included without a change here.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Map, Value};

/// Texts that a field may require, tried in this order.
const TEXTS: [&str; 5] = [
    "text",
    "a2792ce8-216f-477c-a5cc-4f7e9f407e29",
    "58f73b41c3cc4800078010c5",
    // Mark of a firmware.
    "58f73b41c3cc",
    // An ending of an update, which is also stored in the history.
    "failed",
];
/// Name under which serde_json requests a value's own text.
const RAW: &str = "$serde_json::private::RawValue";
/// Value that is kept as text, with texts of its own.
const RAW_VALUE: &str = r#"{"key":"text"}"#;
/// Marks the place of the text that is replaced.
const HOLE: &str = "@@hole@@";

/// Returns documents of `T` in which every variant of every enum occurs, each with every field.
pub(crate) fn documents<T: DeserializeOwned>() -> Vec<Value> {
    collect(|trace| T::deserialize(trace).map(drop))
}

/// Returns the documents for a type that borrows.
pub(crate) fn collect(read: impl Fn(Tracer<'_>) -> Result<(), Failure>) -> Vec<Value> {
    let (mut visits, mut found, mut without_news) = (Visits::new(), Vec::new(), 0);
    while without_news < 100 {
        let (mut choice, mut document) = (Vec::new(), Value::Null);
        let after = loop {
            let mut state = State {
                visits: visits.clone(),
                choice: std::mem::take(&mut choice),
                read: 0,
            };
            match read(Tracer {
                state: &mut state,
                out: &mut document,
            }) {
                Ok(()) => break state.visits,
                // The text that was read last did not fit.
                Err(failure) => {
                    let last = state.read.checked_sub(1).unwrap_or_else(|| panic!("{failure}"));
                    choice = state.choice;
                    choice[last] += 1;
                    assert!(choice[last] < TEXTS.len(), "no text fits: {failure}");
                    choice.truncate(last + 1);
                }
            }
        };
        without_news = if after.len() > visits.len() || found.is_empty() {
            found.push(document);
            0
        } else {
            without_news + 1
        };
        visits = after;
    }
    found
}

/// Returns the document as texts with one hole each: one for each text in it, names of variants included,
/// named by its path.
pub(crate) fn holes(document: &Value) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(document, &mut String::new(), &mut paths);
    let with_hole = |path: &String| {
        let mut copy = document.clone();
        *copy.pointer_mut(path).expect("the path comes from the document") = Value::String(HOLE.into());
        (path.clone(), copy.to_string())
    };
    paths.iter().map(with_hole).collect()
}

/// Puts a JSON text into the hole as it is.
pub(crate) fn fill(holed: &str, literal: &[u8]) -> Vec<u8> {
    let hole = format!("\"{HOLE}\"");
    let (before, after) = holed.split_once(&hole).expect("the document has a hole");
    [before.as_bytes(), literal, after.as_bytes()].concat()
}

fn walk(value: &Value, path: &mut String, paths: &mut Vec<String>) {
    let mut inner = |key: &str, value: &Value| {
        let length = path.len();
        path.push('/');
        path.push_str(key);
        walk(value, path, paths);
        path.truncate(length);
    };
    match value {
        Value::String(_) => paths.push(path.clone()),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .for_each(|(index, value)| inner(&index.to_string(), value)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| inner(key, value)),
        _ => {}
    }
}

/// Number of documents in which each variant occurred. The least used variant is next, so that all occur, at
/// all depths.
type Visits = BTreeMap<(&'static str, &'static str), u32>;

struct State {
    visits: Visits,
    /// Index in `TEXTS` that each text of the document takes.
    choice: Vec<usize>,
    /// Number of texts that were read.
    read: usize,
}

impl State {
    fn text(&mut self) -> &'static str {
        if self.choice.len() == self.read {
            self.choice.push(0);
        }
        self.read += 1;
        TEXTS[self.choice[self.read - 1]]
    }
}

/// Deserializer that invents the requested values and records them.
pub(crate) struct Tracer<'t> {
    state: &'t mut State,
    out: &'t mut Value,
}

/// Reason for which a type did not accept the invented values.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! invent {
    ($($method:ident => $visit:ident($value:expr)),+) => {
        $(fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Failure> {
            *self.out = $value.into();
            visitor.$visit($value)
        })+
    };
}

macro_rules! unknown {
    ($($method:ident),+) => {
        $(fn $method<V: Visitor<'static>>(self, _: V) -> Result<V::Value, Failure> {
            panic!(concat!("a wire type asks for ", stringify!($method), ", which this tracer does not know"))
        })+
    };
}

impl Deserializer<'static> for Tracer<'_> {
    type Error = Failure;

    invent! {
        deserialize_bool => visit_bool(true),
        deserialize_u8 => visit_u8(1),
        deserialize_u16 => visit_u16(1),
        deserialize_u32 => visit_u32(1),
        deserialize_u64 => visit_u64(1),
        deserialize_i32 => visit_i32(1),
        deserialize_i64 => visit_i64(1),
        deserialize_f64 => visit_f64(1.5)
    }

    unknown!(
        deserialize_any,
        deserialize_i8,
        deserialize_i16,
        deserialize_f32,
        deserialize_char,
        deserialize_bytes
    );
    unknown!(
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_map,
        deserialize_identifier,
        deserialize_ignored_any
    );

    fn deserialize_str<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.state.text();
        *self.out = text.into();
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == RAW {
            *self.out = serde_json::from_str(RAW_VALUE).expect("JSON");
            return visitor.visit_map(RawText(true));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Failure> {
        *self.out = Value::Array(Vec::new());
        visitor.visit_seq(Items {
            tracer: self,
            left: 1,
        })
    }

    fn deserialize_tuple<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        *self.out = Value::Array(Vec::new());
        visitor.visit_seq(Items {
            tracer: self,
            left: len,
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        *self.out = Value::Object(Map::new());
        visitor.visit_map(Fields {
            tracer: self,
            fields,
            next: 0,
        })
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let visits = |variant: &&&'static str| self.state.visits.get(&(name, **variant)).copied();
        let least = variants.iter().min_by_key(visits);
        let variant = *least.ok_or_else(|| Failure::invalid_type(Unexpected::Enum, &"a variant"))?;
        *self.state.visits.entry((name, variant)).or_default() += 1;
        visitor.visit_enum(Variant {
            tracer: self,
            variant,
        })
    }
}

/// The single entry under which serde_json passes a value's own text.
struct RawText(bool);

impl MapAccess<'static> for RawText {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'static>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        if std::mem::take(&mut self.0) {
            seed.deserialize(RAW.into_deserializer()).map(Some)
        } else {
            Ok(None)
        }
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(RAW_VALUE))
    }
}

struct Items<'t> {
    tracer: Tracer<'t>,
    left: usize,
}

impl SeqAccess<'static> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'static>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let items = self.tracer.out.as_array_mut().expect("made before");
        items.push(Value::Null);
        let out = items.last_mut().expect("pushed");
        seed.deserialize(Tracer {
            state: self.tracer.state,
            out,
        })
        .map(Some)
    }
}

struct Fields<'t> {
    tracer: Tracer<'t>,
    fields: &'static [&'static str],
    next: usize,
}

impl MapAccess<'static> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'static>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(field) = self.fields.get(self.next) else {
            return Ok(None);
        };
        seed.deserialize((*field).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let field = self.fields[self.next];
        self.next += 1;
        let out = self
            .tracer
            .out
            .as_object_mut()
            .expect("made before")
            .entry(field)
            .or_insert(Value::Null);
        seed.deserialize(Tracer {
            state: self.tracer.state,
            out,
        })
    }
}

struct Variant<'t> {
    tracer: Tracer<'t>,
    variant: &'static str,
}

impl<'t> EnumAccess<'static> for Variant<'t> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'static>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        Ok((seed.deserialize(self.variant.into_deserializer())?, self))
    }
}

impl<'t> Variant<'t> {
    fn inner(self) -> Tracer<'t> {
        let Tracer { state, out } = self.tracer;
        *out = Value::Object(Map::new());
        let out = out
            .as_object_mut()
            .expect("made now")
            .entry(self.variant)
            .or_insert(Value::Null);
        Tracer { state, out }
    }
}

impl VariantAccess<'static> for Variant<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        *self.tracer.out = self.variant.into();
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self.inner())
    }

    fn tuple_variant<V: Visitor<'static>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.inner().deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.inner().deserialize_struct("", fields, visitor)
    }
}
