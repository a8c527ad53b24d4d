//! Which piece of a text to show.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

use super::matcher::Mark;
use crate::index::Snippet;

/// Characters that may be given up so that a piece begins or ends between words.
const PATIENCE: usize = 24;

/// The piece with most different words marked, then with most marks, then the first; with some text before it.
pub(super) fn cut(text: &str, marks: &[Mark], max_chars: usize) -> Snippet {
    let best = best(text, marks, max_chars);
    let shown = around(text, &best, max_chars);
    let mut snippet = Snippet {
        parts: Vec::new(),
        cut_before: !text[..shown.start].trim().is_empty(),
        cut_after: !text[shown.end..].trim().is_empty(),
    };
    let mut at = shown.start;
    for mark in marks {
        let (start, end) = (mark.at.start.max(at), mark.at.end.min(shown.end));
        if start >= end {
            continue;
        }
        push(&mut snippet, &text[at..start], false);
        push(&mut snippet, &text[start..end], true);
        at = end;
    }
    push(&mut snippet, &text[at..shown.end], false);
    snippet
}

/// Adds text; line breaks become blanks, since a snippet is one line.
fn push(snippet: &mut Snippet, text: &str, matches: bool) {
    if text.is_empty() {
        return;
    }
    let text = text.replace("\r\n", " ").replace(['\n', '\r', '\t', '\u{2028}', '\u{2029}'], " ");
    match snippet.parts.last_mut() {
        Some((last, before)) if *before == matches => last.push_str(&text),
        _ => snippet.parts.push((text, matches)),
    }
}

/// From the first to the last mark of the piece to show; the beginning of the text if there are none.
fn best(text: &str, marks: &[Mark], max_chars: usize) -> Range<usize> {
    // Where marks begin and end, in characters.
    let mut chars = Vec::with_capacity(marks.len());
    let (mut byte, mut count) = (0, 0);
    for mark in marks {
        count += text[byte..mark.at.start].chars().count();
        byte = mark.at.start;
        chars.push((count, count + text[mark.at.clone()].chars().take(max_chars + 1).count()));
    }
    let patterns = marks.iter().map(|mark| mark.pattern + 1).max().unwrap_or(0);
    let mut inside = vec![0_usize; patterns];
    let (mut first, mut distinct) = (0, 0);
    let mut best = 0..0;
    let mut best_score = (0, 0);
    for last in 0..marks.len() {
        while first < last && chars[last].1 - chars[first].0 > max_chars {
            let count = &mut inside[marks[first].pattern];
            *count -= 1;
            distinct -= usize::from(*count == 0);
            first += 1;
        }
        let count = &mut inside[marks[last].pattern];
        *count += 1;
        distinct += usize::from(*count == 1);
        let score = (distinct, last + 1 - first);
        if score > best_score {
            best_score = score;
            best = marks[first].at.start..marks[first..=last].iter().map(|mark| mark.at.end).max().unwrap_or(0);
        }
    }
    best
}

/// The piece around these bytes, at most so many characters long, that begins and ends between words if it can.
fn around(text: &str, best: &Range<usize>, max_chars: usize) -> Range<usize> {
    let core = text[best.clone()].chars().take(max_chars).map(char::len_utf8).sum::<usize>();
    let core = best.start..best.start + core;
    let free = max_chars - text[core.clone()].chars().count();
    let back =
        |limit: usize| text[..core.start].char_indices().rev().take(limit).last().map_or(core.start, |(at, _)| at);
    let ahead = |limit: usize| text[core.end..].chars().take(limit).map(char::len_utf8).sum::<usize>() + core.end;
    // A third of what is free stands before; what one side does not need the other gets.
    let mut start = back(free / 3);
    let before = text[start..core.start].chars().count();
    let mut end = ahead(free - before);
    let after = text[core.end..end].chars().count();
    if end == text.len() && before + after < free {
        start = back(free - after);
    }
    if start > 0 {
        start = begin(text, start, core.start);
    }
    if end < text.len() {
        end = finish(text, end, core.end.max(start));
    }
    let shown = &text[start..end];
    // Blanks at the ends show nothing; marks hold none.
    let trimmed = start + (shown.len() - shown.trim_start().len());
    trimmed..trimmed.max(start + shown.trim_end().len())
}

/// The first place from `start` on where a word begins; else where a character as people see it begins.
fn begin(text: &str, start: usize, limit: usize) -> usize {
    if text[..start].ends_with(char::is_whitespace) {
        return start;
    }
    let blank = text[start..limit].char_indices().take(PATIENCE).find(|(_, c)| c.is_whitespace());
    if let Some((at, c)) = blank {
        return start + at + c.len_utf8();
    }
    let places = text[start..limit].char_indices().take(PATIENCE).map(|(at, _)| start + at);
    places.into_iter().find(|&at| is_between(text, at)).unwrap_or(limit)
}

/// The last place up to `end` where a word ends; else where a character as people see it ends.
fn finish(text: &str, end: usize, limit: usize) -> usize {
    if text[end..].starts_with(char::is_whitespace) {
        return end;
    }
    let blank = text[limit..end].char_indices().rev().take(PATIENCE).find(|(_, c)| c.is_whitespace());
    if let Some((at, _)) = blank {
        return limit + at;
    }
    let mut places = text[limit..end].char_indices().rev().take(PATIENCE).map(|(at, _)| limit + at);
    if is_between(text, end) { end } else { places.find(|&at| is_between(text, at)).unwrap_or(end) }
}

/// Whether no character as people see it is cut here.
fn is_between(text: &str, at: usize) -> bool {
    // Looked at in a small piece: a text may be one endless heap of accents.
    let from = text[..at].char_indices().rev().take(16).last().map_or(at, |(at, _)| at);
    let to = at + text[at..].chars().take(16).map(char::len_utf8).sum::<usize>();
    let mut cursor = GraphemeCursor::new(at - from, to - from, true);
    cursor.is_boundary(&text[from..to], 0).unwrap_or(true)
}
