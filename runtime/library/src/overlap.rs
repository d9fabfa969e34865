//! Which of a question's telling words a text has: what a small model overlooks in codes and names.

use std::collections::HashSet;

/// A word of letters and digits, such as E24 or FAT32, weighs this many times as much as its rarity says: a code is right
/// or wrong, never similar.
const CODE_WEIGHT: f32 = 3.0;

/// A question's words with their weights.
#[derive(Debug)]
pub(crate) struct Overlap {
    words: Vec<(String, f32)>,
    total: f32,
}

impl Overlap {
    /// Weighs words by their rarity among the `texts` that are compared: `ln(1 + texts / texts with the word)`. A word that none of them has
    /// tells nothing about which is better, and weighs nothing.
    pub fn new<'a>(words: &[String], texts: impl Iterator<Item = &'a str>) -> Self {
        let texts: Vec<HashSet<String>> = texts.map(stems).collect();
        let mut seen = HashSet::new();
        let words: Vec<(String, f32)> = words
            .iter()
            .map(|word| stem(word))
            .filter(|word| seen.insert(word.clone()))
            .filter_map(|word| {
                let having = texts.iter().filter(|text| text.contains(&word)).count();
                let rarity = (1.0 + texts.len() as f32 / having.max(1) as f32).ln();
                let weight = if is_code(&word) { CODE_WEIGHT * rarity } else { rarity };
                (having > 0).then_some((word, weight))
            })
            .collect();
        let total = words.iter().map(|(_, weight)| weight).sum();
        Self { words, total }
    }

    /// The weight of the words that `text` has, as a share of all: 0 to 1.
    pub fn share(&self, text: &str) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let stems = stems(text);
        let found: f32 = self.words.iter().filter(|(word, _)| stems.contains(word)).map(|(_, weight)| weight).sum();
        found / self.total
    }
}

fn stems(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(stem).collect()
}

fn is_code(word: &str) -> bool {
    word.contains(char::is_numeric) && word.contains(char::is_alphabetic)
}

/// The word in lower case without the commonest English endings.
fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    let cut =
        ["ing", "ed", "es", "s"].iter().find_map(|ending| word.strip_suffix(ending).filter(|rest| rest.len() >= 3));
    let stem = cut.unwrap_or(&word);
    // "bake" and "baking", "cable" and "cables".
    stem.strip_suffix('e').filter(|rest| rest.len() >= 3).unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_weigh_more_and_absent_ones_nothing() {
        let texts = ["Error E15: water.", "Error E24: drain.", "Error E09: heater."];
        let words = ["error", "E24", "zebra"].map(String::from);
        let overlap = Overlap::new(&words, texts.into_iter());
        assert!((overlap.share(texts[1]) - 1.0).abs() < 1e-6);
        assert!(overlap.share(texts[0]) > 0.0 && overlap.share(texts[0]) < 0.5);
        assert_eq!(overlap.share(""), 0.0);
        assert_eq!(Overlap::new(&words, std::iter::empty()).share("error"), 0.0);
    }

    #[test]
    fn endings_do_not_matter() {
        for (a, b) in [("bake", "Baking"), ("cables", "cable"), ("needed", "needs"), ("blinks", "blink")] {
            assert_eq!(stem(a), stem(b));
        }
        assert_ne!(stem("E15"), stem("E24"));
    }
}
