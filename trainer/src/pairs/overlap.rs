//! Second texts of the first text's own words: two nouns exchanged, the beginning or the end cut off, one clause alone.
//!
//! Models take shared words for entailment (McCoy et al. 2019, "Right for the wrong reasons"), and pairs like these are the known
//! remedy (Min et al. 2020, "Syntactic data augmentation increases robustness to inference heuristics"). There parse trees say which
//! words are exchanged; here articles, prepositions and auxiliaries do, so that a few labels are wrong. English only.

use super::build::PairKind;
use super::words::{FUNCTION_WORDS, Part, capitalised, join, split};
use crate::hash::hash_text;
use crate::random::Random;

/// First texts of more words than this have none.
const LONGEST: usize = 20;

/// What stands before a noun, or before its adjectives.
const DETERMINERS: &[&str] = &["a", "an", "her", "his", "its", "my", "our", "that", "the", "their", "this", "your"];

const AUXILIARIES: &[&str] =
    &["am", "are", "be", "been", "being", "can", "could", "had", "has", "have", "is", "was", "were", "will", "would"];

const COPULAS: &[&str] = &["am", "are", "be", "been", "is", "was", "were"];

/// Between two nouns, these mean that their order says little.
const JOINING: &[&str] =
    &["and", "as", "beside", "besides", "between", "but", "like", "near", "nor", "or", "than", "versus", "with"];

const PREPOSITIONS: &[&str] = &[
    "across", "after", "along", "at", "before", "behind", "beside", "by", "during", "for", "from", "in", "inside",
    "near", "on", "outside", "through", "under", "with",
];

/// Behind one of these a clause at the beginning is not said to be so.
const CONDITIONS: &[&str] = &["if", "unless", "whether"];

/// Behind one of these it is.
const REASONS: &[&str] = &["although", "because", "since", "though"];

/// A sentence behind one of these is not said to be so.
const GUESSES: &[&str] = &["maybe", "perhaps"];

/// What follows these and "that" need not be so.
const BELIEFS: &[&str] = &[
    "argue",
    "argued",
    "argues",
    "assume",
    "assumed",
    "believe",
    "believed",
    "believes",
    "claim",
    "claimed",
    "claims",
    "feared",
    "feel",
    "feels",
    "felt",
    "hope",
    "hoped",
    "hopes",
    "said",
    "say",
    "says",
    "suggest",
    "suggested",
    "suggests",
    "suspect",
    "suspected",
    "think",
    "thinks",
    "thought",
];

/// What follows these and "that" is so.
const KNOWLEDGE: &[&str] = &[
    "discovered",
    "knew",
    "know",
    "knows",
    "learned",
    "noticed",
    "proved",
    "realized",
    "realizes",
    "remembered",
    "saw",
    "shows",
];

/// With one of these in a text, a part of it need not follow.
const NOT_UPWARD: &[&str] = &[
    "few", "hardly", "if", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "only", "or", "unless",
    "without",
];

fn is_in(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}

/// Up to four texts of the words of `text`, of different kinds, and whether each follows from it.
pub(super) fn overlaps(text: &str, seed: u64) -> Vec<(PairKind, String, bool)> {
    let parts: Vec<Part<'_>> = split(text).collect();
    if parts.len() > LONGEST {
        return Vec::new();
    }
    let lower: Vec<String> = parts.iter().map(|part| part.word.to_lowercase()).collect();
    let mut choice = Random::new(&[seed, hash_text(text), 0x006f_7665_726c_6170]);
    [
        exchanged(&parts, &lower, &mut choice).map(|new| (PairKind::Exchanged, new, false)),
        without_beginning(&parts, &lower).map(|(new, follows)| (PairKind::WithoutBeginning, new, follows)),
        without_end(&parts, &lower).map(|new| (PairKind::WithoutEnd, new, true)),
        clause(&parts, &lower).map(|(new, follows)| (PairKind::Clause, new, follows)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn words_of(parts: &[Part<'_>]) -> Vec<String> {
    parts.iter().map(|part| part.word.to_owned()).collect()
}

/// The parts as a sentence of their own.
fn sentence(parts: &[Part<'_>]) -> String {
    let mut words = words_of(parts);
    words[0] = capitalised(&words[0]);
    join(parts, &words)
}

/// "The dog bit the man." to "The man bit the dog."
fn exchanged(parts: &[Part<'_>], lower: &[String], choice: &mut Random) -> Option<String> {
    let noun = |&i: &usize| {
        let word = &lower[i];
        is_in(DETERMINERS, &lower[i - 1])
            && parts[i - 1].after.is_empty()
            && word.chars().count() >= 3
            && word.chars().all(char::is_alphabetic)
            && !is_in(FUNCTION_WORDS, word)
    };
    let nouns: Vec<usize> = (1..parts.len()).filter(noun).collect();
    let says_who_does_what = |first: usize, second: usize| {
        let between = first + 1..second - 1;
        lower[first] != lower[second]
            && !parts[first].after.contains([',', ';'])
            && !between.clone().any(|i| is_in(JOINING, &lower[i]) || parts[i].after.contains([',', ';']))
            && between.clone().any(|i| !is_in(COPULAS, &lower[i]) && lower[i] != "of")
    };
    let pairs: Vec<(usize, usize)> = (nouns.iter().enumerate())
        .flat_map(|(n, &first)| nouns[n + 1..].iter().map(move |&second| (first, second)))
        .filter(|&(first, second)| says_who_does_what(first, second))
        .collect();
    let &(first, second) = pairs.get(choice.below(pairs.len()))?;
    let mut words = words_of(parts);
    words.swap(first, second);
    for noun in [first, second] {
        if matches!(lower[noun - 1].as_str(), "a" | "an") {
            let article = if words[noun].to_lowercase().starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            let capital = parts[noun - 1].word.starts_with('A');
            words[noun - 1] = if capital { capitalised(article) } else { article.to_owned() };
        }
    }
    Some(join(parts, &words))
}

/// "The boy in the red shirt is asleep." to "The red shirt is asleep.", which does not follow; "A man and a boy are asleep." to "A boy is
/// asleep.", which does.
fn without_beginning(parts: &[Part<'_>], lower: &[String]) -> Option<(String, bool)> {
    if !is_in(DETERMINERS, lower.first()?) {
        return None;
    }
    let plain = |range: std::ops::Range<usize>| parts[range].iter().all(|part| part.after.is_empty());
    for begin in 3..7.min(parts.len()) {
        let link = lower[begin - 1].as_str();
        let both = link == "and";
        let within =
            is_in(PREPOSITIONS, link) || link.ends_with("ing") || is_in(&["that", "which", "who"], &lower[begin - 2]);
        if !is_in(DETERMINERS, &lower[begin]) || !(both || within) || !plain(0..begin) {
            continue;
        }
        let Some(verb) = (begin + 2..(begin + 5).min(parts.len() - 1)).find(|&i| is_in(AUXILIARIES, &lower[i])) else {
            continue;
        };
        if !plain(begin..verb) {
            continue;
        }
        let rest = &parts[begin..];
        let mut words = words_of(rest);
        words[0] = capitalised(&words[0]);
        if both && !lower[verb - 1].ends_with('s') {
            match lower[verb].as_str() {
                "are" => words[verb - begin] = "is".to_owned(),
                "were" => words[verb - begin] = "was".to_owned(),
                _ => {}
            }
        }
        return Some((join(rest, &words), both));
    }
    None
}

/// "Three men are eating on the steps." to "Three men are eating."
fn without_end(parts: &[Part<'_>], lower: &[String]) -> Option<String> {
    if lower.iter().any(|word| is_in(NOT_UPWARD, word) || word.ends_with("n't")) {
        return None;
    }
    let cut = (5..parts.len().saturating_sub(1))
        .rev()
        .find(|&i| is_in(PREPOSITIONS, &lower[i]) && is_in(DETERMINERS, &lower[i + 1]))?;
    let last = cut - 1;
    let one_phrase = parts.len() - cut <= 6 && parts[cut..parts.len() - 1].iter().all(|part| part.after.is_empty());
    if !one_phrase || !parts[last].after.is_empty() || is_in(FUNCTION_WORDS, &lower[last]) {
        return None;
    }
    Some(join(&parts[..cut], &words_of(&parts[..cut])) + parts[parts.len() - 1].after)
}

/// "If it rains, they sleep." to "It rains.", "I think that he sleeps." to "He sleeps.", which do not follow; with "because" and "I know",
/// which do.
fn clause(parts: &[Part<'_>], lower: &[String]) -> Option<(String, bool)> {
    let first = lower.first()?;
    let has_verb = |range: std::ops::Range<usize>| lower[range].iter().any(|word| is_in(AUXILIARIES, word));
    let follows = is_in(REASONS, first);
    if follows || is_in(CONDITIONS, first) {
        let end = parts.iter().position(|part| part.after.starts_with(','))?;
        let new = end >= 3 && end + 2 < parts.len() && has_verb(1..end + 1);
        return new.then(|| (sentence(&parts[1..=end]).trim_end_matches(',').to_owned() + ".", follows));
    }
    if is_in(GUESSES, first) {
        return (parts.len() > 3 && parts[0].after.is_empty() && has_verb(1..parts.len()))
            .then(|| (sentence(&parts[1..]), false));
    }
    let that = (2..6.min(parts.len().saturating_sub(3))).find(|&i| lower[i] == "that")?;
    let follows = is_in(KNOWLEDGE, &lower[that - 1]);
    let negated = |word: &String| is_in(NOT_UPWARD, word) || word.ends_with("n't");
    if !(follows || is_in(BELIEFS, &lower[that - 1]))
        || is_in(AUXILIARIES, &lower[that + 1])
        || lower[..that].iter().any(negated)
        || parts[parts.len() - 1].after.contains('?')
    {
        return None;
    }
    Some((sentence(&parts[that + 1..]), follows))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGED: PairKind = PairKind::Exchanged;
    const BEGINNING: PairKind = PairKind::WithoutBeginning;
    const END: PairKind = PairKind::WithoutEnd;
    const CLAUSE: PairKind = PairKind::Clause;

    #[test]
    fn texts_of_the_same_words_know_whether_they_follow() {
        type Expected = (PairKind, &'static str, bool);
        let cases: &[(&str, &[Expected])] = &[
            ("The dog bit the man.", &[(EXCHANGED, "The man bit the dog.", false)]),
            ("A dog chases an owl.", &[(EXCHANGED, "An owl chases a dog.", false)]),
            (
                "The boy in the shirt was playing a game at the park.",
                &[
                    (BEGINNING, "The shirt was playing a game at the park.", false),
                    (END, "The boy in the shirt was playing a game.", true),
                ],
            ),
            ("A man wearing a red hat is asleep.", &[(BEGINNING, "A red hat is asleep.", false)]),
            ("The man who saw the dog was asleep.", &[(BEGINNING, "The dog was asleep.", false)]),
            ("A man and a boy are asleep.", &[(BEGINNING, "A boy is asleep.", true)]),
            ("A man and the boys are asleep.", &[(BEGINNING, "The boys are asleep.", true)]),
            ("If it is late, they sleep here.", &[(CLAUSE, "It is late.", false)]),
            ("Because it was late, they slept here.", &[(CLAUSE, "It was late.", true)]),
            ("Perhaps they are asleep.", &[(CLAUSE, "They are asleep.", false)]),
            ("He thinks that dogs are cats.", &[(CLAUSE, "Dogs are cats.", false)]),
            ("He knew that the dogs sleep.", &[(CLAUSE, "The dogs sleep.", true)]),
            // The order says nothing, the parts say the same, or one need not be so.
            ("The man and the woman sing.", &[]),
            ("The man is the king.", &[]),
            ("The top of the hill", &[]),
            ("He sang, the dog, the cat.", &[]),
            ("Three men are not eating lunch on the steps.", &[]),
            ("He never knew that the dogs sleep.", &[]),
            ("He said that was true.", &[]),
            ("If so,", &[]),
            ("Perhaps", &[]),
            ("that that that that", &[]),
            ("", &[]),
            ("Über the 象", &[]),
        ];
        for (text, expected) in cases {
            let all = overlaps(text, 1);
            for &(kind, new, follows) in *expected {
                assert!(all.contains(&(kind, new.to_owned(), follows)), "{text}: {all:?}");
            }
            assert!(!expected.is_empty() || all.is_empty(), "{text}: {all:?}");
            assert_eq!(all, overlaps(text, 1));
        }
        assert!(overlaps(&"the dog bit the man ".repeat(5), 1).is_empty(), "too long");
    }

    #[test]
    fn no_text_of_short_words_is_beyond_its_end() {
        let words = ["the", "a", "and", "that", "if", "in", "is", "dogs", "running", "knew", "because,", "who", "not"];
        for first in words {
            for length in 0..6 {
                for at in 0..words.len() {
                    let text: Vec<&str> =
                        std::iter::once(first).chain((0..length).map(|i| words[(at + 5 * i) % words.len()])).collect();
                    overlaps(&text.join(" "), 1);
                }
            }
        }
    }
}
