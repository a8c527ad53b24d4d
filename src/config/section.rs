//! Reads one table of the configuration file key by key and remembers which keys were asked for.
//!
//! What was asked for *is* the list of known keys, so a key cannot be known and yet unread. Values never appear in
//! problems: a secret that stands in the wrong place must not reach a terminal or a log.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, both from 1; `None` for something that is absent.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub text: String,
}

/// Everything found wrong so far, with the text that places are counted in.
pub struct Problems<'t> {
    text: &'t str,
    list: Vec<Problem>,
}

impl<'t> Problems<'t> {
    /// None yet.
    pub fn new(text: &'t str) -> Self {
        Problems { text, list: Vec::new() }
    }

    /// Adds one; `span` is in bytes of the file.
    pub fn add(&mut self, span: Option<Range<usize>>, text: impl fmt::Display) {
        let place = span.map(|span| self.place(span.start));
        self.list.push(Problem { place, text: text.to_string() });
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// All of them in the order of the file, those without a place last.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.place.unwrap_or((usize::MAX, 0)));
        self.list
    }
}

/// A value with the place it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands, in bytes of the file.
    pub span: Range<usize>,
}

/// One table of the file.
pub struct Section<'a> {
    title: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// `title` is how problems call it, for example `[archive]`.
    pub fn new(title: String, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Section { title, table, span, asked: Vec::new() }
    }

    /// Where the table begins, for problems about what is absent from it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the key stands, for problems about a list as a whole; where the table begins if it is absent.
    pub fn place(&self, key: &str) -> Range<usize> {
        let found = self.table.iter().find(|(name, _)| name.get_ref() == key);
        found.map_or_else(|| self.span(), |(name, _)| name.span())
    }

    /// Whether the key stands in the table, whatever its value; does not make it known.
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'a>>, expected: &str, problems: &mut Problems<'_>) {
        let found = kind_of(value.get_ref());
        problems.add(Some(value.span()), format!("`{key}` in {} must be {expected}, not {found}", self.title));
    }

    /// A text.
    pub fn string(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Placed<String>> {
        let value = self.ask(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(Placed { value: text.to_owned(), span: value.span() }),
            None => {
                self.wrong(key, value, "a text in quotes", problems);
                None
            }
        }
    }

    /// A text that has to be there; `remedy` says what to write.
    pub fn required(&mut self, key: &'static str, remedy: &str, problems: &mut Problems<'_>) -> Option<Placed<String>> {
        if !self.has(key) {
            problems.add(Some(self.span()), format!("{} needs `{key}`: {remedy}", self.title));
        }
        self.string(key, problems)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.ask(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong(key, value, "true or false", problems);
        }
        found
    }

    /// A whole number within `range`.
    pub fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.ask(key)?;
        let (least, most) = (range.start(), range.end());
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong(key, value, &format!("a whole number from {least} to {most}"), problems);
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n));
        if parsed.is_none() {
            let text = format!("`{key}` in {} must be from {least} to {most}", self.title);
            problems.add(Some(value.span()), text);
        }
        parsed
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Vec<Placed<String>>> {
        let value = self.ask(key)?;
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts such as [\"one\", \"two\"]", problems);
            return None;
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Placed { value: text.to_owned(), span: item.span() }),
                None => self.wrong(key, item, "a list of texts only", problems),
            }
        }
        Some(texts)
    }

    /// A list of whole numbers within `range`.
    pub fn integers(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<u64>> {
        let value = self.ask(key)?;
        let expected =
            format!("a list of whole numbers from {} to {}, such as [120, 3600]", range.start(), range.end());
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, &expected, problems);
            return None;
        };
        let mut numbers = Vec::new();
        for item in list.iter() {
            let number = item.get_ref().as_integer();
            let parsed = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
            match (parsed.filter(|number| range.contains(number)), number) {
                (Some(number), _) => numbers.push(number),
                (None, Some(_)) => {
                    let text = format!("`{key}` in {} must be {expected}", self.title);
                    problems.add(Some(item.span()), text);
                }
                (None, None) => self.wrong(key, item, &expected, problems),
            }
        }
        Some(numbers)
    }

    /// A list of tables on the key's line, `key = [{ … }]`; `example` is what one looks like. Problems in a table call it
    /// by the key.
    pub fn tables(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<Section<'a>>> {
        let value = self.ask(key)?;
        let expected = format!("a list of tables such as [{example}]");
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, &expected, problems);
            return None;
        };
        let mut tables = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push(Section::new(format!("`{key}`"), table, item.span())),
                None => self.wrong(key, item, &expected, problems),
            }
        }
        Some(tables)
    }

    /// A table of its own, `[key]`.
    pub fn section(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Section<'a>> {
        let value = self.ask(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(format!("[{key}]"), table, value.span())),
            None => {
                self.wrong(key, value, &format!("a table: write [{key}] on a line of its own"), problems);
                None
            }
        }
    }

    /// Tables `[[key]]`, in order.
    pub fn sections(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Vec<Section<'a>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let remedy = format!("a list of tables: write [[{key}]] above each");
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, &remedy, problems);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::new(format!("[[{key}]]"), table, item.span())),
                None => self.wrong(key, item, &remedy, problems),
            }
        }
        sections
    }

    /// Refuses a key with a text of its own instead of "unknown key".
    pub fn refuse(&mut self, key: &'static str, why: &str, problems: &mut Problems<'_>) {
        let found = self.table.iter().find(|(k, _)| k.get_ref() == key);
        if let Some((name, _)) = found {
            problems.add(Some(name.span()), format!("`{key}` in {}: {why}", self.title));
        }
    }

    /// Reports every key that nobody asked for; `refused` are those that have been reported already.
    pub fn finish(self, refused: &[&str], problems: &mut Problems<'_>) {
        for (name, _) in self.table.iter() {
            let key: &str = name.get_ref();
            if self.asked.contains(&key) || refused.contains(&key) {
                continue;
            }
            let place = if self.title.is_empty() { String::new() } else { format!(" in {}", self.title) };
            let hint = match nearest(key, &self.asked) {
                Nearest::Meant(known) => format!("did you mean `{known}`?"),
                Nearest::Far(known) => {
                    format!("the nearest known one is `{known}`; known here: {}", self.asked.join(", "))
                }
                Nearest::None => "nothing is known here".to_owned(),
            };
            problems.add(Some(name.span()), format!("unknown key `{}`{place}; {hint}", key.escape_debug()));
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word nearest to what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest<'k> {
    /// So near that it must have been meant.
    Meant(&'k str),
    /// Not near.
    Far(&'k str),
    /// No word is known.
    None,
}

/// Finds the known word nearest to what was typed.
pub fn nearest<'k>(typed: &str, known: &[&'k str]) -> Nearest<'k> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let typed = plain(typed);
    let likeness = |word: &&str| strsim::jaro_winkler(&typed, &plain(word));
    match known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(word) if likeness(word) >= 0.84 => Nearest::Meant(word),
        Some(word) => Nearest::Far(word),
        None => Nearest::None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Nearest, nearest};

    #[test]
    fn a_hint_is_given_only_for_what_could_be_meant() {
        let known = ["accept_from", "activity_seconds", "ca_file", "password_file"];
        for (typed, meant) in [
            ("acept_from", "accept_from"),
            ("accept-from", "accept_from"),
            ("Activity_Second", "activity_seconds"),
            ("pasword", "password_file"),
            ("cafile", "ca_file"),
        ] {
            assert_eq!(nearest(typed, &known), Nearest::Meant(meant));
        }
        assert!(matches!(nearest("colour", &known), Nearest::Far(_)));
        assert_eq!(nearest("colour", &[]), Nearest::None);
    }
}
