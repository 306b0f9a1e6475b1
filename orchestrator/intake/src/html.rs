//! HTML within Markdown: what in it a person does not see.

/// What kind of hidden thing a piece of HTML had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// A comment, a declaration, a processing instruction.
    Comment,
    /// An attribute whose text is for programs or for hovering.
    Attribute,
}

/// The markup without what is hidden in it, and what that was; nothing when there was none.
pub(crate) fn without_hidden(markup: &str) -> Option<(String, Hidden)> {
    let mut out = String::with_capacity(markup.len());
    let mut what = None;
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(length) = unseen(from) {
            what = Some(Hidden::Comment);
            rest = &from[length..];
            continue;
        }
        let length = tag_length(from);
        let (tag, after) = from.split_at(length);
        let kept = without_attributes(tag);
        if kept != tag && what.is_none() {
            what = Some(Hidden::Attribute);
        }
        out.push_str(&kept);
        rest = after;
    }
    out.push_str(rest);
    what.map(|what| (out, what))
}

/// How long a comment, declaration, instruction or CDATA section is; one without an end goes to the end.
fn unseen(text: &str) -> Option<usize> {
    let upto = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("<!--") {
        // `<!-->` and `<!--->` are whole comments.
        let whole = ["<!-->", "<!--->"].iter().find(|short| text.starts_with(**short));
        Some(whole.map_or_else(|| upto("-->", 4), |short| short.len()))
    } else if text.starts_with("<![CDATA[") {
        Some(upto("]]>", 9))
    } else if text.starts_with("<?") {
        Some(upto("?>", 2))
    } else if text.starts_with("<!") {
        Some(upto(">", 2))
    } else {
        None
    }
}

/// How long a tag is, with its `<` and `>`; a `>` within quotes does not end it.
pub(crate) fn tag_length(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return at + 1,
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    text.len()
}

fn is_hidden_attribute(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "alt" | "title" | "placeholder" | "summary" | "label" | "value" | "content")
        || name.starts_with("aria-")
        || name.starts_with("data-")
}

/// The tag without attributes that nobody reads.
fn without_attributes(tag: &str) -> String {
    let name_end = tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(tag.len());
    let (mut out, mut rest) = (tag[..name_end].to_owned(), &tag[name_end..]);
    while !rest.is_empty() {
        let space = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/').len();
        let (gap, from) = rest.split_at(space);
        let name_length = from
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/'))
            .unwrap_or(from.len());
        if name_length == 0 {
            // The end of the tag, or something that is no attribute: at least one character goes on.
            let step = from.chars().next().map_or(0, char::len_utf8);
            out.push_str(gap);
            out.push_str(&from[..step]);
            rest = &from[step..];
            continue;
        }
        let length = name_length + value_length(&from[name_length..]);
        if !is_hidden_attribute(&from[..name_length]) {
            out.push_str(gap);
            out.push_str(&from[..length]);
        }
        rest = &from[length..];
    }
    out
}

/// How long `= value` is; 0 when there is none.
fn value_length(text: &str) -> usize {
    let Some(value) = text.trim_start().strip_prefix('=') else { return 0 };
    let value = value.trim_start();
    let start = text.len() - value.len();
    let length = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |at| at + 2),
        _ => value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len()),
    };
    start + length
}
