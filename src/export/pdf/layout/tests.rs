use super::*;

const STYLE: Style = Style::new(10.0, Ink::Text);

fn lines(text: &str, width: f32) -> Vec<Line> {
    let mut setter = Typesetter::new().unwrap();
    let mut lines = Vec::new();
    setter.paragraph(&[(text, STYLE)], width, Direction::Found, &mut |line| lines.push(line));
    lines
}

#[test]
fn lines_hold_the_text_and_nothing_but_it() {
    for text in [
        "",
        " ",
        "one two three four five six seven",
        "שלום לכולם הפגישה",
        "明日の会議は午後三時から始まります。",
        "นี่คือภาษาไทย",
        "👨‍👩‍👧‍👦👍🏽",
    ] {
        let lines = lines(text, 80.0);
        assert_eq!(lines.iter().map(|line| &*line.text).collect::<String>(), text);
        for line in &lines {
            assert!(line.glyphs.iter().all(|glyph| glyph.id != 0), "{text}");
            assert!(line.glyphs.iter().all(|glyph| line.text.get(glyph.from as usize..glyph.to as usize).is_some()));
        }
    }
}

#[test]
fn no_line_is_wider_than_its_place() {
    let long = "w".repeat(20_000);
    let found = lines(&long, 200.0);
    assert!(found.len() > 100);
    assert!(found.iter().all(|line| line.width <= 200.5));
    // A window of the layout leaves no short line behind.
    let full = found[0].text.len();
    assert!(found[..found.len() - 1].iter().all(|line| line.text.len() == full));
}

#[test]
fn every_byte_of_a_right_to_left_ligature_has_its_glyph() {
    let lines = lines("سلام لا إله", 200.0);
    let line = &lines[0];
    for (at, c) in line.text.char_indices() {
        assert!(line.glyphs.iter().any(|glyph| (glyph.from as usize..glyph.to as usize).contains(&at)), "{c}");
    }
}

#[test]
fn right_to_left_stands_on_the_right() {
    let lines = lines("שלום", 200.0);
    assert!(lines[0].width > 199.0 && lines[0].runs[0].x > 150.0);
}

#[test]
fn what_is_too_long_for_one_line_is_cut_with_a_sign() {
    let mut setter = Typesetter::new().unwrap();
    let line = setter.one_line(&"many words ".repeat(50), STYLE, 120.0);
    assert!(line.text.ends_with('…') && line.width <= 120.5, "{}", line.text);
    assert_eq!(&*setter.one_line("short", STYLE, 120.0).text, "short");
    assert_eq!(&*setter.one_line("", STYLE, 120.0).text, "");
}

#[test]
fn endless_marks_are_counted_out() {
    let lines = lines(&format!("o{}", "\u{0335}".repeat(1000)), 400.0);
    let text: String = lines.iter().map(|line| &*line.text).collect();
    assert_eq!(text.matches("<U+0335>").count() + text.matches('\u{0335}').count(), 1000);
    assert!(text.matches('\u{0335}').count() <= STACK);
}

#[test]
fn figures_stand_as_if_laid_out() {
    let mut setter = Typesetter::new().unwrap();
    for text in ["09:41:57 ", "1234567890 "] {
        let (slow, fast) = (setter.one_line(text, STYLE, 500.0), setter.figures(text, STYLE));
        assert_eq!(slow.text, fast.text);
        assert!((slow.width - fast.width).abs() < 0.01, "{} {}", slow.width, fast.width);
        let ids = |line: &Line| line.glyphs.iter().map(|glyph| (glyph.id, glyph.from, glyph.to)).collect::<Vec<_>>();
        assert_eq!(ids(&slow), ids(&fast));
    }
}

#[test]
fn a_letter_that_no_font_joins_is_shown_by_number() {
    // A skin tone on an Arabic letter: one cluster of two fonts, inside a ligature.
    for text in ["لا\u{1f3fd}اا", "ا\u{1f3fd}", "ش\u{fe0f}\u{200d}ا"] {
        for line in lines(text, 200.0) {
            assert!(line.glyphs.iter().all(|glyph| glyph.id != 0), "{}", line.text);
        }
    }
}
