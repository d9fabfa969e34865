//! Second texts of the first text's own words, and whether they follow from it: HANS' lexical overlap and subsequences.
//!
//! Models take shared words for entailment (McCoy et al. 2019, "Right for the wrong reasons"). Inversions are known to help (Min et
//! al. 2020, "Syntactic data augmentation increases robustness to inference heuristics"); there parse trees say which words change
//! places, here articles, prepositions and auxiliaries do, and sentences that these do not make plain are left alone. Subsequences are
//! our addition. A few labels are wrong. English only.

use std::ops::Range;

use super::build::PairKind;
use super::words::{FUNCTION_WORDS, Part, capitalised, join, split};
use crate::hash::hash_text;
use crate::random::Random;

/// First texts of more words than this have none.
const LONGEST: usize = 20;

/// What stands before a noun, or before its adjectives.
const DETERMINERS: &[&str] = &["a", "an", "her", "his", "its", "my", "our", "that", "the", "their", "this", "your"];

const AUXILIARIES: &[&str] = &[
    "am", "are", "be", "been", "being", "can", "could", "did", "do", "does", "had", "has", "have", "is", "was", "were",
    "will", "would",
];

/// Words between two nouns that do not say who does what.
const EMPTY: &[&str] = &[
    "also", "am", "are", "be", "been", "can", "could", "exactly", "had", "has", "have", "is", "just", "not", "now",
    "of", "once", "only", "really", "still", "there", "was", "were", "will", "would",
];

/// Between two nouns, these mean that their order says little.
const SYMMETRIC: &[&str] = &[
    "across",
    "adjacent",
    "alongside",
    "and",
    "as",
    "beside",
    "besides",
    "between",
    "but",
    "close",
    "different",
    "embrace",
    "embraces",
    "embracing",
    "equal",
    "far",
    "hug",
    "hugged",
    "hugging",
    "hugs",
    "kiss",
    "kissed",
    "kisses",
    "kissing",
    "like",
    "married",
    "marries",
    "marry",
    "meet",
    "meeting",
    "meets",
    "met",
    "near",
    "next",
    "nor",
    "opposite",
    "or",
    "similar",
    "than",
    "versus",
    "with",
];

/// Those that tie a noun to the one before them.
const LINKS: &[&str] = &[
    "across", "along", "at", "behind", "beside", "by", "from", "in", "inside", "near", "of", "on", "outside", "under",
    "with",
];

/// Those that an end can begin with.
const PREPOSITIONS: &[&str] = &[
    "across", "along", "at", "behind", "beside", "by", "during", "for", "from", "in", "inside", "near", "on",
    "outside", "through", "under", "with",
];

const RELATIVE: &[&str] = &["that", "which", "who", "whom"];

/// They end as participles do.
const NO_PARTICIPLES: &[&str] =
    &["building", "evening", "king", "morning", "painting", "ring", "spring", "string", "thing", "wedding", "wing"];

/// With one of these, what is said of two is not said of one.
const COLLECTIVE: &[&str] = &["another", "both", "couple", "each", "only", "other", "together"];

/// Behind one of these a phrase cannot be left out.
const NO_END: &[&str] = &["also", "based", "just", "known", "now", "put", "right", "still"];

const PLURALS: &[&str] = &["children", "men", "people", "police", "women"];

/// With one of these in a text, a part of it need not follow.
const NOT_UPWARD: &[&str] = &[
    "all",
    "any",
    "avoid",
    "avoided",
    "avoiding",
    "avoids",
    "banned",
    "cannot",
    "denied",
    "denies",
    "deny",
    "difficult",
    "doubt",
    "doubts",
    "each",
    "every",
    "fail",
    "failed",
    "failing",
    "fails",
    "few",
    "fewer",
    "first",
    "forbidden",
    "hard",
    "hardly",
    "hate",
    "hates",
    "if",
    "impossible",
    "last",
    "least",
    "less",
    "more",
    "most",
    "neither",
    "never",
    "no",
    "nobody",
    "none",
    "nor",
    "not",
    "nothing",
    "nowhere",
    "only",
    "or",
    "prevent",
    "prevented",
    "prevents",
    "rarely",
    "refuse",
    "refused",
    "refuses",
    "refusing",
    "same",
    "seldom",
    "stop",
    "stopped",
    "stops",
    "than",
    "too",
    "unable",
    "unless",
    "whether",
    "without",
    "wonder",
    "wondered",
    "wonders",
];

fn is_in(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}

/// Up to three texts of the words of `text`, and whether each follows from it.
pub(super) fn overlaps(text: &str, seed: u64) -> Vec<(PairKind, String, bool)> {
    let parts: Vec<Part<'_>> = split(text).collect();
    if parts.len() > LONGEST || !is_plain(&parts) {
        return Vec::new();
    }
    let lower: Vec<String> = parts.iter().map(|part| part.word.to_lowercase()).collect();
    let mut choice = Random::new(&[seed, hash_text(text), 0x006f_7665_726c_6170]);
    [
        inversion(&parts, &lower, &mut choice).map(|new| (PairKind::Inversion, new, false)),
        without_beginning(&parts, &lower).map(|(new, follows)| (PairKind::Subsequence, new, follows)),
        without_end(&parts, &lower).map(|new| (PairKind::Subsequence, new, true)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One statement, without other marks than commas, hyphens and apostrophes.
fn is_plain(parts: &[Part<'_>]) -> bool {
    let Some((last, inner)) = parts.split_last() else { return false };
    let digits_around = |word: &[char], i: usize| {
        i > 0 && word[i - 1].is_ascii_digit() && word.get(i + 1).is_some_and(char::is_ascii_digit)
    };
    let is_word = |word: &str| {
        let chars: Vec<char> = word.chars().collect();
        let fits = |(i, &c): (usize, &char)| match c {
            '.' | ',' => digits_around(&chars, i),
            '-' => chars.get(i + 1) != Some(&'-'),
            c => c.is_alphanumeric() || matches!(c, '\'' | '’'),
        };
        !chars.is_empty() && chars.iter().enumerate().all(fits)
    };
    let first = parts[0].word.to_lowercase();
    let asks = is_in(AUXILIARIES, &first) || first.starts_with("wh") || first == "how";
    !asks
        && parts.iter().all(|part| part.before.is_empty() && is_word(part.word))
        && inner.iter().all(|part| matches!(part.after, "" | ","))
        && matches!(last.after, "" | "." | "!")
}

fn words_of(parts: &[Part<'_>]) -> Vec<String> {
    parts.iter().map(|part| part.word.to_owned()).collect()
}

fn is_participle(word: &str) -> bool {
    word.len() >= 5 && word.ends_with("ing") && !is_in(NO_PARTICIPLES, word)
}

/// "The dog bit the man." to "The man bit the dog."
fn inversion(parts: &[Part<'_>], lower: &[String], choice: &mut Random) -> Option<String> {
    // A word between an article and what is no noun. What has another word behind it may be an adjective.
    let ends = |i: usize| match lower.get(i + 1) {
        Some(next) => !parts[i].after.is_empty() || is_in(FUNCTION_WORDS, next) || is_participle(next),
        None => true,
    };
    let noun = |&i: &usize| {
        let word = &lower[i];
        is_in(DETERMINERS, &lower[i - 1])
            && parts[i - 1].after.is_empty()
            && word.chars().count() >= 3
            && word.chars().all(char::is_alphabetic)
            && !is_in(FUNCTION_WORDS, word)
    };
    // The verb behind the first may be any word.
    let is_verb =
        |i: usize| lower.get(i + 1).is_some_and(|word| word.ends_with("ed") || word.ends_with('s') || word.len() <= 5);
    let nouns: Vec<usize> = (1..parts.len()).filter(noun).collect();
    let says_who_does_what = |first: usize, second: usize| {
        let mut between = first + 1..second - 1;
        lower[first] != lower[second]
            && (ends(first) || second == first + 3 && is_verb(first))
            && ends(second)
            && parts[first..second].iter().all(|part| part.after.is_empty())
            && !between.clone().any(|i| is_in(SYMMETRIC, &lower[i]))
            && between.any(|i| !is_in(EMPTY, &lower[i]))
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
    let has_comma = |range: Range<usize>| parts[range].iter().any(|part| !part.after.is_empty());
    for begin in 3..7.min(parts.len()) {
        let link = lower[begin - 1].as_str();
        if !is_in(DETERMINERS, &lower[begin]) || has_comma(0..begin) {
            continue;
        }
        // "and" joins subjects only where nothing else came before it.
        let tied = |word: &String| {
            is_in(FUNCTION_WORDS, word)
                || is_in(LINKS, word)
                || is_in(&["about", "between", "over"], word)
                || is_participle(word)
        };
        let both = link == "and"
            && !lower[1..begin - 1].iter().any(tied)
            && !lower[begin..].iter().any(|word| is_in(COLLECTIVE, word));
        let within = is_in(LINKS, link) || is_participle(link) || is_in(RELATIVE, &lower[begin - 2]);
        let Some(verb) = (begin + 2..(begin + 5).min(parts.len() - 1)).find(|&i| is_in(AUXILIARIES, &lower[i])) else {
            continue;
        };
        // "A man with a boy are asleep." joins as "and" does.
        let companions = link == "with" && matches!(lower[verb].as_str(), "are" | "have" | "were");
        let another_verb = |word: &String| is_in(RELATIVE, word) || matches!(word.as_str(), "and" | "but");
        if !(both || within) || companions || has_comma(begin..verb) || lower[begin + 1..verb].iter().any(another_verb)
        {
            continue;
        }
        let rest = &parts[begin..];
        let mut words = words_of(rest);
        words[0] = capitalised(&words[0]);
        if both {
            let noun = &lower[verb - 1];
            let one = match lower[verb].as_str() {
                "are" => "is",
                "were" => "was",
                "have" => "has",
                _ => return None,
            };
            if !(noun.ends_with('s') && !noun.ends_with("ss") || is_in(PLURALS, noun)) {
                words[verb - begin] = one.to_owned();
            }
        }
        return Some((join(rest, &words), both));
    }
    None
}

/// "Three men are eating on the steps." to "Three men are eating."
fn without_end(parts: &[Part<'_>], lower: &[String]) -> Option<String> {
    let narrows = |word: &String| {
        is_in(NOT_UPWARD, word)
            || word.ends_with("n't")
            || word.ends_with("n’t")
            || word.len() >= 5 && word.ends_with("est")
    };
    if lower.iter().any(narrows) {
        return None;
    }
    let cut = (4..parts.len().saturating_sub(1))
        .rev()
        .find(|&i| is_in(PREPOSITIONS, &lower[i]) && is_in(DETERMINERS, &lower[i + 1]))?;
    let is_verb = |word: &String| is_in(AUXILIARIES, word);
    let phrase = cut + 2..parts.len();
    if !(1..=2).contains(&phrase.len())
        || !lower[..cut].iter().any(is_verb)
        || lower[phrase].iter().any(|word| is_verb(word) || is_participle(word))
        || lower[..cut].iter().any(|word| is_in(RELATIVE, word))
        || parts[cut - 1..parts.len() - 1].iter().any(|part| !part.after.is_empty())
        || is_in(FUNCTION_WORDS, &lower[cut - 1])
        || is_in(NO_END, &lower[cut - 1])
    {
        return None;
    }
    Some(join(&parts[..cut], &words_of(&parts[..cut])) + parts[parts.len() - 1].after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_same_words_know_whether_they_follow() {
        let inversion = |text: &str| (PairKind::Inversion, text.to_owned(), false);
        let subsequence = |text: &str, follows: bool| (PairKind::Subsequence, text.to_owned(), follows);
        let cases = [
            ("The dog bit the man.", vec![inversion("The man bit the dog.")]),
            ("A dog chases an owl.", vec![inversion("An owl chases a dog.")]),
            (
                "The boy in the shirt was playing at the park.",
                vec![
                    inversion("The shirt in the boy was playing at the park."),
                    subsequence("The shirt was playing at the park.", false),
                    subsequence("The boy in the shirt was playing.", true),
                ],
            ),
            ("A man wearing a red hat is asleep.", vec![subsequence("A red hat is asleep.", false)]),
            (
                "The man who saw the dogs was asleep.",
                vec![inversion("The dogs who saw the man was asleep."), subsequence("The dogs was asleep.", false)],
            ),
            // What is said of thinking need not be so.
            (
                "A boy thinks the dog under the table is asleep.",
                vec![
                    inversion("A boy thinks the table under the dog is asleep."),
                    subsequence("The table is asleep.", false),
                ],
            ),
            ("A man and a boy are asleep.", vec![subsequence("A boy is asleep.", true)]),
            ("A man and the children are asleep.", vec![subsequence("The children are asleep.", true)]),
            ("Three men are eating on the steps.", vec![subsequence("Three men are eating.", true)]),
        ];
        for (text, expected) in cases {
            let all: Vec<_> = (0..8).map(|seed| overlaps(text, seed)).collect();
            assert!(all.contains(&expected), "{text}: {all:?}");
            assert!(all.iter().all(|found| found.len() == expected.len()), "{text}: {all:?}");
            assert_eq!(all[0], overlaps(text, 0));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            // The order says nothing.
            "The man and the woman sing.",
            "The man is the king.",
            "The man is not the king.",
            "The top of the hill",
            "The boy sits next to the girl.",
            "The man met the woman.",
            "The woman is hugging the child.",
            "The hotel is close to the beach.",
            "The man will be the king.",
            // Adjectives are no nouns.
            "The red dog bit the old man.",
            // More than one statement, and marks.
            "There is a dog. There is a cat.",
            "The man & the woman sing.",
            "He saw the dog , the cat .",
            "He sang, the dog, the cat.",
            "What is the biggest city in the world?",
            "The old man sat down (in the park).",
            // A part need not follow, or is no sentence.
            "Three men are not eating on the steps.",
            "Three men aren’t eating on the steps.",
            "She has read every book on the table.",
            "He was the first man on the moon.",
            "The old man who stood in the park laughed.",
            "The mother of a boy and a girl slept.",
            "The next morning the man was gone.",
            "A dog looks at a smaller dog who is chewing a rope.",
            "A man and a woman are hugging each other.",
            "A man with a woman are walking.",
            "Flowers are unable to grow along the paths.",
            "A couple are dancing.in the club.",
            "Have you ever worked for the city",
            "",
            "Über the 象",
        ] {
            assert_eq!(overlaps(text, 1), [], "{text}");
        }
        // Their nouns may change places, no part of them follows.
        for text in ["The gifts for a boy and a girl were wrapped.", "His eyes were also on the sky."] {
            let all = overlaps(text, 1);
            assert!(all.iter().all(|(_, _, follows)| !follows), "{text}: {all:?}");
        }
        let long = "the dog bit the man ".repeat(4);
        assert_eq!(
            (overlaps(&long, 1).is_empty(), overlaps(&(long + "again"), 1)),
            (false, Vec::new()),
            "20 words and 21"
        );
    }

    #[test]
    fn no_text_is_beyond_its_end() {
        let words =
            ["the", "a", "and", "that", "of", "in", "is", "dogs", "running", "at", "late,", "who", "-", "“é”", "was"];
        for first in words {
            for length in 0..12 {
                for at in 0..words.len() {
                    for step in [1, 4, 7] {
                        let rest = (0..length).map(|i| words[(at + step * i) % words.len()]);
                        overlaps(&std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" "), 1);
                    }
                }
            }
        }
    }
}
