//! Reads TOML tables key by key and remembers where each stood, so that an error names line and key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scenario line {line}: {message}")]
pub struct ScenarioError {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Numbers that a scenario leaves open (`[parameters]`), by name.
pub type Parameters = BTreeMap<String, u64>;

/// What all tables of one file share.
pub(in crate::simulate) struct Source<'a> {
    pub text: &'a str,
    pub parameters: Parameters,
}

impl Source<'_> {
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
    }

    pub fn error(&self, offset: usize, message: impl Into<String>) -> ScenarioError {
        ScenarioError { line: self.line(offset), message: message.into() }
    }
}

/// One table. Every key asked for counts as known; [`Reader::finish`] refuses the others.
pub(in crate::simulate) struct Reader<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    /// Byte offset of the table, for complaints about what is missing.
    pub at: usize,
    what: String,
    asked: RefCell<Vec<&'static str>>,
    /// The value of `{i}` inside a `repeat`.
    pub index: Option<u64>,
}

type Result<T> = std::result::Result<T, ScenarioError>;

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source<'a>, table: &'a DeTable<'a>, at: usize, what: impl Into<String>) -> Self {
        Reader { source, table, at, what: what.into(), asked: RefCell::default(), index: None }
    }

    /// An error about this table.
    pub fn error(&self, message: impl Into<String>) -> ScenarioError {
        self.source.error(self.at, format!("{}: {}", self.what, message.into()))
    }

    /// Names the table once its kind is known.
    pub fn rename(&mut self, what: impl Into<String>) {
        self.what = what.into();
    }

    pub fn line(&self) -> usize {
        self.source.line(self.at)
    }

    pub fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> ScenarioError {
        let found = value.get_ref().type_str();
        self.source.error(value.span().start, format!("{}: key \"{key}\" must be {wanted}, not {found}", self.what))
    }

    fn fill(&self, text: &str) -> String {
        match self.index {
            Some(i) => text.replace("{i}", &i.to_string()),
            None => text.to_owned(),
        }
    }

    pub fn opt_text(&self, key: &'static str) -> Result<Option<String>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = value.get_ref().as_str().ok_or_else(|| self.wrong(key, value, "a text"))?;
        Ok(Some(self.fill(text)))
    }

    pub fn text(&self, key: &'static str) -> Result<String> {
        self.opt_text(key)?.ok_or_else(|| self.error(format!("key \"{key}\" is missing")))
    }

    pub fn flag(&self, key: &'static str, default: bool) -> Result<bool> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.get_ref().as_bool().ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    /// A number, or `"$name"` for a parameter.
    pub fn opt_number(&self, key: &'static str) -> Result<Option<u64>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        if let Some(name) = value.get_ref().as_str().and_then(|t| t.strip_prefix('$')) {
            return match self.source.parameters.get(name) {
                Some(n) => Ok(Some(*n)),
                None => Err(self.source.error(
                    value.span().start,
                    format!(
                        "{}: key \"{key}\" names parameter \"{name}\", which [parameters] does not have",
                        self.what
                    ),
                )),
            };
        }
        let number = value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        number.map(Some).ok_or_else(|| self.wrong(key, value, "a whole number from 0, or \"$parameter\""))
    }

    pub fn number(&self, key: &'static str, default: u64) -> Result<u64> {
        Ok(self.opt_number(key)?.unwrap_or(default))
    }

    pub fn small(&self, key: &'static str, default: u32) -> Result<u32> {
        Ok(u32::try_from(self.number(key, u64::from(default))?).unwrap_or(u32::MAX))
    }

    pub fn texts(&self, key: &'static str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wrong = || self.wrong(key, value, "a list of texts");
        let list = value.get_ref().as_array().ok_or_else(wrong)?;
        list.iter()
            .map(|v| v.get_ref().as_str().map(|t| self.fill(t)).ok_or_else(wrong))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// One word out of a list; `default` when absent.
    pub fn word(&self, key: &'static str, words: &[&'static str], default: &'static str) -> Result<&'static str> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let text = value.get_ref().as_str().ok_or_else(|| self.wrong(key, value, "a text"))?;
        words.iter().find(|w| **w == text).copied().ok_or_else(|| {
            let near =
                nearest(text, words.iter().copied()).map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
            let all = words.join(", ");
            let message = format!("{}: key \"{key}\" is \"{text}\"; it can be {all}{near}", self.what);
            self.source.error(value.span().start, message)
        })
    }

    /// Refuses keys that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            if !asked.iter().any(|a| *a == key.get_ref().as_ref()) {
                let near = nearest(key.get_ref(), asked.iter().copied())
                    .map(|n| format!("; did you mean \"{n}\"?"))
                    .unwrap_or_default();
                let message = format!("{}: unknown key \"{}\"{near}", self.what, key.get_ref());
                return Err(self.source.error(key.span().start, message));
            }
        }
        Ok(())
    }
}

/// The nearest known word, if one is near enough to be meant.
pub(in crate::simulate) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words.map(|w| (strsim::damerau_levenshtein(text, w), w)).filter(|(d, _)| *d <= 3).min().map(|(_, w)| w)
}

/// The parameters that a file declares, with those given in their place.
pub(in crate::simulate) fn read_parameters(
    source: &Source<'_>,
    root: &DeTable<'_>,
    given: &Parameters,
) -> Result<Parameters> {
    let mut all = Parameters::new();
    if let Some(value) = root.get("parameters") {
        let wrong = |at: usize| source.error(at, "[parameters] holds names with whole numbers from 0");
        let table = value.get_ref().as_table().ok_or_else(|| wrong(value.span().start))?;
        for (name, number) in table {
            let parsed = number.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
            all.insert(name.get_ref().to_string(), parsed.ok_or_else(|| wrong(number.span().start))?);
        }
    }
    for (name, number) in given {
        if !all.contains_key(name) {
            let near = nearest(name, all.keys().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?"));
            let message = format!("the scenario has no parameter \"{name}\"{}", near.unwrap_or_default());
            return Err(ScenarioError { line: 1, message });
        }
        all.insert(name.clone(), *number);
    }
    Ok(all)
}

/// The table under a key.
pub(in crate::simulate) fn sub_table<'a>(
    source: &'a Source<'a>,
    of: &Reader<'a>,
    key: &'static str,
) -> Result<Option<Reader<'a>>> {
    let Some(value) = of.value(key) else { return Ok(None) };
    let table = value.get_ref().as_table().ok_or_else(|| of.error(format!("\"{key}\" must be a table: [{key}]")))?;
    Ok(Some(Reader::new(source, table, value.span().start, format!("[{key}]"))))
}

/// The tables under a key.
pub(in crate::simulate) fn sub_tables<'a>(
    source: &'a Source<'a>,
    of: &Reader<'a>,
    key: &'static str,
    what: &str,
) -> Result<Vec<Reader<'a>>> {
    let Some(value) = of.value(key) else { return Ok(Vec::new()) };
    let wrong = || of.error(format!("\"{key}\" must be a list of tables: [[{key}]]"));
    let list = value.get_ref().as_array().ok_or_else(wrong)?;
    list.iter()
        .map(|item: &'a Spanned<toml::de::DeValue<'a>>| {
            let table = item.get_ref().as_table().ok_or_else(wrong)?;
            Ok(Reader::new(source, table, item.span().start, what))
        })
        .collect()
}
