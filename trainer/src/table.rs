//! Parquet files as columns of plain values: what data sets and soft labels need of them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// One value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

impl Cell {
    /// The value as text; `None` for null.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Boolean(value) => Some(value.to_string()),
        }
    }
}

/// An open Parquet file.
pub(crate) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    /// Name and leaf of each top-level column that is neither nested nor repeated.
    columns: Vec<String>,
    leaves: Vec<usize>,
}

impl Table {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// When it cannot be opened, or is no whole Parquet file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let reader = SerializedFileReader::new(file)
            .map_err(|e| bad(path, format!("not a whole Parquet file: {e}; fetch it again, or correct its ending")))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let (mut columns, mut leaves) = (Vec::new(), Vec::new());
        for (leaf, column) in schema.columns().iter().enumerate() {
            if let ([name], 0) = (column.path().parts(), column.max_rep_level()) {
                columns.push(name.clone());
                leaves.push(leaf);
            }
        }
        Ok(Self { path: path.to_owned(), reader, columns, leaves })
    }

    /// The names of its flat columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The value of a key of the file's own metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.clone()
    }

    /// The values of a column in a row group.
    ///
    /// # Errors
    /// A damaged page, text that is not UTF-8, a compression other than Snappy and Zstandard, or a type that is neither
    /// text, integer, float nor boolean.
    pub(crate) fn cells(&self, group: usize, column: usize) -> Result<Vec<Cell>> {
        guarded(|| self.read_cells(group, column)).map_err(|e| {
            let advice = match &e {
                ParquetError::General(text) if text.contains("Disabled feature") => {
                    "write it with Snappy or Zstandard compression"
                }
                ParquetError::NYI(_) => "write it as another type",
                _ => "fetch it again",
            };
            bad(&self.path, format!("column {:?}, row group {group}: {e}; {advice}", self.columns[column]))
        })
    }

    fn read_cells(&self, group: usize, column: usize) -> Result<Vec<Cell>, ParquetError> {
        let reader = self.reader.get_row_group(group)?;
        let rows = usize::try_from(reader.metadata().num_rows())?;
        let leaf = self.leaves[column];
        let nullable = self.reader.metadata().file_metadata().schema_descr().column(leaf).max_def_level();
        let cells: Vec<Cell> = match reader.get_column_reader(leaf)? {
            ColumnReader::ByteArrayColumnReader(mut reader) => {
                let texts = values(&mut reader, rows, nullable)?.into_iter().map(|value| match value {
                    None => Ok(Cell::Null),
                    Some(bytes) => Ok(Cell::Text(std::str::from_utf8(bytes.data())?.to_owned())),
                });
                texts.collect::<Result<_, ParquetError>>()?
            }
            ColumnReader::Int32ColumnReader(mut reader) => {
                cells_of(values(&mut reader, rows, nullable)?, |v| Cell::Integer(v.into()))
            }
            ColumnReader::Int64ColumnReader(mut reader) => {
                cells_of(values(&mut reader, rows, nullable)?, Cell::Integer)
            }
            ColumnReader::FloatColumnReader(mut reader) => {
                cells_of(values(&mut reader, rows, nullable)?, |v| Cell::Float(v.into()))
            }
            ColumnReader::DoubleColumnReader(mut reader) => cells_of(values(&mut reader, rows, nullable)?, Cell::Float),
            ColumnReader::BoolColumnReader(mut reader) => cells_of(values(&mut reader, rows, nullable)?, Cell::Boolean),
            _ => return Err(ParquetError::NYI("expected a text, an integer, a float or a boolean".to_owned())),
        };
        if cells.len() != rows {
            return Err(ParquetError::General(format!("{} values, expected {rows}", cells.len())));
        }
        Ok(cells)
    }
}

/// What `read` returns; a panic of the Parquet reader, which damaged offsets bring about, becomes an error.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("damaged".to_owned())))
}

fn cells_of<T>(values: Vec<Option<T>>, cell: impl Fn(T) -> Cell) -> Vec<Cell> {
    values.into_iter().map(|value| value.map_or(Cell::Null, &cell)).collect()
}

/// The values of a flat column; with a greatest definition level of 0 none can be null.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    nullable: i16,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    reader.read_records(rows, (nullable > 0).then_some(&mut levels), None, &mut values)?;
    if nullable == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut present = values.into_iter();
    Ok(levels.into_iter().map(|level| if level == nullable { present.next() } else { None }).collect())
}

/// A column to write, without nulls.
pub(crate) enum Column {
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// Writes a Parquet file of one row group, whole or not at all. The same input gives the same bytes.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, columns: &[(&str, Column)], metadata: &[(&str, String)]) -> Result<()> {
    let failed = |e: ParquetError| Error::model(format!("{}: cannot write Parquet", path.display()), e);
    let fields: Vec<Arc<Type>> =
        columns.iter().map(|(name, column)| field(name, column)).collect::<Result<_, _>>().map_err(failed)?;
    let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(failed)?;
    let pairs = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("attar-train".to_owned())
        .set_key_value_metadata(Some(pairs))
        .build();
    let mut bytes = Vec::new();
    encode(&mut bytes, schema, properties, columns).map_err(failed)?;
    files::write_whole(path, |w| w.write_all(&bytes))
}

fn field(name: &str, column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column {
        Column::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Column::Integers(_) => (Physical::INT64, None),
        Column::Floats(_) => (Physical::FLOAT, None),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED);
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

fn encode(
    out: &mut (impl Write + Send),
    schema: Type,
    properties: WriterProperties,
    columns: &[(&str, Column)],
) -> Result<(), ParquetError> {
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, column) in columns {
        let Some(mut writer) = group.next_column()? else { break };
        match column {
            Column::Texts(texts) => {
                let texts: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(text.as_str())).collect();
                writer.typed::<ByteArrayType>().write_batch(&texts, None, None)?
            }
            Column::Integers(numbers) => writer.typed::<Int64Type>().write_batch(numbers, None, None)?,
            Column::Floats(numbers) => writer.typed::<FloatType>().write_batch(numbers, None, None)?,
        };
        writer.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

fn bad(path: &Path, message: String) -> Error {
    Error::new(ErrorKind::Data, format!("{}: {message}", path.display()))
}

#[cfg(test)]
mod tests;
