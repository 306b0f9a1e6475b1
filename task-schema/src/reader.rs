//! The serde deserializer over a located document: it knows the place of each value and the keys each struct takes.
//!
//! A library's deserializer was rejected: it stops without the place of a value that was read whole, and does not say
//! which keys a struct would have taken. Values are taken as YAML 1.2 and the JSON Schemas take them: a number is not
//! text, text in quotes is not a number, and nothing is not an empty list.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::containers::{Entries, Items};
use crate::key_path::Path;
use crate::locate::{Document, Node, NodeId, Value};
use crate::problem::quoted;
use crate::refusal::{Refusal, did_you_mean, listed, nearest};
use crate::scalar_value::{Scalar, resolve};
use crate::strict::{Reading, UnknownKeys};

/// A value about to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'r> {
    pub(crate) document: &'r Document<'r>,
    pub(crate) node: &'r Node<'r>,
    pub(crate) path: &'r Path<'r>,
    pub(crate) reading: &'r Reading<'r>,
}

impl<'r> Reader<'r> {
    /// The whole document.
    pub(crate) fn of(document: &'r Document<'r>, reading: &'r Reading<'r>) -> Result<Self, Refusal> {
        let root = document.root.ok_or_else(|| Refusal::value("the document is empty", None))?;
        Ok(Self { document, node: document.node(root), path: &Path::Root, reading })
    }

    pub(crate) fn child<'c>(&self, id: NodeId, path: &'c Path<'c>) -> Reader<'c>
    where
        'r: 'c,
    {
        Reader { document: self.document, node: self.document.node(id), path, reading: self.reading }
    }

    /// Gives a refusal its place. A type that checks what it was given, once this reader is used up, is placed by
    /// whoever made the reader.
    pub(crate) fn at(&self, refusal: Refusal) -> Refusal {
        refusal.at(self.node.mark, self.path)
    }

    fn scalar(&self) -> Option<Scalar<'r>> {
        match &self.node.value {
            Value::Scalar { text, plain } => Some(resolve(text, *plain)),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn found(&self) -> String {
        match (&self.node.value, self.scalar()) {
            (Value::List(_), _) => "a list".to_owned(),
            (Value::Map(_), _) => "a map of keys".to_owned(),
            (_, Some(Scalar::Null) | None) => "nothing".to_owned(),
            (Value::Scalar { text, .. }, Some(Scalar::Bool(_))) => quoted(text),
            (Value::Scalar { text, .. }, Some(Scalar::Text(_))) => format!("the text {}", quoted(text)),
            (Value::Scalar { text, .. }, Some(_)) => format!("the number {}", quoted(text)),
        }
    }

    /// The refusal of a value of the wrong kind.
    fn mismatch(&self, expected: Kind) -> Refusal {
        let hint = match (expected, self.scalar()) {
            (Kind::Text | Kind::Word, Some(Scalar::Null)) => {
                Some("give it a value, or remove the key".to_owned())
            }
            (Kind::List, Some(Scalar::Null)) => Some("write `[]`, or remove the key".to_owned()),
            (Kind::Map, Some(Scalar::Null)) => Some("write `{}`, or remove the key".to_owned()),
            (_, Some(Scalar::Null)) => Some("give it a value, or remove the key".to_owned()),
            (Kind::Text, Some(Scalar::Bool(_))) => Some("put it in quotes".to_owned()),
            (Kind::Text, Some(Scalar::Unsigned(_) | Scalar::Signed(_) | Scalar::Float(_))) => {
                Some("put it in quotes, or add its unit, as in `15m`".to_owned())
            }
            (Kind::Number | Kind::Whole, Some(Scalar::Text(text))) => match resolve(text, true) {
                Scalar::Unsigned(_) | Scalar::Signed(_) | Scalar::Float(_) => {
                    Some("remove the quotes".to_owned())
                }
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => None,
            },
            (Kind::Truth, Some(Scalar::Text(text))) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("write `true`".to_owned()),
                "no" | "off" | "n" | "false" => Some("write `false`".to_owned()),
                _ => None,
            },
            (Kind::List, Some(_)) => Some("write it as a list, in `[` and `]`".to_owned()),
            _ => None,
        };
        Refusal::value(format!("expected {}, found {}", expected.in_words(), self.found()), hint)
    }

    fn visit_text<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refusal> {
        match self.scalar() {
            Some(Scalar::Text(text)) if text.contains('\0') => match self.reading.unknown_keys {
                UnknownKeys::Refuse => Err(Refusal::value("text may not contain the character NUL", None)),
                UnknownKeys::Tolerate => visitor.visit_string(text.replace('\0', "\u{fffd}")),
            },
            Some(Scalar::Text(text)) => visitor.visit_str(text),
            Some(_) | None => Err(self.mismatch(Kind::Text)),
        }
    }

    fn visit_map<'de, V: Visitor<'de>>(
        &self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries::new(*self, entries, known)),
            Value::Scalar { .. } | Value::List(_) => Err(self.mismatch(Kind::Map)),
        }
    }

    fn visit_list<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items::new(*self, items)),
            Value::Scalar { .. } | Value::Map(_) => Err(self.mismatch(Kind::List)),
        }
    }

    fn visit_any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refusal> {
        match self.scalar() {
            Some(Scalar::Null) => visitor.visit_unit(),
            Some(Scalar::Bool(value)) => visitor.visit_bool(value),
            Some(Scalar::Unsigned(value)) => visitor.visit_u64(value),
            Some(Scalar::Signed(value)) => visitor.visit_i64(value),
            Some(Scalar::Float(value)) => visitor.visit_f64(value),
            Some(Scalar::Text(_)) => self.visit_text(visitor),
            None if matches!(self.node.value, Value::List(_)) => self.visit_list(visitor),
            None => self.visit_map(None, visitor),
        }
    }

    fn visit_whole<'de, V: Visitor<'de>>(&self, range: Range, visitor: V) -> Result<V::Value, Refusal> {
        let value = match self.scalar() {
            Some(Scalar::Unsigned(value)) => i128::from(value),
            Some(Scalar::Signed(value)) => i128::from(value),
            Some(Scalar::Float(_)) => return Err(range.refuse(&self.found())),
            Some(_) | None => return Err(self.mismatch(Kind::Whole)),
        };
        if !(range.min..=range.max).contains(&value) {
            return Err(range.refuse(&self.found()));
        }
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => visitor.visit_u64(value),
            (Err(_), Ok(value)) => visitor.visit_i64(value),
            (Err(_), Err(_)) => Err(range.refuse(&self.found())),
        }
    }

    fn visit_number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refusal> {
        match self.scalar() {
            Some(Scalar::Unsigned(_) | Scalar::Signed(_) | Scalar::Float(_)) => self.visit_any(visitor),
            Some(_) | None => Err(self.mismatch(Kind::Number)),
        }
    }

    fn visit_word<'de, V: Visitor<'de>>(
        &self,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match (&self.node.value, self.scalar()) {
            (Value::Map(entries), _) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(*self, entries, None)))
            }
            (Value::Scalar { .. }, Some(Scalar::Text(word))) if words.contains(&word) => {
                visitor.visit_enum(StrDeserializer::<Refusal>::new(word))
            }
            (Value::Scalar { .. }, Some(Scalar::Text(word))) => {
                let hint = nearest(word, words).map(did_you_mean);
                Err(Refusal::value(format!("{} is not one of {}", quoted(word), listed(words)), hint))
            }
            (Value::Scalar { .. } | Value::List(_), _) => Err(self.mismatch(Kind::Word)),
        }
    }
}

/// The kinds of values, as people call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Word,
    Number,
    Whole,
    Truth,
    Nothing,
    List,
    Map,
}

impl Kind {
    const fn in_words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Word => "a word",
            Self::Number => "a number",
            Self::Whole => "a whole number",
            Self::Truth => "`true` or `false`",
            Self::Nothing => "nothing",
            Self::List => "a list",
            Self::Map => "a map of keys",
        }
    }
}

/// The numbers that an integer type holds.
#[derive(Debug, Clone, Copy)]
struct Range {
    min: i128,
    max: i128,
}

impl Range {
    fn refuse(self, found: &str) -> Refusal {
        Refusal::value(
            format!("expected a whole number from {} to {}, found {found}", self.min, self.max),
            None,
        )
    }
}

macro_rules! whole_numbers {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let range = Range { min: i128::from(<$type>::MIN), max: i128::from(<$type>::MAX) };
            self.visit_whole(range, visitor).map_err(|refusal| self.at(refusal))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refusal;

    whole_numbers! {
        deserialize_i8: i8,
        deserialize_i16: i16,
        deserialize_i32: i32,
        deserialize_i64: i64,
        deserialize_u8: u8,
        deserialize_u16: u16,
        deserialize_u32: u32,
        deserialize_u64: u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.visit_any(visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let result = match self.scalar() {
            Some(Scalar::Bool(value)) => visitor.visit_bool(value),
            Some(_) | None => Err(self.mismatch(Kind::Truth)),
        };
        result.map_err(|refusal| self.at(refusal))
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.visit_number(visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.visit_text(visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let result = match self.scalar() {
            Some(Scalar::Null) => visitor.visit_none(),
            Some(_) | None => visitor.visit_some(self),
        };
        result.map_err(|refusal| self.at(refusal))
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let result = match self.scalar() {
            Some(Scalar::Null) => visitor.visit_unit(),
            Some(_) | None => Err(self.mismatch(Kind::Nothing)),
        };
        result.map_err(|refusal| self.at(refusal))
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.visit_list(visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.visit_map(None, visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.visit_map(Some(fields), visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.visit_word(variants, visitor).map_err(|refusal| self.at(refusal))
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }
    forward_to_deserialize_any! { i128 u128 bytes byte_buf identifier }
}
