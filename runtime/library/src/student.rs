//! A student as the judge of relevance.

use crate::answer::Reranker;

impl Reranker for attar::Session {
    /// The probability of `relevant` by the head `relevance`. A text without a letter or digit answers nothing and
    /// isn't shown to the model, which would refuse one without tokens.
    fn relevance(
        &mut self,
        question: &str,
        texts: &[&str],
    ) -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
        let says_something = |text: &str| text.chars().any(char::is_alphanumeric);
        let telling: Vec<&str> = texts.iter().copied().filter(|text| says_something(text)).collect();
        let mut scores = self.score_passages(question, &telling)?.into_iter();
        let score = |text: &&str| if says_something(text) { scores.next().unwrap_or(0.0) } else { 0.0 };
        Ok(texts.iter().map(score).collect())
    }
}
