#![allow(clippy::unwrap_used)]

use super::chart::{Axis, Chart, Point, Series, short};
use super::document::{Document, Table};
use super::*;

/// A document with a hostile text in every place.
fn hostile() -> Document {
    const BAD: &str = "<script>alert('x')</script> & \"q\" | `c` \u{1}";
    let mut document = Document::new(BAD);
    document.heading(2, BAD);
    document.heading(2, "Second");
    document.text(BAD);
    document.list(vec![BAD.to_owned()]);
    let mut table = Table::new(BAD, 1, &[BAD, "n"]);
    table.rows.push(vec![BAD.to_owned(), "1".to_owned()]);
    document.table(table);
    let points = vec![
        Point { x: 1.0, y: 2.0, spread: 0.5, label: BAD.to_owned() },
        Point { x: 3.0, y: 1.0, ..Point::default() },
        Point { x: 4.0, y: 1.5, ..Point::default() },
    ];
    let series = |name: &str| Series { name: name.to_owned(), points: points.clone(), line: true };
    document.charts(vec![Chart {
        title: BAD.to_owned(),
        description: BAD.to_owned(),
        x: Axis::new(BAD),
        y: Axis::new(BAD),
        series: vec![series(BAD), series("other")],
        diagonal: true,
    }]);
    document.blocks.push(super::document::Block::Code(format!("{BAD}\n```")));
    document
}

#[test]
fn every_text_is_escaped() {
    let page = html::render(&hostile());
    assert!(!page.contains("<script") && !page.contains("alert('x')") && !page.contains('\u{1}'), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;q&quot;"));
    let text = markdown::render(&hostile());
    for line in text.lines().filter(|l| !l.starts_with("<script>")) {
        assert!(!line.contains(" <script>") && !line.contains("|<script>"), "{line}");
    }
    assert!(text.contains("````toml"), "the fence is longer than the text's own: {text}");
}

#[test]
fn a_page_is_well_formed_and_needs_nothing_else() {
    let page = html::render(&hostile());
    for outside in ["http://", "https://", "<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    well_formed(&page);
    for part in
        ["lang=\"en\"", "name=\"viewport\"", "prefers-color-scheme: dark", "@media print", "role=\"img\"", "<desc "]
    {
        assert!(page.contains(part), "no {part}");
    }
    // A name for each picture, and each id once.
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "id {id}");
    }
    for reference in page.split("aria-labelledby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(reference.split(' ').all(|id| ids.contains(&id)), "{reference}");
    }
}

/// Checks that each tag that is opened is closed in order.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let tag = &part[..part.find('>').unwrap_or_else(|| panic!("no > in {part}"))];
        let name = tag.split_whitespace().next().unwrap();
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "at </{closed}>");
        } else if !(tag.ends_with('/') || name.starts_with('!') || name == "meta") {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn charts_keep_their_points_on_the_paper() {
    let of = |values: &[(f64, f64)], logarithmic: bool| Chart {
        x: Axis { logarithmic, ..Axis::new("x") },
        series: vec![Series {
            points: values.iter().map(|&(x, y)| Point { x, y, ..Point::default() }).collect(),
            ..Series::default()
        }],
        ..Chart::default()
    };
    for chart in [
        of(&[(1.0, 2.0)], false),
        of(&[(0.0, 0.0), (0.0, 0.0)], false),
        of(&[(1e-3, -5.0), (1e6, 5.0)], true),
        of(&[(f64::NAN, 1.0), (2.0, f64::INFINITY)], false),
    ] {
        let svg = chart.svg("f");
        well_formed(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for place in svg.split("cx=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let x: f64 = place.parse().unwrap();
            assert!((0.0..=480.0).contains(&x), "{x}");
        }
    }
    assert_eq!(
        [0.0, 17.2e6, 12_345.0, 431.0, 12.34, 0.5, 0.00012, 3e-5].map(short),
        ["0", "17.2M", "12.3k", "431", "12.3", "0.5", "0.0001", "3.0e-5"]
    );
}

#[test]
fn columns_in_which_nobody_says_anything_are_left_out() {
    let mut table = Table::new("", 1, &["a", "b", "c"]);
    table.rows = vec![vec!["1".into(), String::new(), "2".into()], vec!["3".into(), String::new(), String::new()]];
    let table = table.without_empty_columns();
    assert_eq!(table.columns.iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(table.rows, [["1", "2"], ["3", ""]]);
}
