//! Projections: conversation, participant, attendance, message state and changes, coverage, gap, block, days, people.
//!
//! One piece of code serves the writer and the rebuild. What changes with every message (counts, newest times) is kept
//! in memory during a transaction and written once before its commit by [`Projector::flush`]; what happens rarely is
//! written at once. After a rollback the projector is thrown away and made anew from the database.

mod days;
mod people;

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::number::N;
use super::reader;
use super::writer::Trouble;
use crate::model::{Content, Kind};

use days::Days;
pub(super) use days::day_of;
use people::People;

/// Events per row of `block`.
pub(super) const BLOCK: u64 = 1024;

/// So many conversations are remembered between transactions.
const REMEMBERED: usize = 4096;

/// The tables that [`clear`] empties and the log fills again, with the version of the layout that brought them.
const SINCE: &[(&str, i32)] = &[
    ("conversation", 1),
    ("participant", 1),
    ("attendance", 1),
    ("message_state", 1),
    ("coverage", 1),
    ("gap", 1),
    ("block", 1),
    ("day", 2),
    ("conversation_day", 2),
    ("person", 2),
    ("name", 2),
    ("message_change", 2),
];

/// The tables of projections that a file of this version has.
pub(super) fn tables(version: i32) -> impl Iterator<Item = &'static str> {
    SINCE.iter().filter(move |(_, since)| *since <= version).map(|(table, _)| *table)
}

/// One event as projections see it.
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    pub(super) connector: i64,
    pub(super) conversation: Option<i64>,
    pub(super) kind: Kind,
    /// `source_time`, or `recorded_at` where absent; µs.
    pub(super) at: i64,
    pub(super) content: &'a Content,
}

#[derive(Clone)]
struct Conversation {
    connector: i64,
    subject: Option<String>,
    live: bool,
    started: bool,
    notice_sent: bool,
    started_at: i64,
    ended_at: Option<i64>,
    first_at: i64,
    last_at: i64,
    events: i64,
    messages: i64,
    gaps: i64,
    recorded: bool,
    covered: bool,
    dirty: bool,
    /// More changed than the members that every event changes.
    changed: bool,
    people: HashMap<String, Person>,
    people_dirty: bool,
    /// Events and messages per day since the last flush: mostly one day.
    days: Vec<(i64, i64, i64)>,
}

#[derive(Clone)]
struct Person {
    name: Option<String>,
    role: Option<String>,
    in_lobby: Option<bool>,
    first_seq: i64,
    dirty: bool,
}

struct Block {
    number: u64,
    first_at: i64,
    last_at: i64,
}

/// Applies events to the projections.
pub(super) struct Projector {
    conversations: HashMap<i64, Conversation>,
    dirty: Vec<i64>,
    block: Option<Block>,
    days: Days,
    people: People,
}

impl Projector {
    /// A projector that goes on after the first `size` events of the log.
    pub(super) fn resume(conn: &Connection, size: u64) -> rusqlite::Result<Self> {
        let number = size / BLOCK;
        let block = if size.is_multiple_of(BLOCK) {
            None
        } else {
            let (first_at, last_at) =
                conn.query_row("SELECT min(at), max(at) FROM event WHERE seq > ?1", [N(number * BLOCK)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            Some(Block { number, first_at, last_at })
        };
        Ok(Projector {
            conversations: HashMap::new(),
            dirty: Vec::new(),
            block,
            days: Days::default(),
            people: People::default(),
        })
    }

    /// Takes in one event; events come in order of seq.
    pub(super) fn apply(&mut self, conn: &Connection, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.note_time(conn, entry)?;
        let today = self.days.on(entry.at, entry.connector);
        today.events += 1;
        today.messages += i64::from(entry.kind == Kind::MessageSent);
        if let Kind::CaptureGap = entry.kind
            && let Some(gap) = &entry.content.gap
        {
            // Cut to milliseconds like the canonical content, so that a rebuild gives the same row.
            conn.prepare_cached(
                "INSERT INTO gap (seq, conversation, from_at, to_at, cause) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                N(entry.seq),
                entry.conversation,
                gap.from.millis() * 1000,
                gap.to.millis() * 1000,
                gap.cause
            ])?;
            self.days.on(gap.from.millis() * 1000, entry.connector).gaps += 1;
        }
        let Some(number) = entry.conversation else { return Ok(()) };
        self.load(conn, number, entry)?;
        let Some(conversation) = self.conversations.get_mut(&number) else { return Ok(()) };
        if !conversation.dirty {
            conversation.dirty = true;
            self.dirty.push(number);
        }
        conversation.take(conn, number, entry, &mut self.days, &mut self.people)
    }

    /// Writes what is still only in memory. Must run before the commit.
    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for number in self.dirty.drain(..) {
            let Some(conversation) = self.conversations.get_mut(&number) else { continue };
            conversation.write(conn, number)?;
        }
        self.days.flush(conn)?;
        self.people.flush(conn)?;
        if self.conversations.len() > REMEMBERED {
            self.conversations.clear();
        }
        Ok(())
    }

    fn note_time(&mut self, conn: &Connection, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let number = (entry.seq - 1) / BLOCK;
        let block = match &mut self.block {
            Some(block) if block.number == number => {
                block.first_at = block.first_at.min(entry.at);
                block.last_at = block.last_at.max(entry.at);
                block
            }
            other => other.insert(Block { number, first_at: entry.at, last_at: entry.at }),
        };
        if entry.seq.is_multiple_of(BLOCK) {
            conn.prepare_cached("INSERT INTO block (number, first_at, last_at) VALUES (?1, ?2, ?3)")?
                .execute(params![N(number), block.first_at, block.last_at])?;
            self.block = None;
        }
        Ok(())
    }

    fn load(&mut self, conn: &Connection, number: i64, entry: &Entry<'_>) -> rusqlite::Result<()> {
        if self.conversations.contains_key(&number) {
            return Ok(());
        }
        let found = conn
            .prepare_cached(
                "SELECT connector, subject, live, started, notice_sent, started_at, ended_at, first_at, last_at, events,
                        messages, gaps, recorded, covered FROM conversation WHERE number = ?1",
            )?
            .query_row([number], |row| {
                Ok(Conversation {
                    connector: row.get(0)?,
                    subject: row.get(1)?,
                    live: row.get(2)?,
                    started: row.get(3)?,
                    notice_sent: row.get(4)?,
                    started_at: row.get(5)?,
                    ended_at: row.get(6)?,
                    first_at: row.get(7)?,
                    last_at: row.get(8)?,
                    events: row.get(9)?,
                    messages: row.get(10)?,
                    gaps: row.get(11)?,
                    recorded: row.get(12)?,
                    covered: row.get(13)?,
                    dirty: false,
                    changed: false,
                    people: HashMap::new(),
                    people_dirty: false,
                    days: Vec::new(),
                })
            })
            .optional()?;
        if found.is_none() {
            self.days.on(entry.at, entry.connector).conversations += 1;
        }
        let conversation = found.unwrap_or_else(|| Conversation {
            connector: entry.connector,
            subject: None,
            live: true,
            started: false,
            notice_sent: false,
            started_at: entry.at,
            ended_at: None,
            first_at: entry.at,
            last_at: entry.at,
            events: 0,
            messages: 0,
            gaps: 0,
            recorded: false,
            covered: false,
            dirty: false,
            changed: true,
            people: HashMap::new(),
            people_dirty: false,
            days: Vec::new(),
        });
        self.conversations.insert(number, conversation);
        Ok(())
    }
}

/// Kinds whose actor is somebody in the conversation, never the recorder speaking about itself.
fn somebody_acts(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::InvitationReceived
            | Kind::ParticipantJoined
            | Kind::ParticipantLeft
            | Kind::ParticipantChanged
            | Kind::MessageSent
            | Kind::MessageEdited
            | Kind::MessageDeleted
            | Kind::ReactionAdded
            | Kind::ReactionRemoved
            | Kind::ModalityChanged
            | Kind::SharingStarted
            | Kind::SharingEnded
    )
}

impl Conversation {
    fn take(
        &mut self,
        conn: &Connection,
        number: i64,
        entry: &Entry<'_>,
        days: &mut Days,
        everybody: &mut People,
    ) -> rusqlite::Result<()> {
        // The statement for what every event changes touches no index.
        self.changed |= !matches!(entry.kind, Kind::MessageSent);
        self.events += 1;
        self.note_day(entry);
        self.first_at = self.first_at.min(entry.at);
        self.last_at = self.last_at.max(entry.at);
        if let Some(subject) = &entry.content.subject
            && self.subject.as_ref() != Some(subject)
        {
            self.subject = Some(subject.clone());
            self.changed = true;
        }
        let attending = self.people_of(conn, number, entry, everybody)?;
        match entry.kind {
            Kind::ConversationStarted => {
                if !self.started {
                    days.on(self.started_at, self.connector).conversations -= 1;
                    days.on(entry.at, self.connector).conversations += 1;
                    self.started_at = entry.at;
                }
                self.started = true;
                self.revive();
            }
            Kind::ConversationChanged | Kind::InvitationAccepted => self.revive(),
            Kind::ConversationEnded => self.end(conn, number, entry)?,
            // A second invitation that comes to nothing does not end what is being recorded.
            Kind::InvitationDeclined | Kind::InvitationFailed if !self.covered => self.end(conn, number, entry)?,
            Kind::RecordingStarted => {
                self.revive();
                self.recorded = true;
                if !self.covered {
                    self.covered = true;
                    conn.prepare_cached("INSERT INTO coverage (seq, conversation, from_at) VALUES (?1, ?2, ?3)")?
                        .execute(params![N(entry.seq), number, entry.at])?;
                }
            }
            Kind::RecordingStopped => self.uncover(conn, number, entry.at)?,
            Kind::NoticeSent => self.notice_sent = true,
            Kind::MessageSent => self.messages += 1,
            Kind::MessageEdited | Kind::MessageDeleted => {
                change_message(conn, number, entry)?;
                note_change(conn, number, entry)?;
            }
            Kind::MessageUndelivered | Kind::ReactionAdded | Kind::ReactionRemoved => note_change(conn, number, entry)?,
            Kind::CaptureGap => self.gaps += 1,
            Kind::ParticipantJoined | Kind::ParticipantChanged => {
                if let (Some(participant), Attending::Begins) = (&entry.content.participant, attending) {
                    conn.prepare_cached(
                        "INSERT INTO attendance (seq, conversation, person, joined_at) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS
                         (SELECT 1 FROM attendance WHERE conversation = ?2 AND person = ?3 AND left_at IS NULL)",
                    )?
                    .execute(params![N(entry.seq), number, participant.id, entry.at])?;
                }
            }
            Kind::ParticipantLeft => {
                if let Some(participant) = &entry.content.participant {
                    conn.prepare_cached(
                        "UPDATE attendance SET left_at = ?3 WHERE conversation = ?1 AND person = ?2 AND left_at IS NULL",
                    )?
                    .execute(params![number, participant.id, entry.at])?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_day(&mut self, entry: &Entry<'_>) {
        let day = day_of(entry.at);
        let message = i64::from(entry.kind == Kind::MessageSent);
        match self.days.iter_mut().find(|(known, ..)| *known == day) {
            Some((_, events, messages)) => {
                *events += 1;
                *messages += message;
            }
            None => self.days.push((day, 1, message)),
        }
    }

    fn revive(&mut self) {
        self.live = true;
        self.ended_at = None;
    }

    fn end(&mut self, conn: &Connection, number: i64, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.live = false;
        self.ended_at = Some(entry.at);
        conn.prepare_cached("UPDATE attendance SET left_at = ?2 WHERE conversation = ?1 AND left_at IS NULL")?
            .execute(params![number, entry.at])?;
        self.uncover(conn, number, entry.at)
    }

    fn uncover(&mut self, conn: &Connection, number: i64, at: i64) -> rusqlite::Result<()> {
        if self.covered {
            self.covered = false;
            conn.prepare_cached("UPDATE coverage SET to_at = ?2 WHERE conversation = ?1 AND to_at IS NULL")?
                .execute(params![number, at])?;
        }
        Ok(())
    }

    /// Notes everybody the event names as present or acting; says whether the participant's attendance begins with it.
    fn people_of(
        &mut self,
        conn: &Connection,
        number: i64,
        entry: &Entry<'_>,
        everybody: &mut People,
    ) -> rusqlite::Result<Attending> {
        if !somebody_acts(entry.kind) {
            return Ok(Attending::AsBefore);
        }
        self.people_dirty = true;
        if let Some(actor) = &entry.content.actor {
            let (person, new) = self.person(conn, number, &actor.id, entry.seq)?;
            person.tell(actor.name.as_deref(), None, None);
            everybody.met(conn, &actor.id, actor.name.as_deref(), entry.at, new)?;
        }
        let Some(participant) = &entry.content.participant else { return Ok(Attending::AsBefore) };
        let (person, new) = self.person(conn, number, &participant.id, entry.seq)?;
        everybody.met(conn, &participant.id, participant.name.as_deref(), entry.at, new)?;
        let waited = person.in_lobby == Some(true);
        person.tell(participant.name.as_deref(), participant.role.as_deref(), participant.in_lobby);
        let begins = match entry.kind {
            Kind::ParticipantJoined => participant.in_lobby != Some(true),
            Kind::ParticipantChanged => waited && participant.in_lobby == Some(false),
            _ => false,
        };
        Ok(if begins { Attending::Begins } else { Attending::AsBefore })
    }

    /// Somebody of this conversation, and whether this is the first that is heard of them here.
    fn person(&mut self, conn: &Connection, number: i64, id: &str, seq: u64) -> rusqlite::Result<(&mut Person, bool)> {
        let mut new = false;
        // Looked up twice because the borrow checker does not let a found entry leave early.
        if !self.people.contains_key(id) {
            let found = conn
                .prepare_cached(
                    "SELECT name, role, in_lobby, first_seq FROM participant WHERE conversation = ?1 AND person = ?2",
                )?
                .query_row(params![number, id], |row| {
                    Ok(Person {
                        name: row.get(0)?,
                        role: row.get(1)?,
                        in_lobby: row.get(2)?,
                        first_seq: row.get(3)?,
                        dirty: false,
                    })
                })
                .optional()?;
            new = found.is_none();
            let person = found.unwrap_or(Person {
                name: None,
                role: None,
                in_lobby: None,
                first_seq: i64::try_from(seq).unwrap_or(i64::MAX),
                dirty: true,
            });
            self.people.insert(id.to_owned(), person);
        }
        Ok((self.people.get_mut(id).expect("inserted above"), new))
    }

    fn write(&mut self, conn: &Connection, number: i64) -> rusqlite::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        for (day, events, messages) in self.days.drain(..) {
            conn.prepare_cached(
                "INSERT INTO conversation_day (conversation, day, events, messages) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (conversation, day) DO UPDATE SET events = events + ?3, messages = messages + ?4",
            )?
            .execute(params![number, day, events, messages])?;
        }
        if std::mem::take(&mut self.changed) {
            self.write_whole(conn, number)?;
        } else {
            // Messages only: nothing that an index is made of, so no index is written.
            conn.prepare_cached(
                "UPDATE conversation SET first_at = ?2, last_at = ?3, events = ?4, messages = ?5 WHERE number = ?1",
            )?
            .execute(params![number, self.first_at, self.last_at, self.events, self.messages])?;
        }
        self.dirty = false;
        if !std::mem::take(&mut self.people_dirty) {
            return Ok(());
        }
        for (id, person) in self.people.iter_mut().filter(|(_, person)| person.dirty) {
            conn.prepare_cached(
                "INSERT INTO participant (conversation, person, name, role, in_lobby, first_seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (conversation, person) DO UPDATE SET name = ?3, role = ?4, in_lobby = ?5",
            )?
            .execute(params![number, id, person.name, person.role, person.in_lobby, person.first_seq])?;
            person.dirty = false;
        }
        Ok(())
    }

    fn write_whole(&self, conn: &Connection, number: i64) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT INTO conversation (number, connector, subject, live, started, notice_sent, started_at, ended_at, first_at,
                                       last_at, events, messages, gaps, recorded, covered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (number) DO UPDATE SET subject = ?3, live = ?4, started = ?5, notice_sent = ?6, started_at = ?7,
                 ended_at = ?8, first_at = ?9, last_at = ?10, events = ?11, messages = ?12, gaps = ?13, recorded = ?14,
                 covered = ?15",
        )?
        .execute(params![
            number,
            self.connector,
            self.subject,
            self.live,
            self.started,
            self.notice_sent,
            self.started_at,
            self.ended_at,
            self.first_at,
            self.last_at,
            self.events,
            self.messages,
            self.gaps,
            self.recorded,
            self.covered
        ])?;
        Ok(())
    }
}

enum Attending {
    Begins,
    AsBefore,
}

impl Person {
    fn tell(&mut self, name: Option<&str>, role: Option<&str>, in_lobby: Option<bool>) {
        for (known, told) in [(&mut self.name, name), (&mut self.role, role)] {
            if told.is_some() && known.as_deref() != told {
                *known = told.map(str::to_owned);
                self.dirty = true;
            }
        }
        if in_lobby.is_some() && self.in_lobby != in_lobby {
            self.in_lobby = in_lobby;
            self.dirty = true;
        }
    }
}

fn change_message(conn: &Connection, number: i64, entry: &Entry<'_>) -> rusqlite::Result<()> {
    let Some(message) = &entry.content.message else { return Ok(()) };
    let edited = entry.kind == Kind::MessageEdited;
    conn.prepare_cached(
        "INSERT INTO message_state (conversation, message, edits, deleted, seq) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (conversation, message) DO UPDATE SET edits = edits + ?3, deleted = ?4, seq = ?5",
    )?
    .execute(params![number, message.id, edited, !edited, N(entry.seq)])?;
    Ok(())
}

/// Notes an event that a page with its message shows.
fn note_change(conn: &Connection, number: i64, entry: &Entry<'_>) -> rusqlite::Result<()> {
    let Some(message) = &entry.content.message else { return Ok(()) };
    conn.prepare_cached("INSERT INTO message_change (conversation, message, seq) VALUES (?1, ?2, ?3)")?
        .execute(params![number, message.id, N(entry.seq)])?;
    Ok(())
}

/// Empties every projection and fills it again from the log; whoever calls has a transaction open.
pub(super) fn rebuild(conn: &Connection) -> Result<(), Trouble> {
    clear(conn)?;
    // Going on after nothing: the log is applied from its first event.
    let mut projector = Projector::resume(conn, 0)?;
    let mut after = 0u64;
    loop {
        let page = reader::entries(conn, after, 1000)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in &page {
            projector.apply(conn, &entry.as_entry())?;
        }
        projector.flush(conn)?;
    }
    Ok(())
}

/// Empties every projection.
fn clear(conn: &Connection) -> rusqlite::Result<()> {
    for (table, _) in SINCE {
        conn.execute(&format!("DELETE FROM {table}"), [])?;
    }
    Ok(())
}
