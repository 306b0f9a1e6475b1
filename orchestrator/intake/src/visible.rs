//! What a person sees of a text, and nothing else.
//!
//! A prompt is read by something that sees all of it. What is hidden from the people who read the issue must not reach
//! it: nobody could have objected. The raw text stays in the audit log; this is for prompts.
//!
//! Code is shown as it stands, so comments and entities in it stay. Characters that nothing shows go everywhere.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::characters::without_hidden_characters;
use crate::html::{self, Hidden};
use crate::markdown;
use crate::tokens::without_tokens;

/// What was taken out, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Characters that nothing shows.
    pub characters: usize,
    /// HTML comments and the like.
    pub comments: usize,
    /// Texts of images, titles of links, attributes of HTML that only show on hover or to programs.
    pub descriptions: usize,
    /// Link and footnote definitions that nothing refers to.
    pub definitions: usize,
    /// Characters written as numbers, which were decoded or dropped.
    pub entities: usize,
    /// Tokens of GitHub.
    pub tokens: usize,
}

impl Removed {
    /// All of it.
    pub const fn total(self) -> usize {
        self.characters + self.comments + self.descriptions + self.definitions + self.entities + self.tokens
    }

    /// Both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            characters: self.characters + other.characters,
            comments: self.comments + other.comments,
            descriptions: self.descriptions + other.descriptions,
            definitions: self.definitions + other.definitions,
            entities: self.entities + other.entities,
            tokens: self.tokens + other.tokens,
        }
    }
}

/// A text without what was hidden in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// What is left. Lines end in `\n`.
    pub text: String,
    /// What was taken out.
    pub removed: Removed,
}

/// Taking something out may put together something new. Honest texts need one round, and one more to see that.
const MAX_ROUNDS: usize = 8;

/// Takes out what is hidden.
pub fn visible(raw: &str) -> Visible {
    let (mut text, characters) = without_hidden_characters(raw);
    let mut removed = Removed { characters, ..Removed::default() };
    for _ in 0..MAX_ROUNDS {
        let (next, round) = one_round(&text);
        removed = removed.plus(round);
        if next == text {
            return Visible { text, removed };
        }
        text = next;
    }
    // Nested on purpose. What is still there is taken apart so that no reader puts it together.
    for opening in ["<!--", "&#"] {
        while text.contains(opening) {
            text = text.replace(opening, "");
            removed.comments += 1;
        }
    }
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.contains("]:")).collect();
    removed.definitions += 1;
    text = lines.join("\n");
    Visible { text, removed }
}

/// A stretch of the text and what stands there afterwards.
struct Edit {
    range: Range<usize>,
    with: String,
}

fn one_round(text: &str) -> (String, Removed) {
    let mut removed = Removed::default();
    let mut survey = survey(text, &mut removed);
    survey.edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for edit in survey.edits {
        // Inside of one that was made already.
        if edit.range.start < done {
            continue;
        }
        decode(text, done..edit.range.start, &survey.code, &mut out, &mut removed);
        out.push_str(&edit.with);
        done = edit.range.end;
    }
    decode(text, done..text.len(), &survey.code, &mut out, &mut removed);
    let (out, tokens) = without_tokens(&out);
    removed.tokens += tokens;
    (out, removed)
}

/// What a round found.
#[derive(Default)]
struct Survey {
    edits: Vec<Edit>,
    code: Vec<Range<usize>>,
}

/// A link whose title must go, while its text is being read.
struct OpenLink {
    target: String,
    text_end: usize,
    whole: Range<usize>,
}

fn survey(text: &str, removed: &mut Removed) -> Survey {
    let mut found = Survey::default();
    let mut links: Vec<Option<OpenLink>> = Vec::new();
    let mut images = 0_usize;
    let mut used_labels = BTreeSet::new();
    let mut used_notes = BTreeSet::new();
    let mut notes = Vec::new();
    let parser = Parser::new_ext(text, markdown::options()).into_offset_iter();
    let definitions: Vec<Definition> = parser
        .reference_definitions()
        .iter()
        .map(|(label, link)| Definition {
            label: label.to_lowercase(),
            dest: link.dest.to_string(),
            has_title: link.title.is_some(),
            range: link.span.clone(),
        })
        .collect();
    let mut depth = 0_usize;
    let mut covered = 0;
    let mut gaps = Vec::new();
    for (event, range) in parser {
        if depth == 0 && !matches!(event, Event::End(_)) {
            gaps.push(covered..range.start.max(covered));
            covered = covered.max(range.end);
        }
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let link_ends = matches!(event, Event::End(TagEnd::Link));
        if !link_ends && let Some(Some(link)) = links.last_mut() {
            link.text_end = link.text_end.max(range.end);
        }
        match event {
            Event::Start(Tag::Image { dest_url, id, .. }) => {
                used_labels.insert(id.to_lowercase());
                if images == 0 && !is_bare_image(text, &range, &dest_url) {
                    removed.descriptions += 1;
                    found.edits.push(Edit { range, with: format!("![]({})", target(&dest_url)) });
                }
                images += 1;
            }
            Event::End(TagEnd::Image) => images = images.saturating_sub(1),
            _ if images > 0 => {}
            Event::Start(Tag::Link { dest_url, title, id, link_type }) => {
                used_labels.insert(id.to_lowercase());
                let has_title = !title.is_empty() && link_type == pulldown_cmark::LinkType::Inline;
                links.push(has_title.then(|| OpenLink {
                    target: target(&dest_url),
                    text_end: range.start + 1,
                    whole: range,
                }));
            }
            Event::End(TagEnd::Link) => {
                if let Some(Some(link)) = links.pop() {
                    removed.descriptions += 1;
                    let with = format!("]({})", link.target);
                    found.edits.push(Edit { range: link.text_end..link.whole.end, with });
                }
            }
            Event::Start(Tag::HtmlBlock) | Event::InlineHtml(_) => {
                let markup = text.get(range.clone()).unwrap_or_default();
                if let Some((with, what)) = html::without_hidden(markup) {
                    match what {
                        Hidden::Comment => removed.comments += 1,
                        Hidden::Attribute => removed.descriptions += 1,
                    }
                    found.edits.push(Edit { range, with });
                }
            }
            Event::Code(_) | Event::Start(Tag::CodeBlock(_)) => found.code.push(range),
            Event::FootnoteReference(label) => {
                used_notes.insert(label.to_lowercase());
            }
            Event::Start(Tag::FootnoteDefinition(label)) => notes.push((label.to_lowercase(), range)),
            _ => {}
        }
    }
    for (label, range) in notes {
        if !used_notes.contains(&label) {
            removed.definitions += 1;
            found.edits.push(Edit { range, with: "\n".to_owned() });
        }
    }
    gaps.push(covered..text.len());
    let (definitions, within): (Vec<_>, Vec<_>) = definitions.into_iter().partition(|definition| {
        gaps.iter().any(|gap| gap.start <= definition.range.start && definition.range.end <= gap.end)
    });
    for definition in within {
        found.edits.extend(definition.edit(definition.range.clone(), &used_labels, removed));
    }
    for gap in gaps {
        found.edits.extend(without_definitions(text, gap, &definitions, &used_labels, removed));
    }
    found
}

/// The definition of a link's label. Nothing shows it, only what refers to it.
struct Definition {
    label: String,
    dest: String,
    has_title: bool,
    range: Range<usize>,
}

impl Definition {
    /// What becomes of it, in `range`: nothing when no text refers to it, and no title in any case.
    fn edit(&self, range: Range<usize>, used: &BTreeSet<String>, removed: &mut Removed) -> Option<Edit> {
        if !used.contains(&self.label) {
            removed.definitions += 1;
            return Some(Edit { range, with: String::new() });
        }
        self.has_title.then(|| {
            removed.descriptions += 1;
            Edit { range, with: self.written() }
        })
    }

    fn written(&self) -> String {
        format!("[{}]: {}", self.label, target(&self.dest))
    }
}

/// What stands between the blocks of a document is definitions. Of several with one label the parser tells only the
/// first, and the others are as hidden.
fn without_definitions(
    text: &str,
    gap: Range<usize>,
    definitions: &[Definition],
    used: &BTreeSet<String>,
    removed: &mut Removed,
) -> Option<Edit> {
    let source = text.get(gap.clone()).unwrap_or_default();
    let hidden = source.trim();
    if hidden.is_empty() {
        return None;
    }
    let mut here: Vec<&Definition> = definitions
        .iter()
        .filter(|definition| gap.start <= definition.range.start && definition.range.end <= gap.end)
        .filter(|definition| used.contains(&definition.label))
        .collect();
    here.sort_by_key(|definition| definition.range.start);
    let kept = here.iter().map(|definition| definition.written()).collect::<Vec<_>>().join("\n");
    if kept == hidden {
        return None;
    }
    if here.iter().any(|definition| definition.has_title) {
        removed.descriptions += 1;
    } else {
        removed.definitions += 1;
    }
    let start = gap.start + source.len() - source.trim_start().len();
    Some(Edit { range: start..start + hidden.len(), with: kept })
}

fn is_bare_image(text: &str, range: &Range<usize>, dest: &str) -> bool {
    text.get(range.clone()).is_some_and(|source| source == format!("![]({})", target(dest)))
}

/// An address as it is written in Markdown.
fn target(dest: &str) -> String {
    // The parser has decoded the address, and so perhaps a character that nothing shows.
    let (dest, _) = without_hidden_characters(dest);
    let is_plain = !dest.is_empty() && !dest.contains(|c: char| c.is_whitespace() || "()<>&\\".contains(c));
    if is_plain {
        return dest;
    }
    let mut written = String::from("<");
    for character in dest.chars() {
        match character {
            '\n' => written.push_str("%0A"),
            '<' | '>' | '\\' => written.extend(['\\', character]),
            '&' => written.push_str("&amp;"),
            other => written.push(other),
        }
    }
    written.push('>');
    written
}

/// Copies a stretch and, outside of code, writes numbered characters out: printable ASCII as itself, all else not at
/// all. A browser shows `&#105;` as `i`; a filter that looks for words does not.
fn decode(text: &str, range: Range<usize>, code: &[Range<usize>], out: &mut String, removed: &mut Removed) {
    let mut at = range.start;
    while let Some(found) = text.get(at..range.end).and_then(|rest| rest.find("&#")) {
        let start = at + found;
        out.push_str(&text[at..start]);
        // They are in the order of the text, and none lies in another.
        let next_code = code.partition_point(|code| code.end <= start);
        let in_code = code.get(next_code).is_some_and(|code| code.contains(&start));
        match entity(&text[start + 2..range.end]) {
            Some((length, value)) if !in_code => {
                removed.entities += 1;
                if let Some(shown) = value.filter(|value| value.is_ascii_graphic() || *value == ' ') {
                    out.push(shown);
                }
                at = start + 2 + length;
            }
            _ => {
                out.push_str("&#");
                at = start + 2;
            }
        }
    }
    out.push_str(text.get(at..range.end).unwrap_or_default());
}

/// How long the number of an entity is, with its `;`, and what it stands for.
fn entity(text: &str) -> Option<(usize, Option<char>)> {
    let end = text.as_bytes().iter().take(12).position(|byte| *byte == b';')?;
    let number = &text[..end];
    let value = match number.strip_prefix(['x', 'X']) {
        Some(hex) if !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        None if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().ok(),
        Some(_) | None => return None,
    };
    Some((end + 1, value.and_then(char::from_u32)))
}

#[cfg(test)]
#[path = "visible_tests.rs"]
mod tests;
