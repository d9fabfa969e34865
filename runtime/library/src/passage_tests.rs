use super::*;

fn markdown(source: &str) -> Vec<Passage> {
    cut(&crate::markdown::parse(source))
}

fn words(n: usize) -> String {
    let mut text: Vec<String> = (1..=n).map(|i| format!("Word{i}")).collect();
    if let Some(last) = text.last_mut() {
        last.push('.');
    }
    text.join(" ")
}

#[test]
fn a_heading_is_context_and_never_a_passage() {
    let passages = markdown("# Top\n\n## Empty\n\n## Full\n\nSome text here.\n\n# Last\n");
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].headings, ["Top", "Full"]);
    assert_eq!(passages[0].line, 7);
}

#[test]
fn sections_are_never_mixed() {
    let passages = markdown("# A\n\nOne.\n\n# B\n\nTwo.\n");
    let texts: Vec<_> = passages.iter().map(|p| p.text.as_str()).collect();
    assert_eq!(texts, ["One.", "Two."]);
}

#[test]
fn paragraphs_fill_a_passage_until_it_is_long_enough() {
    let source = (0..6).map(|_| words(25)).collect::<Vec<_>>().join("\n\n");
    let passages = markdown(&source);
    let sizes: Vec<_> = passages.iter().map(|p| size(&p.text)).collect();
    assert_eq!(sizes, [50, 50, 50]);
    assert_eq!(passages[1].line, 5);
    assert_eq!(passages[1].sentences[1].line, 7);
}

#[test]
fn a_long_paragraph_is_cut_between_sentences_and_a_short_rest_joins() {
    let sentence = words(20);
    let source = [sentence.as_str(); 13].join(" ") + " Short rest.";
    let passages = markdown(&source);
    let sizes: Vec<_> = passages.iter().map(|p| p.sentences.len()).collect();
    assert_eq!(sizes, [4, 4, 4, 2]);
    let joined = markdown(&([sentence.as_str(); 4].join(" ") + "\n\nShort rest."));
    assert_eq!(joined.len(), 1);
    assert!(joined[0].text.ends_with("\nShort rest."));
}

#[test]
fn text_without_full_stops_is_cut_all_the_same() {
    for source in [words(1000), "x".repeat(20_000), "語".repeat(9_000)] {
        let passages = cut(&crate::text::parse(&source));
        assert!(passages.len() > 3);
        assert!(
            passages.iter().all(|p| size(&p.text) <= MAX_WORDS + TAIL_WORDS + 1),
            "{:?}",
            passages.iter().map(|p| size(&p.text)).collect::<Vec<_>>()
        );
        let kept: String = passages.iter().flat_map(|p| p.text.chars()).filter(|c| !c.is_whitespace()).collect();
        let all: String = source.chars().filter(|c| !c.is_whitespace()).collect();
        assert!(kept == all, "text was lost");
    }
}

#[test]
fn every_sentence_is_a_part_of_its_passage() {
    let source = include_str!("../README.md");
    for passage in markdown(source) {
        assert!(!passage.sentences.is_empty());
        let mut end = 0;
        for sentence in &passage.sentences {
            assert!(sentence.range.start >= end);
            end = sentence.range.end;
            let text = &passage.text[sentence.range.clone()];
            let first = text.split([' ', ':', '`']).next().expect("split gives one piece");
            let line = source.lines().nth(sentence.line as usize - 1).expect("a line of the file");
            assert!(line.contains(first), "{first:?} is not in line {}: {line:?}", sentence.line);
        }
        assert_eq!(end, passage.text.len());
    }
}

#[test]
fn a_heading_too_long_for_one_is_a_paragraph_too() {
    let long = format!("Pi {}", "word ".repeat(100));
    let passages = markdown(&format!("# {long}\n\n## Lamps\n\nRed means power.\n"));
    let heading = &passages[0].headings[0];
    assert!(heading.len() <= 200 && heading.starts_with("Pi word") && heading.ends_with("word"), "{heading}");
    assert!(passages.iter().all(|p| p.headings[0] == *heading));
    assert!(passages.iter().any(|p| p.text.contains("Red means power.")));
    let words: usize = passages.iter().map(|p| p.text.matches("word").count()).sum();
    assert_eq!(words, 100);
    assert_eq!(short(&"ä".repeat(300)).chars().count(), 200);
    assert_eq!(short("a heading"), "a heading");
}
