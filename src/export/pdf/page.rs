//! Blocks of words become rows, and rows find their place on pages.

use super::layout::{Direction, Ink, Line, Style, Typesetter};
use super::view::{Block, Said, clock};
use crate::model::Seq;

/// A4, in points.
pub(super) const WIDTH: f32 = 595.28;
/// A4, in points.
pub(super) const HEIGHT: f32 = 841.89;
/// Left edge of everything.
pub(super) const LEFT: f32 = 45.0;
/// Right edge of everything.
pub(super) const RIGHT: f32 = WIDTH - 45.0;
const TOP: f32 = 66.0;
const BOTTOM: f32 = HEIGHT - 54.0;
/// Right edge of the numbers of the log.
const SEQ: f32 = 84.0;
/// Left edge of the times.
const TIME: f32 = 92.0;
/// Left edge of what was said.
const TEXT: f32 = 140.0;
/// Left edge of values in the title block.
const VALUE: f32 = 140.0;

const BODY: Style = Style::new(9.5, Ink::Text);
const BODY_HEIGHT: f32 = 13.4;
const SMALL: Style = Style::new(8.0, Ink::Faint);
const QUIET: Style = Style::new(8.5, Ink::Quiet);
const QUIET_HEIGHT: f32 = 12.2;

/// A filled area behind a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Band {
    /// Behind a gap: a light area with a heavy edge.
    Gap,
    /// Beside a deleted message: a thin edge.
    Struck,
    /// Under a heading: a rule.
    Rule,
    /// Behind the statement of coverage: whole.
    Whole,
    /// Behind the statement of coverage: not whole.
    Broken,
}

/// One line of the page.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) height: f32,
    /// Left edge, and the line.
    pub(super) lines: Vec<(f32, Line)>,
    pub(super) band: Option<Band>,
    /// Must not be the last row of a page.
    keep: bool,
}

/// What a row belongs to, for the structure of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The title.
    Title(String),
    /// A heading that is in the outline too.
    Heading(String),
    /// Anything else.
    Paragraph,
}

/// A row at its place.
#[derive(Debug)]
pub(super) struct Placed {
    /// Upper edge.
    pub(super) y: f32,
    pub(super) row: Row,
    /// Index into [`Pages::groups`].
    pub(super) group: usize,
}

/// Pages, laid out but not drawn: their number is known before the first is written.
pub(super) struct Pages {
    pub(super) setter: Typesetter,
    pub(super) pages: Vec<Vec<Placed>>,
    pub(super) groups: Vec<Role>,
    y: f32,
    /// Where the page, or what follows the headings that a part begins with, begins.
    top: f32,
}

impl Pages {
    /// None yet.
    pub(super) fn new(setter: Typesetter) -> Pages {
        Pages { setter, pages: vec![Vec::new()], groups: Vec::new(), y: TOP, top: TOP }
    }

    /// Begins a new part with the same fonts.
    pub(super) fn clear(&mut self) {
        self.pages = vec![Vec::new()];
        self.groups.clear();
        (self.y, self.top) = (TOP, TOP);
    }

    /// The next message is the first that the reader of this file sees.
    pub(super) fn begin_here(&mut self) {
        self.top = self.y;
    }

    fn begin(&mut self, role: Role) {
        self.groups.push(role);
    }

    fn space(&mut self, height: f32) {
        if self.y > TOP {
            self.y += height;
        }
    }

    fn push(&mut self, row: Row) {
        let group = self.groups.len().saturating_sub(1);
        if self.y + row.height > BOTTOM {
            // Rows that must not end a page go over with what follows them.
            let page = self.pages.last_mut().map(std::mem::take).unwrap_or_default();
            let mut stay = page.len();
            while stay > 0 && page[stay - 1].row.keep {
                stay -= 1;
            }
            if stay == 0 {
                stay = page.len();
            }
            let mut page = page;
            let over = page.split_off(stay);
            if let Some(last) = self.pages.last_mut() {
                *last = page;
            }
            self.pages.push(Vec::new());
            (self.y, self.top) = (TOP, TOP);
            for placed in over {
                let group = placed.group;
                self.place(placed.row, group);
            }
        }
        self.place(row, group);
    }

    fn place(&mut self, row: Row, group: usize) {
        let y = self.y;
        self.y += row.height;
        if let Some(page) = self.pages.last_mut() {
            page.push(Placed { y, row, group });
        }
    }

    /// Paragraphs of a text, one below the other; `first` stands beside the first row.
    fn text(&mut self, at: Place, text: &str, style: Style, direction: Direction, mut first: Vec<(f32, Line)>) {
        for paragraph in text.split('\n') {
            let mut lines = Vec::new();
            // Taken out and put back: the rows go to the pages while the paragraph is laid out.
            self.setter.paragraph(&[(paragraph, style)], at.right - at.left, direction, &mut |line| lines.push(line));
            for line in lines {
                let mut beside = std::mem::take(&mut first);
                beside.push((at.left, line));
                self.push(Row { height: at.height, lines: beside, band: at.band, keep: false });
            }
        }
    }

    /// The title of the first page.
    pub(super) fn title(&mut self, above: &str, title: &str, below: &str) {
        self.begin(Role::Paragraph);
        self.text(Place::wide(14.0), above, Style::new(8.5, Ink::Faint), Direction::Ours, Vec::new());
        self.begin(Role::Title(title.to_owned()));
        self.text(Place::wide(25.0), title, Style::new(18.0, Ink::Text).bold(), Direction::Found, Vec::new());
        self.begin(Role::Paragraph);
        self.text(Place::wide(14.0), below, QUIET, Direction::Ours, Vec::new());
        self.space(8.0);
    }

    /// A label and its value, in the title block.
    pub(super) fn fact(&mut self, label: &str, value: &str) {
        self.begin(Role::Paragraph);
        let label = self.setter.one_line(&format!("{label} "), Style::new(8.5, Ink::Faint), VALUE - LEFT);
        let at = Place { left: VALUE, ..Place::wide(13.4) };
        self.text(at, value, Style::new(9.0, Ink::Text), Direction::Ours, vec![(LEFT, label)]);
    }

    /// Small text in the title block, one level below the facts.
    pub(super) fn detail(&mut self, text: &str) {
        self.begin(Role::Paragraph);
        self.text(Place { left: VALUE + 12.0, ..Place::wide(11.8) }, text, SMALL, Direction::Ours, Vec::new());
    }

    /// How complete the record is, so that nobody misses it.
    pub(super) fn coverage(&mut self, text: &str, complete: bool) {
        self.space(6.0);
        self.begin(Role::Paragraph);
        let band = if complete { Band::Whole } else { Band::Broken };
        let pad = |height| Row { height, band: Some(band), ..Row::default() };
        self.push(pad(5.0));
        let ink = if complete { Ink::Text } else { Ink::Alarm };
        let at = Place { left: LEFT + 12.0, right: RIGHT - 10.0, height: 13.4, band: Some(band) };
        self.text(at, text, Style::new(9.0, ink), Direction::Ours, Vec::new());
        self.push(pad(6.0));
        self.space(8.0);
    }

    /// A heading of the title block or of a day.
    pub(super) fn heading(&mut self, text: &str) {
        self.space(14.0);
        self.begin(Role::Heading(text.to_owned()));
        let line = self.setter.one_line(text, Style::new(10.5, Ink::Accent).bold(), RIGHT - LEFT);
        self.push(Row { height: 17.0, lines: vec![(LEFT, line)], band: Some(Band::Rule), keep: true });
        self.push(Row { height: 6.0, keep: true, ..Row::default() });
    }

    /// A person of the title block: name, address, stays.
    pub(super) fn person(&mut self, who: &str, address: &str, stays: &str) {
        self.begin(Role::Paragraph);
        let mut lines = Vec::new();
        let pieces = [(who, Style::new(9.0, Ink::Text).bold()), ("  ", SMALL), (address, SMALL)];
        self.setter.paragraph(&pieces, RIGHT - LEFT, Direction::Ours, &mut |line| lines.push(line));
        for line in lines {
            self.push(Row { height: 13.4, lines: vec![(LEFT, line)], keep: true, ..Row::default() });
        }
        self.text(Place { left: LEFT + 12.0, ..Place::wide(11.8) }, stays, SMALL, Direction::Ours, Vec::new());
        self.space(2.0);
    }

    /// Small print.
    pub(super) fn note(&mut self, text: &str) {
        self.space(8.0);
        self.begin(Role::Paragraph);
        self.text(Place::wide(12.2), text, QUIET, Direction::Ours, Vec::new());
    }

    /// A block of the transcript.
    pub(super) fn block(&mut self, block: &Block) {
        match block {
            Block::Day(day) => self.heading(day),
            Block::Message(said) => self.message(said),
            Block::Quiet { seq, at, text } => {
                self.space(1.5);
                self.begin(Role::Paragraph);
                let first = self.margin(*seq, &clock(*at));
                let place = Place { left: TEXT, ..Place::wide(QUIET_HEIGHT) };
                self.text(place, text, QUIET, Direction::Ours, first);
            }
            Block::Gap { seq, title, text } => self.gap(*seq, title, text),
        }
    }

    fn margin(&mut self, seq: Seq, time: &str) -> Vec<(f32, Line)> {
        let number = self.setter.figures(&format!("{seq} "), Style::new(7.0, Ink::Faint));
        let time = self.setter.figures(&format!("{time} "), SMALL);
        vec![((SEQ - number.width).max(12.0), number), (TIME, time)]
    }

    fn message(&mut self, said: &Said) {
        let band = said.struck.then_some(Band::Struck);
        // Whoever reads one page alone must know who speaks.
        if !said.same || self.y <= self.top || self.y + BODY_HEIGHT + 2.0 > BOTTOM {
            self.space(7.0);
            self.begin(Role::Paragraph);
            let mut lines = Vec::new();
            let (who, address) = &said.who;
            let more = if said.same { "  (continued)" } else { "" };
            let pieces = [
                (who.as_str(), BODY.bold()),
                ("  ", SMALL),
                (address.as_str(), Style::new(7.5, Ink::Faint)),
                (more, Style::new(7.5, Ink::Faint)),
            ];
            self.setter.paragraph(&pieces, RIGHT - TEXT, Direction::Ours, &mut |line| lines.push(line));
            for line in lines {
                self.push(Row { height: 13.8, lines: vec![(TEXT, line)], keep: true, ..Row::default() });
            }
        } else {
            self.space(1.5);
        }
        self.begin(Role::Paragraph);
        let mut first = self.margin(said.seq, &clock(said.at));
        if said.goes_on {
            first.clear();
        }
        for mark in &said.marks {
            let ink = if mark.alarm { Ink::Alarm } else { Ink::Accent };
            let place = Place { left: TEXT, band, ..Place::wide(QUIET_HEIGHT) };
            let beside = std::mem::take(&mut first);
            self.text(place, &mark.text, Style::new(8.0, ink), Direction::Ours, beside);
        }
        if !said.text.is_empty() || said.marks.is_empty() && said.notes.is_empty() {
            let place = Place { left: TEXT, band, ..Place::wide(BODY_HEIGHT) };
            self.text(place, &said.text, BODY, Direction::Found, std::mem::take(&mut first));
        }
        for note in &said.notes {
            let place = Place { left: TEXT, band, ..Place::wide(QUIET_HEIGHT) };
            self.text(place, note, QUIET, Direction::Ours, std::mem::take(&mut first));
        }
    }

    fn gap(&mut self, seq: Seq, title: &str, text: &str) {
        self.space(8.0);
        self.begin(Role::Paragraph);
        let pad = |height, keep| Row { height, band: Some(Band::Gap), keep, ..Row::default() };
        self.push(pad(6.0, true));
        let number = self.setter.figures(&format!("{seq} "), Style::new(7.0, Ink::Alarm));
        let first = vec![((SEQ - number.width).max(LEFT + 8.0), number)];
        let place = Place { left: TIME, right: RIGHT - 10.0, height: 14.0, band: Some(Band::Gap) };
        self.text(place, title, Style::new(10.0, Ink::Alarm).bold(), Direction::Ours, first);
        self.text(place, text, Style::new(9.0, Ink::Alarm), Direction::Ours, Vec::new());
        self.push(pad(6.0, false));
        self.space(8.0);
    }
}

/// Where rows of text stand.
#[derive(Clone, Copy)]
struct Place {
    left: f32,
    right: f32,
    height: f32,
    band: Option<Band>,
}

impl Place {
    fn wide(height: f32) -> Place {
        Place { left: LEFT, right: RIGHT, height, band: None }
    }
}
