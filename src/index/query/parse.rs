//! The parser: one pass over the text with a stack of its own, so that no text can exhaust the program's.

use std::ops::Range;

use super::field::{self, Field, Value};
use super::tree::{not, push_all, push_any, together};
use super::{Calendar, Node, Query, QueryError, Words};
use crate::index::analysis::pattern;

/// Longest query text, in bytes.
pub const LONGEST_TEXT: usize = 8_192;
/// Deepest nesting of parentheses.
pub const DEEPEST: usize = 32;
/// Words, phrases and fields of one query at most.
pub const MOST_CONDITIONS: usize = 64;
/// Tokens of one phrase at most.
const LONGEST_PHRASE: usize = 128;

/// Reads a query. An empty text finds everything.
///
/// # Errors
/// If it cannot be read: where, why, and what to write instead. The error does not repeat what was typed.
pub fn parse(text: &str, calendar: &Calendar) -> Result<Query, QueryError> {
    if text.len() > LONGEST_TEXT {
        let start = (0..=LONGEST_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let problem = format!("the query is longer than {LONGEST_TEXT} bytes; search for fewer words");
        return Err(error(text, start..text.len(), problem));
    }
    Parser { text, at: 0, calendar, frames: vec![Frame::default()], conditions: 0 }.run()
}

/// What stands between two parentheses, or in the whole text.
#[derive(Default)]
struct Frame {
    /// Alternatives that are complete.
    any: Vec<Node>,
    /// Conditions of the alternative being read, and how many operands it had: `*` is one, but no condition.
    all: Vec<Node>,
    operands: usize,
    /// Whether what comes next is excluded, and where that was said.
    negated: Option<Range<usize>>,
    /// The operator that waits for what comes next.
    operator: Option<Range<usize>>,
    /// Words of the alternative being read that hold nothing to search for.
    signs: Option<Range<usize>>,
    /// The parenthesis.
    opened: Range<usize>,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    calendar: &'t Calendar,
    frames: Vec<Frame>,
    conditions: usize,
}

impl<'t> Parser<'t> {
    fn run(mut self) -> Result<Query, QueryError> {
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start_matches(is_blank).len();
            let Some(c) = self.text[self.at..].chars().next() else { break };
            let here = self.at..self.at + c.len_utf8();
            if let Some(end) = self.emoticon() {
                self.at = end;
                self.words(Words::Phrase(self.text[here.start..end].to_owned()), here.start)?;
            } else if is_open(c) {
                self.open(here)?;
            } else if is_close(c) {
                self.close(here)?;
            } else if is_quote(c) {
                let value = self.quoted(here.start)?;
                self.words(value.words(), here.start)?;
            } else if is_minus(c) && self.negates(here.end) {
                self.negate(here);
            } else {
                self.bare()?;
            }
        }
        if self.frames.len() > 1 {
            let opened = self.frame().opened.clone();
            return Err(
                self.error(opened, "this parenthesis is not closed; write ) where it ends, or put it in quotes")
            );
        }
        let Some(mut frame) = self.frames.pop() else { return Ok(Query { root: Node::All }) };
        let untouched = frame.any.is_empty() && frame.operands == 0 && frame.signs.is_none();
        if untouched && frame.operator.is_none() && frame.negated.is_none() {
            return Ok(Query { root: Node::All });
        }
        let root = self.finish(&mut frame, self.text.len())?;
        Ok(Query { root })
    }

    fn error(&self, at: Range<usize>, problem: impl Into<String>) -> QueryError {
        error(self.text, at, problem.into())
    }

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn open(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        if self.frames.len() > DEEPEST {
            return Err(
                self.error(here, format!("more than {DEEPEST} parentheses inside each other; write it flatter"))
            );
        }
        self.at = here.end;
        self.frames.push(Frame { opened: here, ..Frame::default() });
        Ok(())
    }

    fn close(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        if self.frames.len() < 2 {
            return Err(self.error(here, "no parenthesis is open here; leave it out, or put it in quotes"));
        }
        self.at = here.end;
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        if frame.any.is_empty() && frame.operands == 0 && frame.signs.is_none() && frame.operator.is_none() {
            return Err(self.error(frame.opened.start..here.end, "nothing stands in these parentheses; leave them out"));
        }
        let node = self.finish(&mut frame, here.start)?;
        self.operand(node);
        Ok(())
    }

    /// The end of an alternative: of a whole frame, or where `OR` follows.
    fn alternative(&self, frame: &mut Frame, end: usize) -> Result<(), QueryError> {
        if let Some(at) = frame.negated.clone() {
            return Err(self.error(at, "nothing follows that could be excluded; write a word, or leave it out"));
        }
        if let Some(at) = frame.signs.take().filter(|_| frame.operands == 0) {
            // Signs beside words mean nothing, but these are all there is.
            let phrase = Words::Phrase(self.text[at.clone()].replace(is_quote, " "));
            if pattern(&phrase).slots.is_empty() {
                return Err(self.error(at, "nothing to search for: these are only signs; write a word"));
            }
            frame.all.push(Node::Words(phrase));
            frame.operator = None;
        } else if let Some(at) = frame.operator.take() {
            return Err(self.error(at, "nothing follows; write a word there, or put this one in quotes"));
        } else if frame.operands == 0 {
            return Err(self.error(end..end, "a word is missing here"));
        }
        let node = together(std::mem::take(&mut frame.all));
        push_any(&mut frame.any, node);
        frame.operands = 0;
        frame.signs = None;
        Ok(())
    }

    fn finish(&self, frame: &mut Frame, end: usize) -> Result<Node, QueryError> {
        self.alternative(frame, end)?;
        let mut any = std::mem::take(&mut frame.any);
        Ok(if any.len() == 1 { any.swap_remove(0) } else { Node::Or(any) })
    }

    /// Takes a condition into the innermost frame, excluded if that was said.
    fn operand(&mut self, node: Node) {
        let frame = self.frame();
        let node = if frame.negated.take().is_some() { not(node) } else { node };
        push_all(&mut frame.all, node);
        frame.operands += 1;
        frame.operator = None;
    }

    fn negate(&mut self, here: Range<usize>) {
        self.at = here.end;
        let frame = self.frame();
        frame.negated = if frame.negated.is_some() { None } else { Some(here) };
    }

    /// Whether a minus before this place excludes, rather than being a sign.
    fn negates(&self, next: usize) -> bool {
        let mut rest = self.text[next..].chars();
        rest.next().is_some_and(|c| {
            c.is_alphanumeric()
                || is_quote(c)
                || is_open(c)
                || (c == '.' && rest.next().is_some_and(char::is_alphanumeric))
                || matches!(c, '#' | '@' | '_')
                || !(c.is_ascii() || is_blank(c) || is_close(c) || is_minus(c))
        })
    }

    /// `:-)` and the like, whose parenthesis is none, and which are meant: where it ends.
    fn emoticon(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let chunk = &rest[..rest.find(is_blank).unwrap_or(rest.len())];
        let face = (2..=8).contains(&chunk.len())
            && (chunk.starts_with([':', ';'])
                || (chunk.starts_with(['=', '<', '>', '^']) && chunk.contains(['(', ')'])))
            && chunk.chars().all(|c| c.is_ascii_punctuation() && c != '"' && c != '*');
        face.then_some(self.at + chunk.len())
    }

    /// What stands in quotes, and whether a star follows. Leaves the place behind it.
    fn quoted(&mut self, open: usize) -> Result<Value<'t>, QueryError> {
        let text = self.text;
        let start = open + text[open..].chars().next().map_or(0, char::len_utf8);
        let closing = |&(i, c): &(usize, char)| is_quote(c) && !is_inside_word(text, start + i);
        let Some((length, close)) = text[start..].char_indices().find(closing) else {
            return Err(
                self.error(open..start, "this quote is not closed; write \" where the phrase ends, or leave it out")
            );
        };
        let end = start + length + close.len_utf8();
        if text[start..start + length].trim().is_empty() {
            return Err(self.error(open..end, "nothing stands in these quotes; write a phrase, or leave them out"));
        }
        self.at = end;
        let star = text[end..].chars().next().filter(|&c| is_star(c));
        self.at += star.map_or(0, char::len_utf8);
        Ok(Value { text: &text[start..start + length], quoted: true, star: star.is_some() })
    }

    /// A word, an operator or a field.
    fn bare(&mut self) -> Result<(), QueryError> {
        let (text, start) = (self.text, self.at);
        let letters = text[start..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let name = &text[start..start + letters];
        let colon = text[start + letters..].chars().next().filter(|&c| is_colon(c));
        if let (Some(colon), true) = (colon, letters > 0) {
            let value = start + letters + colon.len_utf8();
            if let Some(field) = Field::named(name) {
                return self.field(field, value);
            }
            let rest = &text[value..];
            let starts = rest.chars().next().is_some_and(|c| c.is_alphanumeric() || is_quote(c));
            if let Some(field) = field::nearest(name).filter(|_| starts) {
                let problem = format!("no such field; write {}, or put it in quotes to search for it", field.example());
                return Err(self.error(start..value, problem));
            }
        }
        let end = start + word_length(&text[start..]);
        match &text[start..end] {
            "OR" => self.or(start..end),
            "AND" => self.and(start..end),
            "NOT" => {
                self.negate(start..end);
                Ok(())
            }
            _ => self.word(end),
        }
    }

    fn or(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        self.at = here.end;
        let mut frame = std::mem::take(self.frame());
        if frame.operands == 0 && frame.signs.is_none() {
            return Err(self.error(here, "OR stands between two words; write \"OR\" in quotes to search for it"));
        }
        self.alternative(&mut frame, here.start)?;
        frame.operator = Some(here);
        *self.frame() = frame;
        Ok(())
    }

    fn and(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        self.at = here.end;
        let frame = self.frame();
        if frame.operands == 0 || frame.operator.is_some() || frame.negated.is_some() {
            return Err(self.error(here, "AND stands between two words; write \"AND\" in quotes to search for it"));
        }
        frame.operator = Some(here);
        Ok(())
    }

    /// The text up to `end` as a word, with a star or without.
    fn word(&mut self, end: usize) -> Result<(), QueryError> {
        let (text, start) = (self.text, self.at);
        self.at = end;
        let typed = &text[start..end];
        let stem = typed.trim_end_matches(is_star);
        if stem.is_empty() && typed.chars().count() == 1 {
            self.count(start..end)?;
            self.operand(Node::All);
            return Ok(());
        }
        if let Some(star) = stem.find(is_star) {
            let at = start + star;
            let problem = "a star stands only at the end of a word; leave it out, or put the word in quotes";
            return Err(self.error(at..at + text[at..].chars().next().map_or(1, char::len_utf8), problem));
        }
        let words =
            if stem.len() < typed.len() { Words::Prefix(stem.to_owned()) } else { Words::Word(typed.to_owned()) };
        self.words(words, start)
    }

    /// Words of what was said, typed from `start` to here.
    fn words(&mut self, words: Words, start: usize) -> Result<(), QueryError> {
        let here = start..self.at;
        self.count(here.clone())?;
        let found = self.analysed(&words, here.clone())? > 0;
        let words = match words {
            Words::Word(text) if text.bytes().all(|b| b.is_ascii_punctuation()) => {
                if !(found && self.frame().negated.is_some()) {
                    return self.signs(here);
                }
                Words::Phrase(text)
            }
            _ if !found => return self.signs(here),
            words => words,
        };
        self.operand(Node::Words(words));
        Ok(())
    }

    /// Takes note of words that are only signs.
    fn signs(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        if self.frame().negated.is_some() {
            return Err(self.error(here, "nothing that could be excluded: these are only signs; write a word"));
        }
        let frame = self.frame();
        let start = frame.signs.as_ref().map_or(here.start, |before| before.start);
        frame.signs = Some(start..here.end);
        Ok(())
    }

    fn analysed(&self, words: &Words, here: Range<usize>) -> Result<usize, QueryError> {
        let slots = pattern(words).slots.len();
        if slots > LONGEST_PHRASE {
            let problem = format!("more than {LONGEST_PHRASE} words in a row; a part of them will find the same");
            return Err(self.error(here, problem));
        }
        Ok(slots)
    }

    fn field(&mut self, field: Field, start: usize) -> Result<(), QueryError> {
        let (text, from) = (self.text, self.at);
        let first = text[start..].chars().next();
        let value = if first.is_some_and(is_quote) {
            self.quoted(start)?
        } else {
            let end = start + value_length(&text[start..]);
            self.at = end;
            let typed = &text[start..end];
            if typed.is_empty() {
                let problem = format!("the value must follow at once; write {}", field.example());
                return Err(self.error(from..start, problem));
            }
            let stem = typed.trim_end_matches(is_star);
            if let Some(star) = stem.find(is_star).map(|star| start + star) {
                let problem = "a star stands only at the end; leave it out, or put the value in quotes";
                return Err(self.error(star..star + text[star..].chars().next().map_or(1, char::len_utf8), problem));
            }
            Value { text: stem, quoted: false, star: stem.len() < typed.len() }
        };
        let here = start..self.at;
        self.count(from..self.at)?;
        if matches!(field, Field::From | Field::With | Field::In) && self.analysed(&value.words(), here.clone())? == 0 {
            return Err(
                self.error(here, format!("nothing to search for: these are only signs; write {}", field.example()))
            );
        }
        let filter = field::filter(field, &value, self.calendar).map_err(|problem| self.error(here, problem))?;
        self.operand(Node::Filter(filter));
        Ok(())
    }

    fn count(&mut self, here: Range<usize>) -> Result<(), QueryError> {
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            let problem = format!("more than {MOST_CONDITIONS} words and fields; search for fewer");
            return Err(self.error(here, problem));
        }
        Ok(())
    }
}

fn error(text: &str, at: Range<usize>, problem: String) -> QueryError {
    let at_character = text[..at.start].chars().count() + 1;
    QueryError { at, at_character, problem }
}

/// Length of the word at the beginning of a text.
fn word_length(text: &str) -> usize {
    let ends = |&(i, c): &(usize, char)| {
        i > 0 && (is_blank(c) || is_open(c) || is_close(c) || (is_quote(c) && !is_inside_word(text, i)))
    };
    text.char_indices().find(ends).map_or(text.len(), |(i, _)| i)
}

/// Length of the value without quotes at the beginning of a text.
pub(super) fn value_length(text: &str) -> usize {
    let ends =
        |&(i, c): &(usize, char)| is_blank(c) || is_open(c) || is_close(c) || (is_quote(c) && !is_inside_word(text, i));
    text.char_indices().find(ends).map_or(text.len(), |(i, _)| i)
}

/// Whether words are read as the same words where they stand without quotes.
pub(super) fn is_whole_word(words: &Words) -> bool {
    let text = match words {
        Words::Word(text) => text.clone(),
        Words::Prefix(text) => format!("{text}*"),
        Words::Phrase(_) => return false,
    };
    let calendar = Calendar { now: crate::model::Timestamp(0), zone: chrono_tz::UTC };
    matches!(parse(&text, &calendar), Ok(Query { root: Node::Words(read) }) if read == *words)
}

/// Between Hebrew letters a quote is a letter: `צה"ל`.
pub(super) fn is_inside_word(text: &str, at: usize) -> bool {
    let hebrew = |c: char| matches!(c, '\u{05d0}'..='\u{05ea}');
    let mut after = text[at..].chars();
    after.next();
    text[..at].ends_with(hebrew) && after.next().is_some_and(hebrew)
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn is_open(c: char) -> bool {
    matches!(c, '(' | '（')
}

fn is_close(c: char) -> bool {
    matches!(c, ')' | '）')
}

/// Quotes that keyboards and phones make of `"`.
pub(super) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '‟' | '«' | '»' | '＂')
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '－' | '−')
}

fn is_colon(c: char) -> bool {
    matches!(c, ':' | '：')
}

fn is_star(c: char) -> bool {
    matches!(c, '*' | '＊')
}

#[cfg(test)]
mod tests;
