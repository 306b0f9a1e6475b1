//! Where in a text a command may stand: at the start of a line of a plain paragraph, and nowhere else.
//!
//! The text is read as GitHub shows it, through a CommonMark parser. Looking for the prefix with a regular expression
//! would run what somebody quoted, showed as code, or hid in a comment.
//!
//! Only paragraphs that are direct children of the document count. A list item, a table cell, a footnote, an alert or a
//! quote is not somebody giving an order, and a rule without exceptions is one that people can keep in mind.

use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::html::tag_length;

/// What GitHub reads beyond CommonMark. Each one takes text *away* from the plain paragraphs.
pub(crate) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH
}

/// A line that begins with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Where what follows the prefix begins.
    pub(crate) after_prefix: usize,
    /// Where the line ends, without its line break.
    pub(crate) line_end: usize,
}

/// Every line of a plain paragraph that begins with one of `prefixes`.
pub(crate) fn command_lines(text: &str, prefixes: &[String]) -> Vec<CommandLine> {
    // Most comments are not for us: no need to parse them.
    if !prefixes.iter().any(|prefix| contains_ignoring_case(text, prefix)) {
        return Vec::new();
    }
    let mut found: Vec<CommandLine> = Vec::new();
    let mut depth = 0_usize;
    let mut top_is_paragraph = false;
    let mut html = OpenTags::default();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    top_is_paragraph = tag == Tag::Paragraph;
                }
                // The parser tells a block of HTML line by line; a tag or comment may go over several.
                if tag == Tag::HtmlBlock {
                    html.read(text.get(range).unwrap_or_default());
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::InlineHtml(markup) => html.read(&markup),
            Event::Text(_) if top_is_paragraph && depth == 1 && html.is_none_open() => {
                if let Some(line) = command_line(text, range.start, prefixes)
                    && found.last() != Some(&line)
                {
                    found.push(line);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether the line that `at` stands in begins there, but for spaces, with a prefix.
fn command_line(text: &str, at: usize, prefixes: &[String]) -> Option<CommandLine> {
    let (before, rest) = text.split_at_checked(at)?;
    let prefix = prefixes.iter().find(|prefix| starts_with_word(rest, prefix))?;
    let before_indent = before.trim_end_matches([' ', '\t']);
    if !before_indent.is_empty() && !before_indent.ends_with(['\n', '\r']) {
        return None;
    }
    let line_end = rest.find(['\n', '\r']).unwrap_or(rest.len());
    Some(CommandLine { after_prefix: at + prefix.len(), line_end: at + line_end })
}

/// Telephones write `/Cloud-code` at the start of a line, so letters of either size fit.
fn starts_with_word(text: &str, word: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked(word.len()) else { return false };
    head.eq_ignore_ascii_case(word)
        && tail.chars().next().is_none_or(|next| next.is_ascii_whitespace() || matches!(next, ',' | ':'))
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len().max(1)).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether somebody with this login is mentioned in what is said: not in a quote, code, a link or HTML.
pub(crate) fn mentions(text: &str, handle: &str) -> bool {
    let mention = format!("@{handle}");
    if !contains_ignoring_case(text, &mention) {
        return false;
    }
    let mut unheard = 0_usize;
    let mut html = OpenTags::default();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if tag == Tag::HtmlBlock {
                    html.read(text.get(range).unwrap_or_default());
                }
                if unheard > 0 || !is_said(&tag) {
                    unheard += 1;
                }
            }
            Event::End(_) => unheard = unheard.saturating_sub(1),
            Event::InlineHtml(markup) => html.read(&markup),
            Event::Text(_) if unheard == 0 && html.is_none_open() => {
                let words = text.get(range.clone()).unwrap_or_default();
                let found = words.char_indices().filter(|(_, character)| *character == '@').any(|(at, _)| {
                    let start = range.start + at;
                    let before = text.get(..start).and_then(|before| before.chars().next_back());
                    let (head, tail) = text
                        .get(start..)
                        .unwrap_or_default()
                        .split_at_checked(mention.len())
                        .unwrap_or_default();
                    let is_free = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '/');
                    head.eq_ignore_ascii_case(&mention)
                        && before.is_none_or(|c| is_free(c) && c != '`')
                        && tail.chars().next().is_none_or(is_free)
                });
                if found {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether what stands in it is the author's own word to the reader.
const fn is_said(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Paragraph
            | Tag::List(_)
            | Tag::Item
            | Tag::Emphasis
            | Tag::Strong
            | Tag::Table(_)
            | Tag::TableHead
            | Tag::TableRow
            | Tag::TableCell
    )
}

/// The HTML elements that are open between Markdown blocks: a paragraph between `<details>` and `</details>` is one to
/// the parser, but folded away, or a quote, to the reader. An element that is never closed counts as open to the end.
#[derive(Default)]
struct OpenTags {
    names: Vec<String>,
    is_too_deep: bool,
}

/// Deeper than this no person writes. Beyond it, everything to the end counts as inside.
const MAX_OPEN: usize = 64;

/// Elements that never have an end, and `p`, which the next paragraph ends.
const NEVER_OPEN: [&str; 15] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "p", "param", "source",
    "track", "wbr",
];

impl OpenTags {
    fn is_none_open(&self) -> bool {
        self.names.is_empty() && !self.is_too_deep
    }

    fn read(&mut self, markup: &str) {
        let mut rest = markup;
        while let Some(at) = rest.find('<') {
            rest = &rest[at + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                let Some(end) = comment.find("-->") else { return };
                rest = &comment[end + 3..];
                continue;
            }
            let (is_end, name_on) = rest.strip_prefix('/').map_or((false, rest), |name| (true, name));
            let length =
                name_on.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
            let name = name_on[..length].to_ascii_lowercase();
            if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
                continue;
            }
            let tail = &name_on[length..];
            rest = &tail[tag_length(tail)..];
            if NEVER_OPEN.contains(&name.as_str()) {
                continue;
            }
            if !is_end {
                self.is_too_deep |= self.names.len() >= MAX_OPEN;
                if !self.is_too_deep {
                    self.names.push(name);
                }
            } else if let Some(at) = self.names.iter().rposition(|open| *open == name) {
                self.names.truncate(at);
            }
        }
    }
}
