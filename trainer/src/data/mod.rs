//! Rows of text, their labels, tokens and batches.

mod batches;
mod columns;
mod jsonl;
mod labels;
mod parquet;
mod read;
mod split;
mod tokens;
mod tsv;

pub use batches::{Batch, BatchPlan, PlanSettings};
pub use columns::Columns;
pub use labels::{LabelMap, head_labels, relevance_question_first};
pub use read::{ReadOptions, ReadRows, Row, RowFilter, read, read_rows};
pub(crate) use split::normal;
pub use split::{SplitBy, deduplicate, limit, split};
pub(crate) use tokens::vocabulary;
pub use tokens::{PairTokenizer, Tokens, Truncation};
