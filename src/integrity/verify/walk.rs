//! Walks a table by key, over places that cannot be read.

use super::{End, Page};

/// What comes next.
#[derive(Clone, Debug)]
pub(super) enum Step<T> {
    /// A row.
    Row(T),
    /// No row from `from` to `to` (to the end, if `None`) can be read.
    Unreadable { from: u64, to: Option<u64>, why: String },
}

/// Rows of a table in order of their key, page by page.
pub(super) struct Walk<T, F> {
    fetch: F,
    key: fn(&T) -> u64,
    rows: std::vec::IntoIter<T>,
    /// Key from which the next page is fetched; `None` = the table has ended.
    from: Option<u64>,
    /// Why the page at `from` cannot be read, if that is known already.
    trouble: Option<String>,
    /// Highest key to look for behind a damaged place.
    last: u64,
}

impl<T, F: FnMut(u64) -> Page<T>> Walk<T, F> {
    pub(super) fn new(last: u64, fetch: F, key: fn(&T) -> u64) -> Self {
        Walk { fetch, key, rows: Vec::new().into_iter(), from: Some(1), trouble: None, last }
    }

    pub(super) fn next(&mut self) -> Option<Step<T>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Step::Row(row));
            }
            if let Some(why) = self.trouble.take() {
                return Some(self.skip(why));
            }
            let from = self.from?;
            let page = (self.fetch)(from);
            self.take(page, from);
        }
    }

    fn take(&mut self, page: Page<T>, from: u64) {
        let after = page.rows.last().map_or(from, |row| (self.key)(row).saturating_add(1));
        self.from = match page.end {
            End::More if after > from => Some(after),
            End::Trouble(why) => {
                self.trouble = Some(why);
                Some(after)
            }
            End::More | End::Done => None,
        };
        self.rows = page.rows.into_iter();
    }

    /// Finds the first row behind a damaged place: forwards in growing steps, then back by halves.
    fn skip(&mut self, why: String) -> Step<T> {
        let from = self.from.unwrap_or(self.last);
        let (mut bad, mut step) = (from, 1u64);
        let mut found: Option<(u64, Page<T>)> = None;
        while bad < self.last {
            let at = bad.saturating_add(step).min(self.last);
            let page = (self.fetch)(at);
            if page.rows.is_empty() && matches!(page.end, End::Trouble(_)) {
                bad = at;
                step = step.saturating_mul(2);
                continue;
            }
            found = Some((at, page));
            break;
        }
        let Some((mut good, mut page)) = found else {
            self.from = None;
            return Step::Unreadable { from, to: None, why };
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            let tried = (self.fetch)(middle);
            if tried.rows.is_empty() && matches!(tried.end, End::Trouble(_)) {
                bad = middle;
            } else {
                (good, page) = (middle, tried);
            }
        }
        self.take(page, good);
        Step::Unreadable { from, to: Some(good - 1), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_behind_damage_are_found_wherever_it_lies() {
        for (first, last) in [(1, 1), (1, 9), (5, 5), (7, 30), (99, 100), (37, 100), (1, 100)] {
            let fetch = |from: u64| {
                let rows: Vec<u64> = (from..=100).take(8).take_while(|k| !(first..=last).contains(k)).collect();
                let stopped = rows.last().map_or(from, |k| k + 1);
                let end = match stopped {
                    k if (first..=last).contains(&k) && rows.len() < 8 => End::Trouble("damaged".into()),
                    101 => End::Done,
                    _ => End::More,
                };
                Page { rows, end }
            };
            let mut walk = Walk::new(100, fetch, |k| *k);
            let (mut seen, mut holes) = (Vec::new(), Vec::new());
            while let Some(step) = walk.next() {
                match step {
                    Step::Row(k) => seen.push(k),
                    Step::Unreadable { from, to, .. } => holes.push((from, to.unwrap_or(100))),
                }
            }
            assert_eq!(holes, [(first, last)]);
            assert_eq!(seen, (1..=100).filter(|k| !(first..=last).contains(k)).collect::<Vec<_>>());
        }
    }
}
