//! Which word was meant by one that is none.

/// A name of this length is near to few other words.
pub(crate) const LONG_NAME: usize = 6;

/// Whether two words are so near that one is likely the other mistyped: one slip in a short name, two in a long one.
pub(crate) fn is_near(word: &str, name: &str, limit_of_short: usize) -> bool {
    let limit = if name.len() >= LONG_NAME { 2 } else { limit_of_short };
    // A long text without spaces is no slip, and comparing it costs its length.
    word.len() <= name.len() + limit && word != name && strsim::damerau_levenshtein(word, name) <= limit
}

pub(crate) fn nearest<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str>,
    limit: usize,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    names
        .into_iter()
        .filter(|name| word.len() <= name.len() + limit)
        .map(|name| (strsim::damerau_levenshtein(&word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}
