//! From a question to an FTS5 query that can never be a syntax error.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};

/// FTS5 nests expressions; far below its limit, far above any question.
pub(crate) const MAX_WORDS: usize = 256;
/// The model reads the question with every text, in as many windows as both need: a page of one would take minutes.
pub(crate) const MAX_CHARACTERS: usize = 2_000;

/// Words that say nothing about a document's subject. English, since the students are.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
    "been", "before", "being", "between", "both", "but", "by", "can", "could", "did", "do", "does", "doing", "during",
    "each", "else", "ever", "few", "for", "from", "get", "gets", "give", "had", "has", "have", "having", "he", "her",
    "here", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "let", "like", "many",
    "may", "me", "might", "mine", "more", "most", "much", "must", "my", "need", "of", "on", "or", "other", "our",
    "ours", "own", "please", "s", "same", "shall", "she", "should", "so", "some", "such", "t", "tell", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "too", "us", "use", "very", "was",
    "we", "were", "what", "when", "where", "whether", "which", "while", "who", "whom", "whose", "why", "will", "with",
    "would", "you", "your", "yours", "yourself", "ll", "m", "re", "ve", "d", "don", "doesn", "isn",
];

/// The question's words in lower case, each once: stop words are left out unless there is nothing else.
///
/// # Errors
/// [`ErrorKind::Question`] without a single word, with more than 256 different ones, or with more than 2,000 characters.
pub(crate) fn telling_words(question: &str) -> Result<Vec<String>> {
    if question.len() > MAX_CHARACTERS {
        let characters = question.chars().count();
        if characters > MAX_CHARACTERS {
            let message = format!(
                "the question has {characters} characters, at most {MAX_CHARACTERS} are read; ask a shorter one"
            );
            return Err(Error::new(ErrorKind::Question, message));
        }
    }
    let mut seen = HashSet::new();
    let words: Vec<String> = question
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| seen.insert(word.clone()))
        .collect();
    if words.is_empty() {
        let message = if question.trim().is_empty() { "the question is empty" } else { "the question has no words" };
        return Err(Error::new(ErrorKind::Question, message));
    }
    if words.len() > MAX_WORDS {
        let message =
            format!("the question has {} different words, at most {MAX_WORDS} can be searched for", words.len());
        return Err(Error::new(ErrorKind::Question, message));
    }
    let telling: Vec<String> = words.iter().filter(|word| !STOP_WORDS.contains(&word.as_str())).cloned().collect();
    Ok(if telling.is_empty() { words } else { telling })
}

/// The question's telling words as an OR of quoted terms.
///
/// # Errors
/// As [`telling_words`].
pub(crate) fn match_expression(question: &str) -> Result<String> {
    // Words are alphanumeric, so that nothing in them needs escaping inside the quotes.
    let quoted: Vec<String> = telling_words(question)?.iter().map(|word| format!("\"{word}\"")).collect();
    Ok(quoted.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_dropped_unless_all_are() {
        let query = |q| match_expression(q).expect("has words");
        assert_eq!(query("How do I enable SSH on the Pi?"), r#""enable" OR "ssh" OR "pi""#);
        assert_eq!(query("Who are you?"), r#""who" OR "are" OR "you""#);
        assert_eq!(query("ssh SSH (ssh)"), r#""ssh""#);
    }

    #[test]
    fn empty_and_endless_questions_are_errors() {
        for question in ["", "  \n", "?!", "\u{0}"] {
            let error = match_expression(question).expect_err("no words");
            assert_eq!(error.kind(), ErrorKind::Question);
        }
        let many: String = (0..300).map(|i| format!("w{i} ")).collect();
        let error = match_expression(&many).expect_err("too many");
        assert!(error.to_string().contains("300 different words"), "{error}");
        assert!(match_expression(&"ä b ".repeat(500)).is_ok());
        let error = match_expression(&"gpio ".repeat(401)).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Question);
        assert!(error.to_string().contains("2005 characters"), "{error}");
    }
}
