//! People: the directory, one person, the names they bore.

use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use super::Reader;
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::model::Timestamp;

/// A person across all conversations of a platform address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PersonRow {
    /// The platform's stable address.
    pub id: String,
    /// The newest name told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number of conversations.
    pub conversations: u64,
}

/// A name that a person bore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NameRow {
    /// The name as told.
    pub name: String,
    /// Earliest time it was told.
    pub first_at: Timestamp,
    /// A time on the last UTC day it was told: right to the day.
    pub last_at: Timestamp,
}

fn person_of(row: &Row<'_>) -> rusqlite::Result<PersonRow> {
    Ok(PersonRow { id: row.get(0)?, name: row.get(1)?, conversations: row.get::<_, N>(2)?.0 })
}

impl Reader {
    /// Everybody who ever took part, by address, after the address `after`, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn people(&self, after: Option<&str>, limit: usize) -> Result<Vec<PersonRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<PersonRow>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT person, name, conversations FROM person WHERE person > coalesce(?1, '') ORDER BY person LIMIT ?2",
            )?;
            statement.query_map(params![after, N::of(limit)], person_of)?.collect()
        };
        read().map_err(|e| self.failed("read people from", e))
    }

    /// People whose address, or a name they ever bore, contains `text` (case does not count), by address, after the
    /// address `after`, at most `limit`. Walks the directory: its cost grows with the number of people.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn people_matching(
        &self,
        text: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PersonRow>, ArchiveError> {
        let wanted = text.to_lowercase();
        let contains = |text: &str| text.to_lowercase().contains(&wanted);
        let mut found: Vec<PersonRow> = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.conn.prepare_cached(
                "SELECT p.person, p.name, p.conversations, n.name FROM person p LEFT JOIN name n ON n.person = p.person
                 WHERE p.person > coalesce(?1, '') ORDER BY p.person",
            )?;
            let mut rows = statement.query([after])?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                // One row for each name; the first that fits decides.
                if found.last().is_some_and(|last| last.id == id) {
                    continue;
                }
                if contains(id)
                    || row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)?.is_some_and(contains)
                {
                    if found.len() == limit {
                        break;
                    }
                    found.push(person_of(row)?);
                }
            }
            Ok(())
        };
        read().map_err(|e| self.failed("read people from", e))?;
        Ok(found)
    }

    /// One person.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn person(&self, id: &str) -> Result<Option<PersonRow>, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached("SELECT person, name, conversations FROM person WHERE person = ?1")?
                .query_row([id], person_of)
                .optional()
        };
        read().map_err(|e| self.failed("read people from", e))
    }

    /// The names a person bore, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn names_of(&self, id: &str) -> Result<Vec<NameRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<NameRow>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT name, first_at, last_at FROM name WHERE person = ?1 ORDER BY first_at, last_at, name",
            )?;
            let rows = statement.query_map([id], |row| {
                Ok(NameRow { name: row.get(0)?, first_at: Timestamp(row.get(1)?), last_at: Timestamp(row.get(2)?) })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read people from", e))
    }
}
