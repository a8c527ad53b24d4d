//! From text to lines of glyphs: any script, either direction, a given width.
//!
//! Nothing that was written may vanish: a character that drives or reorders text, and one that no shipped font covers, is
//! shown by its number, as in `<U+001B>`, small and on grey.

use std::ops::Range;

use parley::{
    Alignment, AlignmentOptions, BaseDirection, FontWeight, Layout, LayoutContext, LineHeight, OverflowWrap,
    StyleProperty,
};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::fonts::{Fonts, Need};
use super::{Missing, PdfError};
use crate::harmless::is_harmful;

/// Bytes of a paragraph that are laid out at once: bounds the memory that one endless line takes.
const WINDOW: usize = 8192;
/// Bytes of one grapheme cluster that are drawn on top of each other; further marks are shown by number.
const STACK: usize = 64;
/// Uncovered characters that are remembered each by itself.
pub(super) const REMEMBERED: usize = 1000;

/// Colour of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    /// What people said.
    #[default]
    Text,
    /// What happened around it.
    Quiet,
    /// Times and numbers.
    Faint,
    /// Gaps and deletions.
    Alarm,
    /// Headings.
    Accent,
    /// A character shown by its number.
    Number,
}

/// Look of a piece of text; sizes in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) bold: bool,
    pub(super) ink: Ink,
}

impl Style {
    pub(super) const fn new(size: f32, ink: Ink) -> Style {
        Style { size, bold: false, ink }
    }

    pub(super) const fn bold(self) -> Style {
        Style { bold: true, ..self }
    }
}

/// One glyph; advance and offsets in ems.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyph {
    pub(super) id: u32,
    pub(super) advance: f32,
    pub(super) x: f32,
    pub(super) y: f32,
    /// Bytes of the line's text that it stands for.
    pub(super) from: u32,
    pub(super) to: u32,
}

/// Glyphs of one font and look.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) font: u8,
    pub(super) size: f32,
    pub(super) ink: Ink,
    /// Bold was asked for and the font has none.
    pub(super) thicken: bool,
    /// From the left edge of the paragraph, in points.
    pub(super) x: f32,
    pub(super) width: f32,
    pub(super) glyphs: Range<u32>,
}

/// One line, ready to be drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// In logical order.
    pub(super) text: Box<str>,
    pub(super) runs: Box<[Run]>,
    pub(super) glyphs: Box<[Glyph]>,
    /// Right edge of the last glyph, in points.
    pub(super) width: f32,
}

/// Which way a paragraph runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// As its first letter does: what people wrote.
    Found,
    /// From left to right: what we write.
    Ours,
}

/// Lays out text with the shipped fonts.
pub(super) struct Typesetter {
    pub(super) fonts: Fonts,
    context: LayoutContext<Ink>,
    layout: Layout<Ink>,
    /// Glyph and advance of each of [`FIGURES`], in ems.
    figures: Vec<Glyph>,
    missing: Missing,
}

/// What times and places in the log are written with: on each line of each page, so they are laid out once.
const FIGURES: &str = "0123456789: ";

impl Typesetter {
    /// With all fonts.
    ///
    /// # Errors
    /// [`PdfError::Font`].
    pub(super) fn new() -> Result<Typesetter, PdfError> {
        let mut setter = Typesetter {
            fonts: Fonts::new()?,
            context: LayoutContext::new(),
            layout: Layout::new(),
            figures: Vec::new(),
            missing: Missing::default(),
        };
        setter.figures = setter.one_line(FIGURES, Style::new(10.0, Ink::Faint), 1000.0).glyphs.into();
        Ok(setter)
    }

    /// A line of [`FIGURES`] alone, not bold.
    pub(super) fn figures(&self, text: &str, style: Style) -> Line {
        let (mut glyphs, mut width) = (Vec::with_capacity(text.len()), 0.0);
        for (at, c) in text.char_indices() {
            let Some(glyph) = FIGURES.find(c).and_then(|place| self.figures.get(place)) else { continue };
            let from = u32::try_from(at).unwrap_or(0);
            glyphs.push(Glyph { from, to: from + 1, ..*glyph });
            width += glyph.advance * style.size;
        }
        let all = 0..u32::try_from(glyphs.len()).unwrap_or(0);
        let run = Run { font: 0, size: style.size, ink: style.ink, thicken: false, x: 0.0, width, glyphs: all };
        Line { text: text.into(), runs: [run].into(), glyphs: glyphs.into(), width }
    }

    /// The characters that no font covered since the last call.
    pub(super) fn take_missing(&mut self) -> Missing {
        std::mem::take(&mut self.missing)
    }

    /// Lays out one paragraph and hands over its lines; an empty one is one empty line.
    pub(super) fn paragraph(
        &mut self,
        pieces: &[(&str, Style)],
        width: f32,
        direction: Direction,
        emit: &mut dyn FnMut(Line),
    ) {
        let mut prepared = Prepared::default();
        for (text, style) in pieces {
            self.prepare(text, *style, &mut prepared);
        }
        if prepared.text.trim_ascii().is_empty() {
            return emit(Line { text: prepared.text.into(), ..Line::default() });
        }
        let mut base = match direction {
            Direction::Found => BaseDirection::Auto,
            Direction::Ours => BaseDirection::Ltr,
        };
        let mut from = 0;
        while from < prepared.text.len() {
            let to = window_end(&prepared.text, from);
            let last = to == prepared.text.len();
            let part = prepared.part(from..to);
            let part = self.shape(part, width, base);
            if base == BaseDirection::Auto {
                base = if self.layout.is_rtl() { BaseDirection::Rtl } else { BaseDirection::Ltr };
            }
            let lines = self.layout.len();
            // The last line of a window goes on in the next one.
            let whole = if last || lines < 2 || part.rewritten { lines } else { lines - 1 };
            for line in self.layout.lines().take(whole) {
                emit(self.taken(&line, &part.text));
            }
            let next = self.layout.lines().nth(whole).map_or(to, |line| from + line.text_range().start);
            from = if next > from { next } else { to };
        }
    }

    /// One line of at most this width, cut with `…` if need be.
    pub(super) fn one_line(&mut self, text: &str, style: Style, width: f32) -> Line {
        let mut lines = Vec::new();
        // No line of this many bytes is too short for any page.
        let text = &text[..window_end(text, 0).min(text.len())];
        self.paragraph(&[(text, style)], width, Direction::Ours, &mut |line| lines.push(line));
        if lines.len() < 2 {
            return lines.pop().unwrap_or_default();
        }
        let first = std::mem::take(&mut lines[0]);
        let mut kept: Vec<&str> = first.text.trim_end().graphemes(true).collect();
        loop {
            let cut = format!("{}…", kept.concat());
            lines.clear();
            self.paragraph(&[(&cut, style)], width, Direction::Ours, &mut |line| lines.push(line));
            if lines.len() < 2 || kept.is_empty() {
                return lines.swap_remove(0);
            }
            kept.pop();
        }
    }

    /// Appends a text with what cannot be drawn shown by number.
    fn prepare(&mut self, text: &str, style: Style, out: &mut Prepared) {
        let start = out.text.len();
        let number = Style { size: style.size * 0.72, ink: Ink::Number, bold: false };
        if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            out.text.push_str(text);
            return out.span(start, style);
        }
        for cluster in text.graphemes(true) {
            // Decomposed letters (Hangul of some systems) that only have a glyph as one.
            let composed: Option<String> = (cluster.len() > 3 && cluster.len() < STACK)
                .then(|| cluster.chars().any(|c| self.fonts.need_of(c).is_none()).then(|| cluster.nfc().collect()))
                .flatten();
            for (at, c) in composed.as_deref().unwrap_or(cluster).char_indices() {
                let need = if is_harmful(c) || c == '\u{feff}' || at >= STACK { None } else { self.fonts.need_of(c) };
                match need {
                    Some(need) => {
                        out.need = out.need.max(need);
                        out.text.push(c);
                        out.span(out.text.len() - c.len_utf8(), style);
                    }
                    None if c == '\t' => {
                        let from = out.text.len();
                        out.text.push_str("    ");
                        out.span(from, style);
                    }
                    // Invisible on purpose; the layout leaves no trace of it.
                    None if is_invisible(c) && at < STACK => {
                        out.text.push(c);
                        out.span(out.text.len() - c.len_utf8(), style);
                    }
                    None => {
                        if !is_harmful(c) && c != '\u{feff}' && self.fonts.need_of(c).is_none() {
                            self.miss(c);
                        }
                        out.number(c, number);
                    }
                }
            }
        }
    }

    fn miss(&mut self, c: char) {
        self.missing.add(&Missing { each: [(c, 1)].into(), others: 0 });
    }

    /// Fills `self.layout`. Returns the text that is in it: glyphs that turn out to be missing are replaced by numbers.
    fn shape(&mut self, mut part: Prepared, width: f32, base: BaseDirection) -> Prepared {
        // A ligature may hide which of its letters has no glyph: then the first is replaced, and so on.
        for passes_left in (0..4).rev() {
            let mut builder = self.context.ranged_builder(&mut self.fonts.context, &part.text, 1.0, false);
            let families = match part.need {
                Need::Body => 0,
                Need::All => 1,
                Need::Han => 2,
            };
            builder.push_default(StyleProperty::FontFamily(self.fonts.stacks[families].clone()));
            builder.push_default(StyleProperty::LineHeight(LineHeight::Absolute(10.0)));
            builder.push_default(StyleProperty::OverflowWrap(OverflowWrap::Anywhere));
            builder.set_base_direction(base);
            for (range, style) in &part.spans {
                builder.push(StyleProperty::FontSize(style.size), range.clone());
                builder.push(StyleProperty::Brush(style.ink), range.clone());
                if style.bold {
                    builder.push(StyleProperty::FontWeight(FontWeight::BOLD), range.clone());
                }
            }
            builder.build_into(&mut self.layout, &part.text);
            self.layout.break_all_lines(Some(width));
            self.layout.align(Alignment::Start, AlignmentOptions::default());
            let missing = missing_glyphs(&self.layout);
            if missing.is_empty() || passes_left == 0 {
                break;
            }
            let all = 0..part.text.len();
            part = self.by_number(&part, if passes_left > 1 { &missing } else { std::slice::from_ref(&all) });
        }
        part
    }

    /// The same text with the given ranges shown by number.
    fn by_number(&mut self, part: &Prepared, missing: &[Range<usize>]) -> Prepared {
        let mut out = Prepared { need: part.need, rewritten: true, ..Prepared::default() };
        for (range, style) in &part.spans {
            for (at, c) in part.text[range.clone()].char_indices() {
                if !c.is_ascii() && missing.iter().any(|missing| missing.contains(&(range.start + at))) {
                    self.miss(c);
                    out.number(c, Style { size: style.size * 0.72, ink: Ink::Number, bold: false });
                } else {
                    out.text.push(c);
                    out.span(out.text.len() - c.len_utf8(), *style);
                }
            }
        }
        out
    }

    /// A line of the layout, as a value of its own.
    fn taken(&self, line: &parley::Line<'_, Ink>, text: &str) -> Line {
        let whole = line.text_range();
        let offset = |at: usize| u32::try_from(at.saturating_sub(whole.start)).unwrap_or(u32::MAX);
        let (mut glyphs, mut runs): (Vec<Glyph>, Vec<Run>) = (Vec::with_capacity(whole.len()), Vec::new());
        let mut x = line.metrics().inline_min_coord + line.metrics().offset;
        let mut right = x;
        for run in line.runs() {
            let font = self.fonts.of_blob(run.font().data.id());
            let size = run.font_size();
            let thicken = run.synthesis().embolden();
            // Graphemes that a ligature on their left (right-to-left) has drawn already.
            let mut later: Option<usize> = None;
            for cluster in run.visual_clusters() {
                let range = cluster.text_range();
                let range = range.start.max(whole.start)..range.end.min(whole.end);
                if cluster.is_ligature_continuation() {
                    if run.is_rtl() {
                        later = Some(later.unwrap_or(range.end).max(range.end));
                    } else {
                        // Every glyph of the ligature stands for all of its text.
                        let first = glyphs.last().map(|glyph| glyph.from);
                        for glyph in glyphs.iter_mut().rev().take_while(|glyph| Some(glyph.from) == first) {
                            glyph.to = offset(range.end);
                        }
                    }
                    continue;
                }
                let end = later.take().unwrap_or(range.end).max(range.end);
                let ink = cluster.style().brush;
                for glyph in cluster.glyphs() {
                    let at = u32::try_from(glyphs.len()).unwrap_or(u32::MAX);
                    match runs.last_mut() {
                        Some(run)
                            if run.font == font && run.size == size && run.ink == ink && run.thicken == thicken =>
                        {
                            run.glyphs.end = at + 1;
                            run.width += glyph.advance;
                        }
                        _ => runs.push(Run { font, size, ink, thicken, x, width: glyph.advance, glyphs: at..at + 1 }),
                    }
                    glyphs.push(Glyph {
                        id: glyph.id,
                        advance: glyph.advance / size,
                        x: glyph.x / size,
                        y: glyph.y / size,
                        from: offset(range.start),
                        to: offset(end),
                    });
                    x += glyph.advance;
                }
                right = right.max(x);
            }
        }
        Line { text: text[whole].into(), runs: runs.into(), glyphs: glyphs.into(), width: right }
    }
}

/// Characters that shape or break text and are not to be seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Where a window that begins at `from` ends: between two grapheme clusters.
fn window_end(text: &str, from: usize) -> usize {
    if text.len() - from <= WINDOW {
        return text.len();
    }
    let mut at = from + WINDOW;
    while !text.is_char_boundary(at) {
        at += 1;
    }
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) | Err(_) => at,
        Ok(false) => cursor.next_boundary(text, 0).ok().flatten().unwrap_or(text.len()),
    }
}

/// Bytes whose glyphs no font had.
fn missing_glyphs(layout: &Layout<Ink>) -> Vec<Range<usize>> {
    let clusters = layout.lines().flat_map(|line| line.runs().flat_map(|run| run.clusters().collect::<Vec<_>>()));
    clusters.filter(|cluster| cluster.glyphs().any(|glyph| glyph.id == 0)).map(|cluster| cluster.text_range()).collect()
}

/// Text that can be drawn, with the look of each part.
#[derive(Default)]
struct Prepared {
    text: String,
    /// Without holes, in order.
    spans: Vec<(Range<usize>, Style)>,
    need: Need,
    /// Its offsets are not those of the text it was made from.
    rewritten: bool,
}

impl Prepared {
    /// What was appended since `from` has this look.
    fn span(&mut self, from: usize, style: Style) {
        let to = self.text.len();
        match self.spans.last_mut() {
            Some((range, last)) if *last == style && range.end == from => range.end = to,
            _ if from < to => self.spans.push((from..to, style)),
            _ => {}
        }
    }

    fn number(&mut self, c: char, style: Style) {
        let from = self.text.len();
        self.text.push_str(&format!("<U+{:04X}>", u32::from(c)));
        self.span(from, style);
    }

    fn part(&self, range: Range<usize>) -> Prepared {
        let first = self.spans.partition_point(|(span, _)| span.end <= range.start);
        let inside = self.spans[first..].iter().take_while(|(span, _)| span.start < range.end);
        let cut = |at: usize| at.clamp(range.start, range.end) - range.start;
        Prepared {
            text: self.text[range.clone()].to_owned(),
            spans: inside.map(|(span, style)| (cut(span.start)..cut(span.end), *style)).collect(),
            need: self.need,
            rewritten: false,
        }
    }
}

#[cfg(test)]
mod tests;
