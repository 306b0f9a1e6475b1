//! The parts of an issue's text that fill fields of a task: `## Acceptance Criteria`, `## Related Files`, `## Context`.
//!
//! A heading of any level counts, so that both what people write and what issue forms make (`###`) is understood. What
//! stands under no such heading is the description.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

use crate::markdown;

/// An issue's text, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sections {
    /// What is in no other part.
    pub description: String,
    /// What must be true at the end.
    pub acceptance_criteria: Vec<String>,
    /// Paths, as seen from the repository's root.
    pub related_files: Vec<String>,
    /// Where to look, and what was said before.
    pub context: String,
    /// What stood under the files' heading and cannot be a path in the repository. For a line to the person.
    pub refused_files: Vec<String>,
}

/// Most criteria, and most files. A longer list is no list for people.
const MAX_ITEMS: usize = 100;

/// Longest path. Linux takes no longer one.
const MAX_PATH: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Description,
    Criteria,
    Files,
    Context,
}

impl Part {
    /// Which part a heading opens.
    fn titled(title: &str) -> Option<Self> {
        let words: Vec<String> = title
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        Some(match words.join(" ").as_str() {
            "acceptance criteria"
            | "acceptance criterion"
            | "acceptance"
            | "criteria"
            | "definition of done"
            | "done when" => Self::Criteria,
            "related files" | "relevant files" | "affected files" | "files" | "related file" => Self::Files,
            "context" | "additional context" | "background" | "notes" => Self::Context,
            _ => return None,
        })
    }
}

/// Takes an issue's text apart. Give it what [`visible`](crate::visible) left.
pub fn sections(text: &str) -> Sections {
    let mut sections = Sections::default();
    for (part, range) in parts(text) {
        let content = text.get(range).unwrap_or_default().trim();
        match part {
            // GitHub's forms write this for a field that was left empty.
            _ if content.is_empty() || content == "_No response_" => {}
            Part::Description => join(&mut sections.description, content),
            Part::Context => join(&mut sections.context, content),
            Part::Criteria => {
                sections.acceptance_criteria.extend(items(content).into_iter().map(|item| one_line(&item)))
            }
            Part::Files => {
                for item in items(content) {
                    let path = path_of(&item);
                    if is_inside(&path) {
                        sections.related_files.push(path);
                    } else {
                        sections.refused_files.push(path);
                    }
                }
            }
        }
    }
    sections.acceptance_criteria.retain(|item| !item.is_empty());
    for list in [&mut sections.acceptance_criteria, &mut sections.related_files, &mut sections.refused_files]
    {
        list.truncate(MAX_ITEMS);
    }
    sections
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

/// The stretches of a text and what each belongs to. A part goes on to the next heading of its own level or above.
fn parts(text: &str) -> Vec<(Part, Range<usize>)> {
    let mut parts = Vec::new();
    let mut part = Part::Description;
    let mut level = HeadingLevel::H6;
    let mut start = 0;
    for (range, heading_level, title) in headings(text) {
        let opened = Part::titled(&title);
        // A heading inside a part, below its own level, belongs to it.
        if opened.is_none() && (part == Part::Description || heading_level > level) {
            continue;
        }
        parts.push((part, start..range.start));
        (part, start) = match opened {
            Some(opened) => (opened, range.end),
            None => (Part::Description, range.start),
        };
        level = heading_level;
    }
    parts.push((part, start..text.len()));
    parts
}

/// The headings that are direct children of the document.
fn headings(text: &str) -> Vec<(Range<usize>, HeadingLevel, String)> {
    let mut headings = Vec::new();
    let mut depth = 0_usize;
    let mut open: Option<(Range<usize>, HeadingLevel, String)> = None;
    for (event, range) in Parser::new_ext(text, markdown::options()).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                depth += 1;
                open = Some((range, level, String::new()));
            }
            Event::Start(_) => depth += 1,
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if matches!(end, TagEnd::Heading(_)) {
                    headings.extend(open.take());
                }
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, _, title)) = &mut open {
                    title.push_str(&words);
                }
            }
            _ => {}
        }
    }
    headings
}

/// The items of the lists in a part, nested ones too, as they are written; the lines, when there is no list.
fn items(content: &str) -> Vec<String> {
    let mut items: Vec<Range<usize>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (event, range) in Parser::new_ext(content, markdown::options()).into_offset_iter() {
        match event {
            Event::Start(Tag::Item) => {
                open.push(items.len());
                items.push(range.end..range.end);
            }
            Event::End(TagEnd::Item) => {
                open.pop();
            }
            // A list within an item is items of its own.
            Event::Start(Tag::List(_)) => {
                if let Some(item) = open.last().and_then(|index| items.get_mut(*index)) {
                    item.end = item.end.min(range.start).max(item.start.min(range.start));
                }
            }
            Event::TaskListMarker(_) => {}
            Event::Text(_) | Event::Code(_) | Event::Start(_) | Event::InlineHtml(_) | Event::Html(_) => {
                if let Some(item) = open.last().and_then(|index| items.get_mut(*index)) {
                    item.start = item.start.min(range.start);
                }
            }
            _ => {}
        }
    }
    if items.is_empty() {
        return content.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    }
    let texts = items.into_iter().map(|range| content.get(range).unwrap_or_default());
    texts.map(|item| without_box(item.trim()).to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Without the `[ ]` of a task list.
fn without_box(item: &str) -> &str {
    ["[ ]", "[x]", "[X]"].into_iter().find_map(|mark| item.strip_prefix(mark)).unwrap_or(item).trim_start()
}

fn one_line(item: &str) -> String {
    item.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The path in an item: its first code span, or its first word without what people put around and behind a path.
fn path_of(item: &str) -> String {
    let in_code = item.split('`').nth(1).map(str::trim).filter(|code| !code.is_empty());
    let path = in_code.unwrap_or_else(|| {
        let word = item.split_whitespace().next().unwrap_or_default();
        let word = word.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(word);
        word.trim_end_matches([',', ';', ':']).trim_matches(['"', '\'', '*'])
    });
    path.strip_prefix("./").unwrap_or(path).chars().take(MAX_PATH + 1).collect()
}

/// Whether a path stays in the repository, wherever it is read.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= MAX_PATH
        && !path.starts_with(['/', '~', '-'])
        && !path.contains(['\\', ':'])
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| part != ".." && !part.eq_ignore_ascii_case(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_issue_is_taken_apart() {
        let text = "The cart loses items.\n\n```sh\n# Context\n```\n\n\
            ## Acceptance criteria:\n\n- [ ] Items **stay**\n  after a reload\n- [x] A test shows it\n  - also with `two` tabs\n\n\
            ## Related Files\n\n- `src/cart.rs`: the store\n- ./src/lib.rs, perhaps\n* [docs/cart.md](docs/cart.md)\n- ../../etc/passwd\n- /etc/shadow\n\n\
            ### Deep\n\n- src/deep.rs\n\n\
            ## Steps\n\nOpen two tabs.\n\n### CONTEXT\n\nSeen since 2.1.\n\n#### Detail\n\nOnly in one browser.\n\n# Other\n\nEnd.\n";
        assert_eq!(
            sections(text),
            Sections {
                description: "The cart loses items.\n\n```sh\n# Context\n```\n\n## Steps\n\nOpen two tabs.\n\n# Other\n\nEnd."
                    .to_owned(),
                acceptance_criteria: strings(&[
                    "Items **stay** after a reload",
                    "A test shows it",
                    "also with `two` tabs"
                ]),
                related_files: strings(&["src/cart.rs", "src/lib.rs", "docs/cart.md", "src/deep.rs"]),
                context: "Seen since 2.1.\n\n#### Detail\n\nOnly in one browser.".to_owned(),
                refused_files: strings(&["../../etc/passwd", "/etc/shadow"]),
            }
        );
    }

    #[test]
    fn a_form_is_taken_apart() {
        let text = "### What\n\nA button.\n\n### Acceptance Criteria\n\nIt is green\nIt is round\n\n\
            ### Related Files\n\n_No response_\n\n### Context\n\n_No response_";
        assert_eq!(
            sections(text),
            Sections {
                description: "### What\n\nA button.".to_owned(),
                acceptance_criteria: strings(&["It is green", "It is round"]),
                ..Sections::default()
            }
        );
    }

    #[test]
    fn a_text_without_headings_is_its_description() {
        for text in ["", "fix it", "> ## Context\n> quoted", "- ## Context\n- b"] {
            let expected = Sections { description: text.to_owned(), ..Sections::default() };
            assert_eq!(sections(text), expected);
        }
    }

    #[test]
    fn a_path_never_leaves_the_repository() {
        for bad in [
            "",
            "..",
            "a/..",
            "a/../b",
            "/a",
            "~/a",
            "-rf",
            "C:/a",
            "a\\..\\b",
            ".git/config",
            "a/.GIT/hooks",
            "a\0b",
            "https://example.com/a",
        ] {
            assert!(!is_inside(bad), "{bad:?} was accepted");
        }
        for good in ["a", "a/b.rs", ".github/workflows/ci.yml", "a b.txt", "..a/b..", "src/**/*.rs"] {
            assert!(is_inside(good), "{good:?} was refused");
        }
    }
}
