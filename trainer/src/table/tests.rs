#![allow(clippy::unwrap_used)]

use super::*;

fn columns() -> Vec<(&'static str, Column)> {
    vec![
        ("row", Column::Integers(vec![0, 1, -7])),
        ("id", Column::Texts(vec!["a".into(), String::new(), "é".into()])),
        ("value", Column::Floats(vec![0.5, -1e30, f32::MIN_POSITIVE])),
    ]
}

#[test]
fn what_is_written_is_read_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, &columns(), &[("key", "value".to_owned())]).unwrap();
    let table = Table::open(&path).unwrap();
    assert_eq!((table.rows(), table.groups(), table.columns().join(",")), (3, 1, "row,id,value".to_owned()));
    assert_eq!((table.metadata("key").as_deref(), table.metadata("other")), (Some("value"), None));
    assert_eq!(table.cells(0, 0).unwrap(), [Cell::Integer(0), Cell::Integer(1), Cell::Integer(-7)]);
    assert_eq!(table.cells(0, 1).unwrap()[2], Cell::Text("é".into()));
    let expected = [0.5f32, -1e30, f32::MIN_POSITIVE].map(|v| Cell::Float(v.into()));
    assert_eq!(table.cells(0, 2).unwrap(), expected);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("a.parquet"), folder.path().join("b.parquet")];
    for path in &paths {
        write(path, &columns(), &[("key", "value".to_owned())]).unwrap();
    }
    assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
}

#[test]
fn a_flipped_byte_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, &columns(), &[("key", "value".to_owned())]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        std::fs::write(&path, bytes).unwrap();
        if let Ok(table) = Table::open(&path) {
            for group in 0..table.groups() {
                for column in 0..table.columns().len() {
                    let _ = table.cells(group, column);
                }
            }
        }
    }
}
