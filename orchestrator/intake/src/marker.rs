//! Words of others in what we write, and our hidden mark in what others write.
//!
//! The mark itself is made and known by the forge's side. Here it only keeps a text from being heard: our own comments come
//! back as webhooks, often before the answer to the request that wrote them, and with a person's token under that person's
//! name. Anybody can write our mark into a comment. All they gain is that we do not listen to it.

/// Whether a text has anything that looks like a mark of ours, whole or not.
pub fn carries_marker(text: &str) -> bool {
    text.match_indices("<!--").any(|(at, opening)| {
        text.get(at + opening.len()..).is_some_and(|rest| rest.trim_start().starts_with("cloud-code:"))
    })
}

/// Invisible, and of no width: it keeps `@` from mentioning and `#` from linking.
const BREAK: char = '\u{200B}';

/// Quotes a stranger's text in what we write: every line begins with `> `, so no line is a command or a heading of
/// ours; nobody is mentioned, no issue is linked or closed, and no comment or marker is opened.
pub fn neutralize(text: &str) -> String {
    let (text, _) = crate::characters::without_hidden_characters(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (index, line) in text.trim_end().split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push('>');
        if !line.trim().is_empty() {
            out.push(' ');
            break_references(line.trim_end(), &mut out);
        }
    }
    out
}

/// An agent's text in what we write, where its Markdown is wanted: nobody is mentioned, no issue is linked or closed, and no
/// comment or marker is opened. Its lines can still look like ours, so it never stands before what must be read.
pub fn disarm(text: &str) -> String {
    let (text, _) = crate::characters::without_hidden_characters(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (index, line) in text.trim().split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        break_references(line.trim_end(), &mut out);
    }
    out
}

fn break_references(line: &str, out: &mut String) {
    for (at, character) in line.char_indices() {
        out.push(character);
        let rest = line.get(at + character.len_utf8()..).unwrap_or_default();
        let next = rest.chars().next();
        let has_meaning = match character {
            '@' => next.is_some_and(|next| next.is_ascii_alphanumeric()),
            '#' => next.is_some_and(|next| next.is_ascii_digit()),
            '<' => next == Some('!'),
            // `GH-12` is `#12`, and the address of an issue behind "closes" closes it.
            '-' => line.get(..at).is_some_and(|before| before.to_ascii_lowercase().ends_with("gh")),
            '/' => ["issues/", "pull/"].iter().any(|path| rest.starts_with(path)),
            _ => false,
        };
        if has_meaning {
            out.push(BREAK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_seen_whole_or_not() {
        for text in [
            "<!-- cloud-code:status:a:b -->",
            "x\n<!--cloud-code:",
            "<!--\n cloud-code:x",
            "`<!-- cloud-code:a`",
        ] {
            assert!(carries_marker(text), "{text}");
        }
        for text in ["", "cloud-code:status", "<!-- other: cloud-code: -->", "<!- cloud-code:a"] {
            assert!(!carries_marker(text), "{text}");
        }
    }

    #[test]
    fn quoted_words_have_no_effect() {
        let quoted = neutralize(
            "/cloud-code run\r\n\r\n# Title\nhi @octocat, fixes #12, GH-3 and https://example.com/a/b/issues/4\n<!-- cloud-code:a:b:c -->\u{202E}\n",
        );
        assert_eq!(
            quoted,
            "> /cloud-code run\n>\n> # Title\n> hi @\u{200B}octocat, fixes #\u{200B}12, GH-\u{200B}3 and \
             https://example.com/a/b/\u{200B}issues/4\n> <\u{200B}!-- cloud-code:a:b:c -->"
        );
        assert!(!carries_marker(&quoted));
        assert_eq!(neutralize(""), ">");
    }
}
