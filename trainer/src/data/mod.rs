//! Rows of text, their labels, tokens and batches.

mod batches;
mod labels;
mod read;
mod split;
mod tokens;

pub use batches::{Batch, BatchPlan, PlanSettings};
pub use labels::{LabelMap, head_labels, relevance_question_first};
pub use read::{Row, RowFilter, read_rows};
pub use split::{deduplicate, limit, split_by_text};
pub use tokens::{PairTokenizer, Tokens, Truncation};
