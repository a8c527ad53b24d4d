//! Projections `person` and `name`: everybody once, and the names they bore.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::days::day_of;

/// So many people are remembered between transactions.
const REMEMBERED: usize = 16_384;

struct Known {
    name: Option<String>,
    conversations: i64,
    dirty: bool,
    names: HashMap<String, Borne>,
}

#[derive(Clone, Copy)]
struct Borne {
    first_at: i64,
    last_at: i64,
    dirty: bool,
}

/// People as far as they were met since they were last forgotten.
#[derive(Default)]
pub(super) struct People {
    known: HashMap<String, Known>,
    dirty: Vec<String>,
}

impl People {
    /// An event names somebody; `joined` = for the first time in a conversation.
    pub(super) fn met(
        &mut self,
        conn: &Connection,
        id: &str,
        name: Option<&str>,
        at: i64,
        joined: bool,
    ) -> rusqlite::Result<()> {
        // Looked up twice because the borrow checker does not let a found entry leave early.
        if !self.known.contains_key(id) {
            self.known.insert(id.to_owned(), Known::load(conn, id)?);
        }
        let person = self.known.get_mut(id).expect("inserted above");
        let clean = !person.dirty;
        if joined {
            person.conversations += 1;
            person.dirty = true;
        }
        if let Some(name) = name {
            if person.name.as_deref() != Some(name) {
                person.name = Some(name.to_owned());
                person.dirty = true;
            }
            if !person.names.contains_key(name) {
                person.names.insert(name.to_owned(), Borne::load(conn, id, name, at)?);
            }
            let borne = person.names.get_mut(name).expect("inserted above");
            if at < borne.first_at {
                borne.first_at = at;
                borne.dirty = true;
            }
            if day_of(at) > day_of(borne.last_at) {
                borne.last_at = at;
                borne.dirty = true;
            }
            person.dirty |= borne.dirty;
        }
        if clean && person.dirty {
            self.dirty.push(id.to_owned());
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for id in self.dirty.drain(..) {
            let Some(person) = self.known.get_mut(&id) else { continue };
            conn.prepare_cached(
                "INSERT INTO person (person, name, conversations) VALUES (?1, ?2, ?3)
                 ON CONFLICT (person) DO UPDATE SET name = ?2, conversations = ?3",
            )?
            .execute(params![id, person.name, person.conversations])?;
            person.dirty = false;
            for (name, borne) in person.names.iter_mut().filter(|(_, borne)| borne.dirty) {
                conn.prepare_cached(
                    "INSERT INTO name (person, name, first_at, last_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (person, name) DO UPDATE SET first_at = ?3, last_at = ?4",
                )?
                .execute(params![id, name, borne.first_at, borne.last_at])?;
                borne.dirty = false;
            }
        }
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        Ok(())
    }
}

impl Known {
    fn load(conn: &Connection, id: &str) -> rusqlite::Result<Known> {
        let found = conn
            .prepare_cached("SELECT name, conversations FROM person WHERE person = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (name, conversations) = found.unwrap_or((None, 0));
        Ok(Known { name, conversations, dirty: false, names: HashMap::new() })
    }
}

impl Borne {
    fn load(conn: &Connection, id: &str, name: &str, at: i64) -> rusqlite::Result<Borne> {
        let found = conn
            .prepare_cached("SELECT first_at, last_at FROM name WHERE person = ?1 AND name = ?2")?
            .query_row([id, name], |row| Ok(Borne { first_at: row.get(0)?, last_at: row.get(1)?, dirty: false }))
            .optional()?;
        Ok(found.unwrap_or(Borne { first_at: at, last_at: at, dirty: true }))
    }
}
