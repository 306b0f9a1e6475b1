//! GitHub's own tokens in a text. Somebody pasted one by mistake; a prompt is no place for it.

/// The beginnings of GitHub's tokens, what they are made of after it, and how much of that at least.
const TOKENS: [(&str, IsPart, usize); 6] = [
    ("ghp_", is_alphanumeric, 36),
    ("gho_", is_alphanumeric, 36),
    ("ghu_", is_alphanumeric, 36),
    ("ghr_", is_alphanumeric, 36),
    // An App's token: once short, now a JWT of some hundred characters.
    ("ghs_", is_token_byte, 36),
    ("github_pat_", is_token_byte, 22),
];

/// Whether a byte may stand in a token.
type IsPart = fn(u8) -> bool;

const fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// What stands where a token was.
const TOKEN_WAS_HERE: &str = "[token removed]";

/// The text without GitHub's tokens, and how many there were.
pub(crate) fn without_tokens(text: &str) -> (String, usize) {
    let mut removed = 0;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('g') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = TOKENS.iter().find_map(|(head, is_part, least)| {
            let tail = from.strip_prefix(head)?;
            let length = tail.bytes().take_while(|byte| is_part(*byte)).count();
            (length >= *least).then_some(head.len() + length)
        });
        match length {
            Some(length) => {
                removed += 1;
                out.push_str(TOKEN_WAS_HERE);
                rest = &from[length..];
            }
            None => {
                out.push('g');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    (out, removed)
}
