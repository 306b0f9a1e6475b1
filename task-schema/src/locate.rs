//! A YAML text as a tree in which every value knows its line and column.
//!
//! There is one reader of YAML in this crate, and this is its lower half: [`crate::strict`] reads types from the tree.
//! The obvious alternative, `serde_yaml` for the values and a second parser for the places, was rejected: two parsers
//! that understand a text differently point at the wrong line, or disagree on what was said at all.
//!
//! The text may be hostile. Nothing here recurses, aliases share nodes and have a budget, and depth is bounded, so that
//! whoever walks the tree may recurse.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::MAX_YAML_BYTES;
use crate::key_path::{Step, render};
use crate::problem::{Mark, Problem, printable, quoted};

/// Levels of nesting. The deepest document of the contract has 6; more costs stack in whoever walks it.
const MAX_DEPTH: usize = 64;
/// What all aliases of a document may add to it, in bytes of text and values. Honest files repeat a few lines; the
/// attack of nested aliases passes any bound within 100 bytes of text.
const MAX_ALIASED: usize = 256 * 1024;
/// Duplicate keys that are told one by one.
const MAX_DUPLICATES: usize = 20;

/// A node's place in its [`Document`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(usize);

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) mark: Mark,
    pub(crate) value: Value<'t>,
    /// Bytes of text plus one for each value, aliases written out; `None` until the value has ended.
    weight: Option<usize>,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value<'t> {
    /// A word; `plain` when it was written without quotes and may be a number, a truth value or nothing.
    Scalar { text: Cow<'t, str>, plain: bool },
    /// A list.
    List(Vec<NodeId>),
    /// Keys with values, in the order of the text, each key once.
    Map(Vec<Entry<'t>>),
}

/// A key of a map.
#[derive(Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) mark: Mark,
    pub(crate) value: NodeId,
}

/// A YAML document, located.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    nodes: Vec<Node<'t>>,
    /// Absent when the text holds no value at all.
    pub(crate) root: Option<NodeId>,
    /// Keys that stand twice; the first one counts.
    pub(crate) duplicates: Vec<Problem>,
}

impl<'t> Document<'t> {
    /// The node. Ids are made by this document's builder only, and nodes are never removed.
    pub(crate) fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id.0]
    }

    /// The value of a key of the outermost map.
    pub(crate) fn top(&self, key: &str) -> Option<&Node<'t>> {
        self.find(&[Step::Key(key.to_owned())])
    }

    /// The value of these steps.
    pub(crate) fn find(&self, steps: &[Step]) -> Option<&Node<'t>> {
        steps.iter().try_fold(self.root?, |here, step| self.child(here, step)).map(|id| self.node(id))
    }

    /// Where the value of these steps stands; the nearest value around it when it is not written down.
    pub(crate) fn mark_of(&self, steps: &[Step]) -> Mark {
        let Some(mut here) = self.root else { return Mark { line: 1, column: 1 } };
        for step in steps {
            let Some(next) = self.child(here, step) else { break };
            here = next;
        }
        self.node(here).mark
    }

    fn child(&self, id: NodeId, step: &Step) -> Option<NodeId> {
        match (&self.node(id).value, step) {
            (Value::List(items), Step::Index(index)) => items.get(*index).copied(),
            (Value::Map(entries), Step::Key(key)) => {
                entries.iter().find(|entry| entry.key == key.as_str()).map(|entry| entry.value)
            }
            (Value::Scalar { .. } | Value::List(_) | Value::Map(_), _) => None,
        }
    }
}

/// Reads one document. The error is one that leaves no tree: bad syntax, too deep, too large, or not one document.
pub(crate) fn locate(text: &str) -> Result<Document<'_>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() as u64 > MAX_YAML_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_YAML_BYTES}", text.len());
        return Err(Problem::whole(message, "shorten it"));
    }
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        let mark = mark(span.start);
        match event {
            Event::DocumentStart(_) if documents > 0 => {
                let message = "a second document starts here, and only one is read";
                return Err(builder.problem(mark, message, Some("remove the `---`")));
            }
            Event::DocumentStart(_) => documents += 1,
            Event::Scalar(text, style, anchor, tag) => {
                let plain = builder.is_plain(style, tag.as_deref(), mark)?;
                builder.leaf(text, plain, anchor, mark)?;
            }
            Event::SequenceStart(anchor, tag) => {
                builder.refuse_tag(tag.as_deref(), "seq", mark)?;
                builder.open(Open::List { items: Vec::new() }, anchor, mark)?;
            }
            Event::MappingStart(anchor, tag) => {
                builder.refuse_tag(tag.as_deref(), "map", mark)?;
                builder.open(
                    Open::Map { entries: Vec::new(), seen: BTreeMap::new(), key: None },
                    anchor,
                    mark,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close(mark)?,
            Event::Alias(anchor) => builder.alias(anchor, mark)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
    Ok(Document { nodes: builder.nodes, root: builder.root, duplicates: builder.duplicates })
}

/// A list or map whose end has not come.
enum Open<'t> {
    List { items: Vec<NodeId> },
    Map { entries: Vec<Entry<'t>>, seen: BTreeMap<Cow<'t, str>, Mark>, key: Option<(Cow<'t, str>, Mark)> },
}

#[derive(Default)]
struct Builder<'t> {
    nodes: Vec<Node<'t>>,
    open: Vec<(NodeId, Open<'t>)>,
    anchors: BTreeMap<usize, NodeId>,
    aliased: usize,
    root: Option<NodeId>,
    duplicates: Vec<Problem>,
}

impl<'t> Builder<'t> {
    fn leaf(&mut self, text: Cow<'t, str>, plain: bool, anchor: usize, mark: Mark) -> Result<(), Problem> {
        let weight = Some(text.len() + 1);
        // A key is no node of the tree, but an anchor on it is one that an alias may name.
        if self.awaits_key() && anchor == 0 {
            return self.key(text, mark);
        }
        let id = self.node(Value::Scalar { text: text.clone(), plain }, weight, anchor, mark);
        if self.awaits_key() { self.key(text, mark) } else { self.put(id) }
    }

    fn open(&mut self, open: Open<'t>, anchor: usize, mark: Mark) -> Result<(), Problem> {
        if self.awaits_key() {
            let message = "a key must be a word, not a list or a map";
            return Err(self.problem(mark, message, Some("put text that starts with `{` or `[` in quotes")));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(self.problem(mark, &message, None));
        }
        let id = self.node(Value::List(Vec::new()), None, anchor, mark);
        self.open.push((id, open));
        Ok(())
    }

    fn close(&mut self, mark: Mark) -> Result<(), Problem> {
        let Some((id, open)) = self.open.pop() else {
            return Err(self.problem(mark, "a list or map ends that never began", None));
        };
        let value = match open {
            Open::List { items } => Value::List(items),
            Open::Map { entries, .. } => Value::Map(entries),
        };
        let weigh = |id: NodeId| self.nodes.get(id.0).and_then(|node| node.weight).unwrap_or(0);
        let weight = match &value {
            Value::List(items) => items.iter().map(|id| weigh(*id)).fold(1, usize::saturating_add),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| weigh(entry.value).saturating_add(entry.key.len()))
                .fold(1, usize::saturating_add),
            Value::Scalar { text, .. } => text.len() + 1,
        };
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.value = value;
            node.weight = Some(weight);
        }
        self.put(id)
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Problem> {
        let target = self.anchors.get(&anchor).copied();
        let weight = target.and_then(|id| self.nodes.get(id.0)).and_then(|node| node.weight);
        let (Some(id), Some(weight)) = (target, weight) else {
            return Err(self.problem(mark, "this alias stands inside the value that it names", None));
        };
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > MAX_ALIASED {
            let message = format!("aliases add more than {MAX_ALIASED} bytes to the document");
            return Err(self.problem(mark, &message, Some("write the values out")));
        }
        if !self.awaits_key() {
            return self.put(id);
        }
        match self.nodes.get(id.0).map(|node| &node.value) {
            Some(Value::Scalar { text, .. }) => {
                let text = text.clone();
                self.key(text, mark)
            }
            Some(Value::List(_) | Value::Map(_)) | None => {
                Err(self.problem(mark, "a key must be a word, not a list or a map", None))
            }
        }
    }

    fn node(&mut self, value: Value<'t>, weight: Option<usize>, anchor: usize, mark: Mark) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { mark, value, weight });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some((_, Open::Map { key: None, .. })))
    }

    fn key(&mut self, text: Cow<'t, str>, mark: Mark) -> Result<(), Problem> {
        if text.contains('\0') {
            return Err(self.problem(mark, "a key may not contain the character NUL", None));
        }
        if let Some((_, Open::Map { key, .. })) = self.open.last_mut() {
            *key = Some((text, mark));
        }
        Ok(())
    }

    /// Puts a finished value where the text has it.
    fn put(&mut self, value: NodeId) -> Result<(), Problem> {
        let mut twice = None;
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((_, Open::List { items })) => items.push(value),
            Some((_, Open::Map { entries, seen, key: awaited })) => {
                if let Some((key, mark)) = awaited.take() {
                    if let Some(first) = seen.get(&key) {
                        twice = Some((key, mark, *first));
                    } else {
                        seen.insert(key.clone(), mark);
                        entries.push(Entry { key, mark, value });
                    }
                }
            }
        }
        if let Some((key, mark, first)) = twice
            && self.duplicates.len() < MAX_DUPLICATES
        {
            let mut steps = self.steps();
            steps.push(Step::Key(key.into_owned()));
            let hint = format!("it stands first in line {}; keep one of them", first.line);
            let message = "this key stands twice".to_owned();
            self.duplicates.push(Problem { mark, key: render(&steps), message, hint: Some(hint) });
        }
        Ok(())
    }

    /// Where the builder stands.
    fn steps(&self) -> Vec<Step> {
        let Some((_, parents)) = self.open.split_last() else { return Vec::new() };
        let step = |(_, open): &(NodeId, Open<'t>)| match open {
            Open::List { items } => Some(Step::Index(items.len())),
            Open::Map { key, .. } => key.as_ref().map(|(key, _)| Step::Key(key.clone().into_owned())),
        };
        parents.iter().filter_map(step).collect()
    }

    fn problem(&self, mark: Mark, message: &str, hint: Option<&str>) -> Problem {
        let mut steps = self.steps();
        match self.open.last() {
            Some((_, Open::List { items })) => steps.push(Step::Index(items.len())),
            Some((_, Open::Map { key: Some((key, _)), .. })) => {
                steps.push(Step::Key(key.clone().into_owned()))
            }
            Some((_, Open::Map { key: None, .. })) | None => {}
        }
        Problem { mark, key: render(&steps), message: message.to_owned(), hint: hint.map(str::to_owned) }
    }

    /// Whether a scalar may be something else than text. `!!str` and `!` say that it may not.
    fn is_plain(&self, style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Result<bool, Problem> {
        match tag {
            None => Ok(style == ScalarStyle::Plain),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(false),
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(false),
            Some(tag) => self.refuse_tag(Some(tag), "str", mark).map(|()| false),
        }
    }

    fn refuse_tag(&self, tag: Option<&Tag>, usual: &str, mark: Mark) -> Result<(), Problem> {
        match tag {
            None => Ok(()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == usual => Ok(()),
            Some(tag) => {
                let message = format!("the tag {} means nothing here", quoted(&tag.to_string()));
                Err(self.problem(
                    mark,
                    &message,
                    Some("remove it, or put text that starts with `!` in quotes"),
                ))
            }
        }
    }
}

fn mark(marker: saphyr_parser::Marker) -> Mark {
    Mark { line: marker.line(), column: marker.col() + 1 }
}

fn syntax(text: &str, error: &saphyr_parser::ScanError) -> Problem {
    let mark = mark(*error.marker());
    let line = text.lines().nth(mark.line.saturating_sub(1)).unwrap_or_default();
    let message = format!("not valid YAML: {}", printable(error.info(), MAX_INFO_CHARS));
    let hint = syntax_hint(line, mark.column).map(str::to_owned);
    Problem { mark, key: String::new(), message, hint }
}

/// What people mostly did, judged by the line: the parser's own words speak of indicators and contexts.
fn syntax_hint(line: &str, column: usize) -> Option<&'static str> {
    let indent_len = line.len() - line.trim_start().len();
    if line.get(..indent_len).is_some_and(|indent| indent.contains('\t')) {
        return Some("indent with spaces: YAML takes no tabs there");
    }
    if line.contains('\0') {
        return Some("the line contains the character NUL");
    }
    if line.chars().nth(column.saturating_sub(1)).is_some_and(|at| matches!(at, '`' | '@' | '%')) {
        return Some("put text that starts with this character in quotes");
    }
    if line.matches(": ").count() > 1 {
        return Some("put text with `: ` in it in quotes");
    }
    None
}

/// Characters of the YAML parser's own words.
const MAX_INFO_CHARS: usize = 160;
