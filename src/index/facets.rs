//! Counts of all hits by sender, conversation, platform and month.

use std::collections::{BTreeMap, HashMap};

use chrono::{Datelike, Months, NaiveDate};
use tantivy::columnar::StrColumn;
use tantivy::query::EnableScoring;
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocId};

use super::plan::Plan;
use super::search::{AtSize, Hits};
use super::segments::{BLOCK, Segment};
use super::{FacetCount, Facets, IndexError};
use crate::archive::Reader;
use crate::model::Timestamp;

/// Values of a facet that are told, the largest; months are all told.
const TOLD: usize = 20;

/// Rows of conversations up to which counts are kept by row, above in a map.
const DENSE: u64 = 1 << 20;

/// Counts the hits of a plan.
pub(super) fn count(plan: &Plan, log: &AtSize<'_>, reader: &Reader) -> Result<Facets, IndexError> {
    let failed = |source| IndexError::engine("count hits", source);
    let scoring = EnableScoring::disabled_from_searcher(&log.snapshot.searcher);
    let weight = plan.query.weight(scoring).map_err(failed)?;
    let hits = plan.lists.as_ref().map_or(Hits::Weight(&*weight), Hits::Lists);
    let mut senders: HashMap<String, u64> = HashMap::new();
    let mut platforms: HashMap<String, u64> = HashMap::new();
    let mut conversations = Rows::default();
    let mut months = ByMonth::default();
    for (segment, first) in log.segments() {
        let mut sender = ByTerm::new(segment.senders.as_ref());
        let mut platform = ByTerm::new(segment.platforms.as_ref());
        conversations.grow(segment.numbers.max_value());
        let mut numbers = [0; COLLECT_BLOCK_BUFFER_LEN];
        hits.each(segment, first, |docs| {
            let numbers = &mut numbers[..docs.len()];
            segment.numbers.values.get_vals(docs, numbers);
            numbers.iter().for_each(|number| conversations.add(*number));
            docs.chunk_by(|a, b| a / BLOCK == b / BLOCK).for_each(|docs| add_block(segment, docs, &mut months));
            sender.add(docs);
            platform.add(docs);
            true
        })?;
        sender.into(&mut senders)?;
        platform.into(&mut platforms)?;
    }
    let mut facets = Facets { months: months.into_counts(), ..Facets::default() };
    for (value, count) in largest(senders) {
        let name = reader.person(&value)?.and_then(|person| person.name);
        let label = name.unwrap_or_else(|| value.clone());
        facets.senders.push(FacetCount { value, label, count });
    }
    for (number, count) in largest(conversations.into_counts()) {
        if let Some((id, subject)) = reader.conversation_in_row(number)? {
            let label = subject.unwrap_or_else(|| id.to_string());
            facets.conversations.push(FacetCount { value: id.to_string(), label, count });
        }
    }
    let platforms = largest(platforms).into_iter();
    facets.platforms.extend(platforms.map(|(value, count)| FacetCount { label: value.clone(), value, count }));
    Ok(facets)
}

/// The largest counts first; equal ones in order of value.
fn largest<V: Ord>(counts: impl IntoIterator<Item = (V, u64)>) -> Vec<(V, u64)> {
    let mut all: Vec<(V, u64)> = counts.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(TOLD);
    all
}

/// Counts by the terms of a column; its values are numbers of terms.
struct ByTerm<'c> {
    column: Option<&'c StrColumn>,
    counts: Vec<u64>,
    /// Every document has a value, so that whole handfuls can be read.
    full: bool,
}

impl<'c> ByTerm<'c> {
    fn new(column: Option<&'c StrColumn>) -> ByTerm<'c> {
        let full = column.is_some_and(|column| column.ords().get_cardinality() == tantivy::columnar::Cardinality::Full);
        ByTerm { counts: vec![0; column.map_or(0, |column| column.num_terms())], column, full }
    }

    fn add(&mut self, docs: &[DocId]) {
        let Some(column) = self.column else { return };
        if self.full && self.counts.len() == 1 {
            self.counts[0] += docs.len() as u64;
        } else if self.full {
            let mut ords = [0; COLLECT_BLOCK_BUFFER_LEN];
            let ords = &mut ords[..docs.len()];
            column.ords().values.get_vals(docs, ords);
            ords.iter().for_each(|ord| self.counts[*ord as usize] += 1);
        } else {
            let ords = docs.iter().filter_map(|doc| column.ords().first(*doc));
            ords.for_each(|ord| self.counts[ord as usize] += 1);
        }
    }

    fn into(self, all: &mut HashMap<String, u64>) -> Result<(), IndexError> {
        let Some(column) = self.column else { return Ok(()) };
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let (ords, counts): (Vec<u64>, Vec<u64>) = counts.map(|(ord, count)| (ord as u64, *count)).unzip();
        let mut counts = counts.into_iter();
        let read = column.dictionary().sorted_ords_to_term_cb(&ords, |term| {
            let (Some(count), Ok(term)) = (counts.next(), std::str::from_utf8(term)) else { return };
            match all.get_mut(term) {
                Some(sum) => *sum += count,
                None => {
                    all.insert(term.to_owned(), count);
                }
            }
        });
        read.map_err(|source| IndexError::engine("count hits", source.into()))?;
        Ok(())
    }
}

/// Counts by row of a conversation.
#[derive(Default)]
struct Rows {
    dense: Vec<u64>,
    sparse: HashMap<u64, u64>,
}

impl Rows {
    fn grow(&mut self, largest: u64) {
        let wanted = usize::try_from(largest.min(DENSE)).unwrap_or(0) + 1;
        if self.dense.len() < wanted {
            self.dense.resize(wanted, 0);
        }
    }

    fn add(&mut self, number: u64) {
        match self.dense.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            Some(count) => *count += 1,
            None => *self.sparse.entry(number).or_default() += 1,
        }
    }

    /// Without the events of no conversation.
    fn into_counts(self) -> impl Iterator<Item = (u64, u64)> {
        let dense = self.dense.into_iter().enumerate().map(|(number, count)| (number as u64, count));
        dense.chain(self.sparse).filter(|(number, count)| *number > 0 && *count > 0)
    }
}

/// Counts by month, UTC.
#[derive(Default)]
struct ByMonth {
    counts: BTreeMap<(i32, u32), u64>,
    /// The month met last: its span and its number so far.
    current: Option<(i64, i64, (i32, u32))>,
    run: u64,
}

/// Adds documents of one block; looks at their times only if the block spans several months.
fn add_block(segment: &Segment, docs: &[DocId], months: &mut ByMonth) {
    let (earliest, latest) = segment.blocks[(docs[0] / BLOCK) as usize];
    months.go_to(earliest);
    if months.holds(latest) {
        months.run += docs.len() as u64;
        return;
    }
    for doc in docs {
        months.go_to(segment.times.values.get_val(*doc));
        months.run += 1;
    }
}

impl ByMonth {
    fn holds(&self, time: i64) -> bool {
        self.current.is_some_and(|(from, to, _)| (from..to).contains(&time))
    }

    /// Makes the month of this time the current one. Times come nearly in order, so it nearly always is.
    fn go_to(&mut self, time: i64) {
        if self.holds(time) {
            return;
        }
        self.settle();
        let day = Timestamp(time).to_chrono().date_naive();
        let month = (day.year(), day.month());
        let first = NaiveDate::from_ymd_opt(month.0, month.1, 1).unwrap_or_default();
        let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        let start = |day: NaiveDate| Timestamp::from(day.and_time(chrono::NaiveTime::MIN).and_utc()).micros();
        self.current = Some((start(first), start(next), month));
    }

    fn settle(&mut self) {
        if let Some((_, _, month)) = self.current {
            *self.counts.entry(month).or_default() += self.run;
        }
        self.run = 0;
    }

    fn into_counts(mut self) -> Vec<FacetCount> {
        self.settle();
        let told = self.counts.into_iter().map(|((year, month), count)| {
            let value = format!("{year:04}-{month:02}");
            FacetCount { label: value.clone(), value, count }
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_in_order() {
        let mut months = ByMonth::default();
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap().micros();
        for text in ["2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00Z", "2026-11-01T00:00:00Z", "2024-02-29T12:00:00Z"]
        {
            months.go_to(at(text));
            months.run += 1;
        }
        let counts: Vec<(String, u64)> = months.into_counts().into_iter().map(|c| (c.value, c.count)).collect();
        assert_eq!(counts, [("2024-02".into(), 1), ("2026-11".into(), 2), ("2026-12".into(), 1)]);
    }

    #[test]
    fn the_largest_counts_come_first() {
        assert_eq!(largest([("b", 1), ("a", 1), ("c", 2)]), [("c", 2), ("a", 1), ("b", 1)]);
    }
}
