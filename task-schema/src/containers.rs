//! The lists and maps of the reader: which items and keys a type gets to see.
//!
//! What was refused in an earlier reading is left out here or replaced by a stand-in, and a key that its struct does
//! not know is noted here.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::filler::Filler;
use crate::key_path::{Path, Step};
use crate::locate::{Entry, NodeId};
use crate::reader::Reader;
use crate::refusal::Refusal;
use crate::strict::Fill;

/// The items of a list, without those that are left out.
pub(crate) struct Items<'r> {
    list: Reader<'r>,
    items: &'r [NodeId],
    index: usize,
}

impl<'r> Items<'r> {
    pub(crate) fn new(list: Reader<'r>, items: &'r [NodeId]) -> Self {
        Self { list, items, index: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        while let Some(id) = self.items.get(self.index) {
            let path = Path::Index(self.list.path, self.index);
            self.index += 1;
            let reader = self.list.child(*id, &path);
            match self.list.reading.fill(&path).map(Fill::text) {
                None => return seed.deserialize(reader).map(Some).map_err(|refusal| reader.at(refusal)),
                Some(Some(text)) => return stand_in(&reader, text, seed).map(Some),
                Some(None) => {}
            }
        }
        Ok(None)
    }
}

/// Reads a stand-in; whatever goes wrong with it is not the document's fault.
fn stand_in<'de, T: DeserializeSeed<'de>>(
    reader: &Reader<'_>,
    text: &'static str,
    seed: T,
) -> Result<T::Value, Refusal> {
    seed.deserialize(Filler(text)).map_err(|_| reader.at(Refusal::filler()))
}

/// The keys of a map, without those that are left out, and with stand-ins for those that are missing.
pub(crate) struct Entries<'r> {
    map: Reader<'r>,
    entries: &'r [Entry<'r>],
    /// The keys that the struct takes; `None` for a map whose keys are data.
    known: Option<&'static [&'static str]>,
    index: usize,
    fills: std::slice::Iter<'r, Fill>,
    next: Option<Next<'r>>,
}

#[derive(Clone, Copy)]
enum Next<'r> {
    Entry(&'r Entry<'r>),
    Added(&'r str, &'static str),
}

impl<'r> Entries<'r> {
    pub(crate) fn new(
        map: Reader<'r>,
        entries: &'r [Entry<'r>],
        known: Option<&'static [&'static str]>,
    ) -> Self {
        Self { map, entries, known, index: 0, fills: map.reading.fills.iter(), next: None }
    }

    fn advance(&mut self) -> Option<Next<'r>> {
        while let Some(entry) = self.entries.get(self.index) {
            self.index += 1;
            if let Some(known) = self.known
                && !known.contains(&entry.key.as_ref())
            {
                self.map.reading.note_unknown(self.map.path, &entry.key, entry.mark, known);
            }
            let fill = self.map.reading.fill(&Path::Key(self.map.path, &entry.key));
            if fill.is_none_or(|fill| fill.text().is_some()) {
                return Some(Next::Entry(entry));
            }
        }
        let (map, entries) = (self.map, self.entries);
        self.fills.find_map(|fill| match (fill.steps.split_last(), fill.text()) {
            (Some((Step::Key(key), parent)), Some(text))
                if map.path.is(parent) && !entries.iter().any(|entry| entry.key == key.as_str()) =>
            {
                Some(Next::Added(key, text))
            }
            _ => None,
        })
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        self.next = self.advance();
        let (key, mark) = match self.next {
            None => return Ok(None),
            Some(Next::Entry(entry)) => (entry.key.as_ref(), entry.mark),
            Some(Next::Added(key, _)) => (key, self.map.node.mark),
        };
        let at = |refusal: Refusal| refusal.at(mark, &Path::Key(self.map.path, key));
        seed.deserialize(Key(key)).map(Some).map_err(at)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        match self.next.take() {
            None => Err(Refusal::value("a value was asked for before its key", None)),
            Some(Next::Added(key, text)) => {
                let path = Path::Key(self.map.path, key);
                stand_in(&Reader { path: &path, ..self.map }, text, seed)
            }
            Some(Next::Entry(entry)) => {
                let path = Path::Key(self.map.path, &entry.key);
                let reader = self.map.child(entry.value, &path);
                match self.map.reading.fill(&path).and_then(Fill::text) {
                    Some(text) => stand_in(&reader, text, seed),
                    None => seed.deserialize(reader).map_err(|refusal| reader.at(refusal)),
                }
            }
        }
    }
}

/// A key: always text, for `5:` and `true:` are keys like any other.
struct Key<'k>(&'k str);

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Refusal;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_str(self.0)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_enum(StrDeserializer::<Refusal>::new(self.0))
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
