//! Texts as words with the marks around them.

/// English words that say little by themselves: others in their place make no other sentence but a broken one. ("no" and "not" are none.)
pub(super) const FUNCTION_WORDS: &[&str] = &[
    "a", "am", "an", "and", "are", "as", "at", "be", "been", "being", "but", "by", "can", "could", "did", "do", "does",
    "for", "from", "had", "has", "have", "he", "her", "here", "him", "his", "how", "if", "in", "into", "is", "it",
    "its", "may", "me", "might", "must", "my", "of", "on", "or", "our", "shall", "she", "should", "so", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "us", "was", "we", "were", "what",
    "when", "where", "which", "who", "whom", "why", "will", "with", "would", "you", "your",
];

/// A word of a text with what stands around it up to the next white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'t> {
    pub(super) before: &'t str,
    pub(super) word: &'t str,
    pub(super) after: &'t str,
}

pub(super) fn split(text: &str) -> impl Iterator<Item = Part<'_>> {
    text.split_whitespace().map(|part| {
        let start = part.find(char::is_alphanumeric).unwrap_or(part.len());
        let rest = part[start..].trim_end_matches(|c: char| !c.is_alphanumeric());
        Part { before: &part[..start], word: rest, after: &part[start + rest.len()..] }
    })
}

/// The text with other words in their places.
pub(super) fn join(parts: &[Part<'_>], words: &[String]) -> String {
    let whole = parts.iter().zip(words).map(|(part, word)| [part.before, word, part.after].concat());
    whole.collect::<Vec<_>>().join(" ")
}

/// `word` with its first letter upper case.
pub(super) fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|c| c.to_uppercase().chain(rest).collect()).unwrap_or_default()
}
