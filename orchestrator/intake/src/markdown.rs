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
    let indent = before.rsplit(['\n', '\r']).next().unwrap_or_default();
    if !indent.bytes().all(|byte| byte == b' ' || byte == b'\t') {
        return None;
    }
    let prefix = prefixes.iter().find(|prefix| starts_with_word(rest, prefix))?;
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

/// The HTML elements that are open between Markdown blocks: a paragraph between `<details>` and `</details>` is one to
/// the parser, but folded away, or a quote, to the reader. An element that is never closed counts as open to the end.
#[derive(Default)]
struct OpenTags(Vec<String>);

/// Elements that never have an end, and `p`, which the next paragraph ends.
const NEVER_OPEN: [&str; 15] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "p", "param", "source",
    "track", "wbr",
];

impl OpenTags {
    fn is_none_open(&self) -> bool {
        self.0.is_empty()
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
                self.0.push(name);
            } else if let Some(at) = self.0.iter().rposition(|open| *open == name) {
                self.0.truncate(at);
            }
        }
    }
}
