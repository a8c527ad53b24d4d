//! Pages with rows on them become a file: PDF/A-2a, tagged, with an outline.

use std::num::NonZeroU16;
use std::ops::Range;

use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::{Location, Surface};
use krilla::tagging::{Artifact, ArtifactType, ContentTag, Identifier, SpanTag, Tag, TagGroup, TagTree};
use krilla::text::GlyphId;
use krilla::{Document, SerializeSettings};

use super::PdfError;
use super::layout::{Glyph, Ink, Line, Style};
use super::page::{Band, HEIGHT, LEFT, Pages, Placed, RIGHT, Role, WIDTH};
use crate::model::Timestamp;

/// What the file says about itself, and what stands at the edges of each page.
#[derive(Clone, Debug)]
pub(super) struct Imprint {
    /// Title of the document.
    pub(super) title: String,
    /// One sentence about it.
    pub(super) about: String,
    /// At the top left of each page.
    pub(super) header: String,
    /// At the top right, before the number of the page.
    pub(super) id: String,
    /// At the bottom left.
    pub(super) footer: String,
    /// When the newest event was recorded; not when the file was made.
    pub(super) date: Timestamp,
    /// Sets the identifier of the file.
    pub(super) identity: String,
}

impl krilla::text::Glyph for Glyph {
    fn glyph_id(&self) -> GlyphId {
        GlyphId::new(self.id)
    }

    fn text_range(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    fn x_advance(&self, size: f32) -> f32 {
        self.advance * size
    }

    fn x_offset(&self, size: f32) -> f32 {
        self.x * size
    }

    fn y_offset(&self, size: f32) -> f32 {
        self.y * size
    }

    fn y_advance(&self, _: f32) -> f32 {
        0.0
    }

    fn location(&self) -> Option<Location> {
        None
    }
}

/// Draws all pages.
///
/// # Errors
/// [`PdfError::Refused`] if the file would not be valid.
pub(super) fn draw(pages: &mut Pages, imprint: &Imprint) -> Result<Vec<u8>, PdfError> {
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_A).finish();
    let configuration = configuration.map_err(|_| PdfError::Refused { problem: "no such form of PDF".into() })?;
    let settings = SerializeSettings { configuration, enable_tagging: true, ..SerializeSettings::default() };
    let mut document = Document::new_with(settings);
    document.set_metadata(metadata(imprint));

    let count = pages.pages.len();
    let mut found: Vec<Vec<Identifier>> = std::iter::repeat_with(Vec::new).take(pages.groups.len()).collect();
    let mut outline = Outline::new();
    let size = PageSettings::from_wh(WIDTH, HEIGHT);
    let small = Style::new(7.5, Ink::Faint);
    for (index, placed) in std::mem::take(&mut pages.pages).into_iter().enumerate() {
        let right = pages.setter.one_line(&format!("{}  ·  page {} of {count}", imprint.id, index + 1), small, 320.0);
        let left = pages.setter.one_line(&imprint.header, small, RIGHT - LEFT - right.width - 16.0);
        let bottom = pages.setter.one_line(&imprint.footer, small, RIGHT - LEFT);
        let mut page = match &size {
            Some(size) => document.start_page_with(size.clone()),
            None => document.start_page(),
        };
        let mut surface = page.surface();
        let mut pen = Pen { surface: &mut surface, fonts: &pages.setter.fonts.files };
        pen.surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Header)));
        pen.line(&left, LEFT, 38.0);
        pen.line(&right, RIGHT - right.width, 38.0);
        pen.fill(LEFT, 45.0, RIGHT - LEFT, 0.5, color(205, 210, 216));
        pen.surface.end_tagged();
        for group in placed.chunk_by(|a, b| a.group == b.group) {
            let Some(first) = group.first() else { continue };
            pen.bands(group);
            let identifier = pen.surface.start_tagged(ContentTag::Span(SpanTag::empty()));
            for placed in group {
                let baseline = placed.y + placed.row.height * 0.74;
                for (x, line) in &placed.row.lines {
                    pen.line(line, *x, baseline);
                }
            }
            pen.surface.end_tagged();
            if let Some(found) = found.get_mut(first.group) {
                if let (Some(Role::Heading(text) | Role::Title(text)), true) =
                    (pages.groups.get(first.group), found.is_empty())
                {
                    let place = XyzDestination::new(index, Point::from_xy(LEFT, (first.y - 8.0).max(0.0)));
                    outline.push_child(OutlineNode::new(text.clone(), place));
                }
                found.push(identifier);
            }
        }
        pen.surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Footer)));
        pen.line(&bottom, LEFT, HEIGHT - 32.0);
        pen.surface.end_tagged();
        surface.finish();
        page.finish();
    }
    document.set_outline(outline);
    document.set_tag_tree(tree(&pages.groups, found));
    document.finish().map_err(|error| PdfError::Refused { problem: refused(&error) })
}

/// What was wrong, without any words of the transcript.
fn refused(error: &krilla::error::KrillaError) -> String {
    match error {
        krilla::error::KrillaError::Validation(problems) => {
            let named = problems.iter().take(3).map(|(problem, _)| {
                let whole = format!("{problem:?}");
                whole.split(['(', ' ']).next().unwrap_or_default().to_owned()
            });
            named.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn metadata(imprint: &Imprint) -> Metadata {
    use chrono::{Datelike, Timelike};
    let date = imprint.date.to_chrono();
    let small = |n: u32| u8::try_from(n).unwrap_or(0);
    let date = DateTime::new(u16::try_from(date.year()).unwrap_or(0))
        .month(small(date.month()))
        .day(small(date.day()))
        .hour(small(date.hour()))
        .minute(small(date.minute()))
        .second(small(date.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    Metadata::new()
        .title(cut(&imprint.title))
        .description(cut(&imprint.about))
        .creator("Greffier".into())
        .producer("Greffier".into())
        .language("en".into())
        .document_id(imprint.identity.clone())
        .creation_date(date)
}

/// Strings of a file have a limit; a subject has none.
fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
}

/// The structure of the text for readers that do not see the page: a section for each heading.
fn tree(groups: &[Role], found: Vec<Vec<Identifier>>) -> TagTree {
    let mut tree = TagTree::new();
    let mut section = TagGroup::new(Tag::Section);
    let mut used = false;
    for (role, identifiers) in groups.iter().zip(found) {
        if identifiers.is_empty() {
            continue;
        }
        let level = |n: u16| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
        let mut group = match role {
            Role::Title(text) => TagGroup::new(Tag::Hn(level(1), Some(cut(text)))),
            Role::Heading(text) => {
                if std::mem::replace(&mut used, false) {
                    tree.push(std::mem::replace(&mut section, TagGroup::new(Tag::Section)));
                }
                TagGroup::new(Tag::Hn(level(2), Some(cut(text))))
            }
            Role::Paragraph => TagGroup::new(Tag::P),
        };
        identifiers.into_iter().for_each(|identifier| group.push(identifier));
        section.push(group);
        used = true;
    }
    if used {
        tree.push(section);
    }
    tree
}

fn color(red: u8, green: u8, blue: u8) -> rgb::Color {
    rgb::Color::new(red, green, blue)
}

fn ink(ink: Ink) -> rgb::Color {
    match ink {
        Ink::Text => color(0x1b, 0x1f, 0x24),
        Ink::Quiet => color(0x4d, 0x56, 0x61),
        Ink::Faint => color(0x6a, 0x73, 0x7d),
        Ink::Alarm => color(0x9b, 0x1c, 0x1c),
        Ink::Accent => color(0x1f, 0x4b, 0x85),
        Ink::Number => color(0x5a, 0x3e, 0x1b),
    }
}

struct Pen<'p, 's> {
    surface: &'p mut Surface<'s>,
    fonts: &'p [krilla::text::Font],
}

impl Pen<'_, '_> {
    fn fill(&mut self, x: f32, y: f32, width: f32, height: f32, color: rgb::Color) {
        let Some(rect) = Rect::from_xywh(x, y, width, height) else { return };
        let mut path = PathBuilder::new();
        path.push_rect(rect);
        let Some(path) = path.finish() else { return };
        self.paint(color, None);
        self.surface.draw_path(&path);
    }

    fn paint(&mut self, color: rgb::Color, thicken: Option<f32>) {
        self.surface.set_fill(Some(Fill { paint: color.into(), opacity: NormalizedF32::ONE, ..Fill::default() }));
        let stroke = |width| Stroke { paint: color.into(), width, opacity: NormalizedF32::ONE, ..Stroke::default() };
        self.surface.set_stroke(thicken.map(stroke));
    }

    fn bands(&mut self, group: &[Placed]) {
        if group.iter().all(|placed| placed.row.band.is_none() && !has_numbers(placed)) {
            return;
        }
        self.surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
        for placed in group {
            let (y, height) = (placed.y, placed.row.height);
            match placed.row.band {
                Some(Band::Gap) => {
                    self.fill(LEFT, y, RIGHT - LEFT, height, color(0xfb, 0xe3, 0xe3));
                    self.fill(LEFT, y, 5.0, height, color(0x9b, 0x1c, 0x1c));
                    self.fill(RIGHT - 5.0, y, 5.0, height, color(0x9b, 0x1c, 0x1c));
                }
                Some(Band::Struck) => self.fill(133.0, y, 1.5, height, color(0xc9, 0x6a, 0x6a)),
                Some(Band::Rule) => self.fill(LEFT, y + height + 1.0, RIGHT - LEFT, 0.6, color(0xb9, 0xc4, 0xd2)),
                Some(Band::Whole) => {
                    self.fill(LEFT, y, RIGHT - LEFT, height, color(0xe9, 0xf3, 0xec));
                    self.fill(LEFT, y, 3.0, height, color(0x2f, 0x7d, 0x4f));
                }
                Some(Band::Broken) => {
                    self.fill(LEFT, y, RIGHT - LEFT, height, color(0xfb, 0xe3, 0xe3));
                    self.fill(LEFT, y, 3.0, height, color(0x9b, 0x1c, 0x1c));
                }
                None => {}
            }
            let baseline = y + height * 0.74;
            for (x, line) in &placed.row.lines {
                for run in line.runs.iter().filter(|run| run.ink == Ink::Number) {
                    let (top, tall) = (baseline - run.size * 0.92, run.size * 1.2);
                    self.fill(x + run.x, top, run.width, tall, color(0xee, 0xe9, 0xe0));
                }
            }
        }
        self.surface.end_tagged();
    }

    fn line(&mut self, line: &Line, x: f32, baseline: f32) {
        for run in &line.runs {
            let glyphs = &line.glyphs[run.glyphs.start as usize..run.glyphs.end as usize];
            let Some(font) = self.fonts.get(usize::from(run.font)) else { continue };
            self.paint(ink(run.ink), run.thicken.then_some(run.size * 0.03));
            let start = Point::from_xy(x + run.x, baseline);
            self.surface.draw_glyphs(start, glyphs, font.clone(), &line.text, run.size, false);
        }
    }
}

fn has_numbers(placed: &Placed) -> bool {
    placed.row.lines.iter().any(|(_, line)| line.runs.iter().any(|run| run.ink == Ink::Number))
}
