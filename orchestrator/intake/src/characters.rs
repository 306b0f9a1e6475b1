//! Characters that nothing shows. Text can be written in them that a person cannot see and a model can read.

/// Takes out the characters that nothing shows, and makes every line end in `\n`.
pub(crate) fn without_hidden_characters(raw: &str) -> (String, usize) {
    let mut removed = 0;
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    text.push('\n');
                }
            }
            // Line and paragraph separator: seen as a space at most.
            '\u{2028}' | '\u{2029}' => text.push(' '),
            hidden if is_hidden(hidden) => removed += 1,
            shown => text.push(shown),
        }
    }
    (text, removed)
}

/// Whether nothing, or only something else's looks, shows a character.
fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{00AD}' // soft hyphen
        | '\u{034F}' // combining grapheme joiner
        | '\u{061C}' // Arabic letter mark
        | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // Hangul fillers
        | '\u{17B4}' | '\u{17B5}' // Khmer inherent vowels
        | '\u{180B}'..='\u{180F}' // Mongolian selectors and vowel separator
        | '\u{200B}'..='\u{200F}' // zero-width, marks of direction
        | '\u{202A}'..='\u{202E}' // bidi embedding and override
        | '\u{2060}'..='\u{206F}' // word joiner, invisible operators, bidi isolates, deprecated
        | '\u{FE00}'..='\u{FE0F}' // variation selectors
        | '\u{FEFF}' // byte order mark
        | '\u{FFF9}'..='\u{FFFB}' // interlinear annotation
        | '\u{1D173}'..='\u{1D17A}' // musical format controls
        | '\u{E0000}'..='\u{E0FFF}' => true, // tags and variation selectors, and the rest of that plane's ignorables
        other => other.is_control(),
    }
}
