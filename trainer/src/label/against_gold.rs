//! What a student learns of a teacher's wrong answers.

use serde::{Deserialize, Serialize};

/// What becomes of a teacher's answer where the row has a gold label and the teacher's greatest logit is another class's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgainstGold {
    /// It is learned as it is.
    #[default]
    Keep,
    /// It is learned with the logits of the two classes exchanged, so that what the teacher says of all other classes stays
    /// ("probability shift", Wen et al. 2019, "Preparing lessons: improve knowledge distillation with better supervision").
    Swap,
    /// It is not learned.
    Drop,
}

impl AgainstGold {
    /// What is learned of a teacher's logits of a row.
    pub fn correct(self, mut logits: Vec<f32>, gold: Option<u32>) -> Option<Vec<f32>> {
        let Some(gold) = gold.map(|class| class as usize).filter(|&class| class < logits.len()) else {
            return Some(logits);
        };
        let greatest =
            (0..logits.len()).fold(gold, |best, class| if logits[class] > logits[best] { class } else { best });
        if greatest != gold {
            match self {
                Self::Keep => {}
                Self::Swap => logits.swap(greatest, gold),
                Self::Drop => return None,
            }
        }
        Some(logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_contradict_the_gold_label_change() {
        let answer = || vec![0.5, -1.0, 2.0];
        for (gold, swapped, dropped) in [
            (None, Some(answer()), Some(answer())),
            (Some(2), Some(answer()), Some(answer())),
            (Some(1), Some(vec![0.5, 2.0, -1.0]), None),
            (Some(0), Some(vec![2.0, -1.0, 0.5]), None),
        ] {
            assert_eq!(AgainstGold::Keep.correct(answer(), gold), Some(answer()));
            assert_eq!(AgainstGold::Swap.correct(answer(), gold), swapped, "{gold:?}");
            assert_eq!(AgainstGold::Drop.correct(answer(), gold), dropped, "{gold:?}");
        }
        assert_eq!(
            AgainstGold::Drop.correct(vec![1.0, 1.0], Some(1)),
            Some(vec![1.0, 1.0]),
            "a tie contradicts nothing"
        );
    }
}
