//! BM25 over passages, by SQLite's full-text index.

use rusqlite::{Connection, params};

use crate::error::{Error, Result};

/// Passages indexed for BM25 (Robertson et al. 1994, as SQLite FTS5's `bm25()` computes it: k1 1.2, b 0.75), in memory.
pub struct Bm25 {
    connection: Connection,
}

// The words that a question has whatever it is about: searching for them costs time and finds nothing.
const STOP_WORDS: &[&str] = &[
    "a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "by", "with", "and", "or", "as", "is", "are", "was",
    "were", "be", "been", "did", "do", "does", "has", "have", "had", "it", "its", "that", "this", "what", "which",
    "who", "whom", "when", "where", "why", "how", "many", "much", "can", "s", "t",
];

fn failed(source: rusqlite::Error) -> Error {
    Error::model("full-text index", source)
}

impl Bm25 {
    /// Indexes passages; their numbers are their positions.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn new<'a>(passages: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        // No columns are stored, only the index; unicode61 folds case and accents.
        connection
            .execute_batch(
                "CREATE VIRTUAL TABLE passages USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2');",
            )
            .map_err(failed)?;
        let transaction = connection.transaction().map_err(failed)?;
        {
            let mut insert =
                transaction.prepare("INSERT INTO passages(rowid, text) VALUES (?1, ?2)").map_err(failed)?;
            for (number, text) in passages.into_iter().enumerate() {
                insert.execute(params![number as i64, text]).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        Ok(Self { connection })
    }

    /// The numbers of the best passages for a text, best first, at most `count`; the order is deterministic.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn search(&self, text: &str, count: usize) -> Result<Vec<usize>> {
        let Some(query) = query_of(text) else { return Ok(Vec::new()) };
        let mut select = self
            .connection
            .prepare_cached("SELECT rowid FROM passages WHERE passages MATCH ?1 ORDER BY rank, rowid LIMIT ?2")
            .map_err(failed)?;
        let rows = select.query_map(params![query, count as i64], |row| row.get::<_, i64>(0)).map_err(failed)?;
        rows.map(|number| number.map(|n| n as usize).map_err(failed)).collect()
    }
}

/// An FTS5 query that any of the text's words matches; `None` when it has no word.
fn query_of(text: &str) -> Option<String> {
    let mut words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).filter(|w| !w.is_empty()).collect();
    words.sort_unstable();
    words.dedup();
    let telling: Vec<&String> = words.iter().filter(|w| !STOP_WORDS.contains(&w.as_str())).collect();
    // Only letters and digits are left, so quoting cannot be broken out of.
    let quote = |word: &String| format!("\"{word}\"");
    let parts: Vec<String> =
        if telling.is_empty() { words.iter().map(quote).collect() } else { telling.into_iter().map(quote).collect() };
    (!parts.is_empty()).then(|| parts.join(" OR "))
}
