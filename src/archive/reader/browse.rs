//! Lists of conversations: by start, in both directions, narrowed by a filter, in pages by key.
//!
//! An unfiltered page costs its own length. Where a filter matches rarely, the answer follows an index of what matches
//! (one connector, one person, what is live, what is incomplete). Only text in subjects and names, and spans of time,
//! walk the conversations one by one: their cost grows with the number of conversations, never with that of events.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use rusqlite::{OptionalExtension, ToSql, params};

use super::conversations::{COLUMNS, conversation_of};
use super::places::{MalformedPosition, pair};
use super::{Conversation, ConversationFilter, ConversationState, Coverage, Page, Reader};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::model::{ConversationId, Timestamp};

/// Up to so many conversations of one person are fetched and sorted; for a person in more, the list is walked, in which
/// the person then is found soon.
const SORTED: usize = 2_000;

/// Where the next page of conversations starts. As text: two numbers with a `.` between, safe in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationPosition {
    started_at: i64,
    number: i64,
}

impl ConversationPosition {
    /// Before every conversation that started at `time` or later: [`Reader::conversations_newest`] goes on with what
    /// started earlier, [`Reader::conversations`] with what started then or later.
    pub fn at(time: Timestamp) -> ConversationPosition {
        ConversationPosition { started_at: time.micros(), number: i64::MIN }
    }
}

impl fmt::Display for ConversationPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_at, self.number)
    }
}

impl FromStr for ConversationPosition {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let (started_at, number) = pair(text)?;
        Ok(ConversationPosition { started_at, number })
    }
}

/// SQL and its values.
type Question = (String, Vec<Box<dyn ToSql>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Oldest,
    Newest,
}

impl Reader {
    /// Conversations by start, oldest first, at most `limit`, after `after`.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn conversations(
        &self,
        filter: &ConversationFilter,
        after: Option<ConversationPosition>,
        limit: usize,
    ) -> Result<Page<Conversation, ConversationPosition>, ArchiveError> {
        self.conversation_page(filter, Direction::Oldest, after, limit)
    }

    /// Conversations by start, newest first, at most `limit`, after `after` in that order.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn conversations_newest(
        &self,
        filter: &ConversationFilter,
        after: Option<ConversationPosition>,
        limit: usize,
    ) -> Result<Page<Conversation, ConversationPosition>, ArchiveError> {
        self.conversation_page(filter, Direction::Newest, after, limit)
    }

    /// How many conversations the filter finds; counting ends at `cap`, which then means "or more".
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn count_conversations(&self, filter: &ConversationFilter, cap: u64) -> Result<u64, ArchiveError> {
        let mut count = 0;
        if cap == 0 {
            return Ok(0);
        }
        self.walk(filter, Direction::Newest, None, filter.participant.is_some(), &mut |_, _| {
            count += 1;
            if count < cap { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(count)
    }

    /// Where a conversation stands in the lists by start; lists that go on after it leave it out.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn position_of_conversation(&self, id: &ConversationId) -> Result<Option<ConversationPosition>, ArchiveError> {
        let sql = "SELECT c.started_at, c.number FROM conversation c JOIN conversation_id i ON i.number = c.number
            WHERE i.id = ?1";
        let position =
            |row: &rusqlite::Row<'_>| Ok(ConversationPosition { started_at: row.get(0)?, number: row.get(1)? });
        let read = || self.conn.prepare_cached(sql)?.query_row([id.as_str()], position).optional();
        read().map_err(|e| self.failed("read conversations of", e))
    }

    fn conversation_page(
        &self,
        filter: &ConversationFilter,
        direction: Direction,
        after: Option<ConversationPosition>,
        limit: usize,
    ) -> Result<Page<Conversation, ConversationPosition>, ArchiveError> {
        let (mut rows, mut last, mut next) = (Vec::new(), None, None);
        if limit == 0 {
            return Ok(Page { rows, next });
        }
        self.walk(filter, direction, after, true, &mut |number, conversation| {
            if rows.len() == limit {
                next = last;
                return ControlFlow::Break(());
            }
            last = Some(ConversationPosition { started_at: conversation.started_at.micros(), number });
            rows.push(conversation);
            ControlFlow::Continue(())
        })?;
        Ok(Page { rows, next })
    }

    /// Gives each conversation that the filter finds to `each`, until that breaks off.
    fn walk(
        &self,
        filter: &ConversationFilter,
        direction: Direction,
        after: Option<ConversationPosition>,
        people: bool,
        each: &mut dyn FnMut(i64, Conversation) -> ControlFlow<()>,
    ) -> Result<(), ArchiveError> {
        let told = |e: Trouble| e.told(|| format!("read conversations of archive {}", self.path.display()));
        let Some((sql, values)) = self.question(filter, direction, after).map_err(|e| told(e.into()))? else {
            return Ok(());
        };
        let subject = filter.subject.as_ref().map(|text| text.to_lowercase());
        let participant = filter.participant.as_ref().map(|text| text.to_lowercase());
        let mut read = || -> Result<(), Trouble> {
            let mut statement = self.conn.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::params_from_iter(values.iter().map(|v| &**v)))?;
            while let Some(row) = rows.next()? {
                // Text is compared here and not in SQL, whose lower() knows ASCII only.
                if let Some(wanted) = &subject {
                    let told = row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?;
                    if !told.is_some_and(|told| told.to_lowercase().contains(wanted)) {
                        continue;
                    }
                }
                let (number, mut conversation) = conversation_of(row)?;
                if people || participant.is_some() {
                    conversation.participants = self.participants(number)?;
                }
                if let Some(wanted) = &participant {
                    let contains = |text: &str| text.to_lowercase().contains(wanted);
                    let mut people = conversation.participants.iter();
                    if !people.any(|person| contains(&person.id) || person.name.as_deref().is_some_and(contains)) {
                        continue;
                    }
                }
                if each(number, conversation).is_break() {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(told)
    }

    /// The SQL of a list and its values; `None` = the filter names a connector that does not exist.
    fn question(
        &self,
        filter: &ConversationFilter,
        direction: Direction,
        after: Option<ConversationPosition>,
    ) -> rusqlite::Result<Option<Question>> {
        // Of what belongs to one person, the numbers come from the person's side and are sorted.
        let driven = match &filter.person {
            Some(person) => self.conversations_up_to(person, SORTED)?,
            None => false,
        };
        // The conversation is always the outer loop, so that rows come in the order of its index, unsorted.
        let mut sql = format!(
            "SELECT {COLUMNS} FROM {} CROSS JOIN conversation_id i ON i.number = c.number
             CROSS JOIN connector n ON n.id = c.connector WHERE ",
            if driven {
                "participant p CROSS JOIN conversation c ON c.number = p.conversation"
            } else {
                "conversation c"
            }
        );
        let (beyond, edge) = match direction {
            Direction::Oldest => (">", i64::MIN),
            Direction::Newest => ("<", i64::MAX),
        };
        let after = after.unwrap_or(ConversationPosition { started_at: edge, number: edge });
        sql.push_str(&format!("(c.started_at, c.number) {beyond} (?1, ?2)"));
        let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(after.started_at), Box::new(after.number)];
        let mut needs = |condition: &str, value: Option<Box<dyn ToSql>>| {
            values.extend(value);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace("?#", &format!("?{}", values.len())));
        };
        if let Some(since) = filter.since {
            needs("c.last_at >= ?#", Some(Box::new(since.micros())));
        }
        if let Some(until) = filter.until {
            needs("c.first_at < ?#", Some(Box::new(until.micros())));
        }
        if filter.connector.is_some() || filter.platform.is_some() {
            match self.connector_ids(filter.connector.as_deref(), filter.platform.as_deref())?.as_slice() {
                [] => return Ok(None),
                [one] => needs("c.connector = ?#", Some(Box::new(*one))),
                // Several would have to be merged; the walk by start meets them soon enough.
                several => {
                    let list: Vec<String> = several.iter().map(i64::to_string).collect();
                    needs(&format!("+c.connector IN ({})", list.join(", ")), None);
                }
            }
        }
        if let Some(person) = &filter.person {
            let condition = if driven {
                "p.person = ?#"
            } else {
                "EXISTS (SELECT 1 FROM participant p WHERE p.conversation = c.number AND p.person = ?# LIMIT 1)"
            };
            needs(condition, Some(Box::new(person.clone())));
        }
        // Word for word the conditions of the partial indexes in schema.sql.
        match filter.state {
            Some(ConversationState::Live) => needs("c.live = 1", None),
            Some(ConversationState::Ended) => needs("c.live = 0", None),
            None => {}
        }
        match filter.coverage {
            Some(Coverage::Complete) => needs("(c.recorded AND c.gaps = 0 AND (c.covered OR NOT c.live))", None),
            Some(Coverage::Incomplete) => needs("NOT (c.recorded AND c.gaps = 0 AND (c.covered OR NOT c.live))", None),
            None => {}
        }
        sql.push_str(match direction {
            Direction::Oldest => " ORDER BY c.started_at, c.number",
            Direction::Newest => " ORDER BY c.started_at DESC, c.number DESC",
        });
        Ok(Some((sql, values)))
    }

    /// Whether a person is in at most so many conversations.
    fn conversations_up_to(&self, person: &str, most: usize) -> rusqlite::Result<bool> {
        let found: Option<i64> = self
            .conn
            .prepare_cached("SELECT 1 FROM participant WHERE person = ?1 LIMIT 1 OFFSET ?2")?
            .query_row(params![person, N::of(most)], |row| row.get(0))
            .optional()?;
        Ok(found.is_none())
    }

    fn connector_ids(&self, name: Option<&str>, platform: Option<&str>) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT id FROM connector WHERE name = coalesce(?1, name) AND platform = coalesce(?2, platform) ORDER BY id",
        )?;
        statement.query_map(params![name, platform], |row| row.get(0))?.collect()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::archive::schema;

    /// How SQLite answers the question, one step per line.
    fn plan(reader: &Reader, filter: &ConversationFilter) -> String {
        let (sql, values) = reader.question(filter, Direction::Newest, None).unwrap().unwrap();
        let mut statement = reader.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(rusqlite::params_from_iter(values.iter().map(|v| &**v)), |row| row.get(3));
        rows.unwrap().collect::<rusqlite::Result<Vec<String>>>().unwrap().join("\n")
    }

    #[test]
    fn what_matches_rarely_is_found_by_an_index_and_comes_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.db");
        let mut conn = Connection::open(&path).unwrap();
        schema::create(&mut conn, &path, "o", &[1; 32], Timestamp(5)).unwrap();
        conn.execute_batch("INSERT INTO connector VALUES (1, 'sfb', 'ucwa'), (2, 'x', 'teams')").unwrap();
        let reader = Reader::open(&path).unwrap();
        let none = ConversationFilter::default;
        for (filter, index) in [
            (none(), "conversation_by_start"),
            (ConversationFilter { state: Some(ConversationState::Live), ..none() }, "conversation_live"),
            (ConversationFilter { coverage: Some(Coverage::Incomplete), ..none() }, "conversation_incomplete"),
            (ConversationFilter { connector: Some("x".into()), ..none() }, "conversation_by_connector"),
            (
                ConversationFilter { since: Some(Timestamp(1)), until: Some(Timestamp(2)), ..none() },
                "conversation_by_start",
            ),
        ] {
            let plan = plan(&reader, &filter);
            assert!(plan.starts_with("SEARCH c ") && plan.contains(&format!("INDEX {index} ")), "{filter:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        // One person's are few here: from the person's side, then sorted.
        let plan = plan(&reader, &ConversationFilter { person: Some("p".into()), ..none() });
        assert!(
            plan.contains("participant_by_person (person=?)") && plan.contains("SEARCH c USING INTEGER PRIMARY KEY"),
            "{plan}"
        );
    }
}
