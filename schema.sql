-- The archive of Greffier, version 2.
--
-- Times: microseconds since 1970-01-01 UTC (whole milliseconds, so that what is shown is what is hashed).
-- "In the leaf": the value is part of the header that is hashed into the log (docs/FORMATS.md). "Committed": bound by a
-- salted hash that is in the leaf. "Projection": derived from the log, may be dropped and rebuilt at any time.
-- Rows of the log are never changed or removed; triggers refuse it. The triggers guard against mistakes; against
-- somebody who owns the file, the hashes do.

-- ---------------------------------------------------------------------------------------------------------- the log

-- The log itself: one row.
CREATE TABLE meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    origin      TEXT    NOT NULL,  -- name of this log, made at creation, unique in the world; in every leaf
    created_at  INTEGER NOT NULL,  -- µs, our clock
    dedupe_salt BLOB    NOT NULL   -- 32 random bytes in front of every dedupe key before hashing; not in the leaf
) STRICT;

-- Configured sign-ins that events and envelopes came through.
CREATE TABLE connector (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,        -- configured name; in the leaf
    platform TEXT NOT NULL,        -- kind of connector: ucwa, teams …; not in the leaf
    UNIQUE (name, platform)
) STRICT;

-- Short numbers for conversation ids, so that events and indexes stay small.
CREATE TABLE conversation_id (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE    -- c_ and 26 characters; in the leaf of every event of the conversation
) STRICT;

-- Bodies exactly as platforms delivered them.
CREATE TABLE envelope (
    id           INTEGER PRIMARY KEY,                      -- 1, 2, 3 … in order of arrival
    connector    INTEGER NOT NULL REFERENCES connector(id),
    received_at  INTEGER NOT NULL,  -- µs, our clock, last byte arrived
    server_date  INTEGER,           -- µs, the answer's HTTP Date
    request      TEXT    NOT NULL,  -- what was asked, never a secret
    status       INTEGER NOT NULL,  -- HTTP status; 0 = bytes sent to us
    content_type TEXT,              -- as received
    size         INTEGER NOT NULL,  -- bytes of the body as received
    encoding     INTEGER NOT NULL CHECK (encoding IN (0, 1)),  -- of `body`: 0 as received, 1 zstd frame
    digest       BLOB    NOT NULL,  -- SHA-256 of the body as received; erased with it
    salt         BLOB    NOT NULL,  -- 32 random bytes; erased with the body
    commitment   BLOB    NOT NULL,  -- SHA-256(salt ‖ head), the head being the columns above and the digest; in the leaf of
                                    -- each event read from it
    body         BLOB    NOT NULL   -- last, so that the rest is read without walking through it
) STRICT;

-- Envelopes that still have to be interpreted. Working state, not part of the log.
CREATE TABLE pending_envelope (
    envelope INTEGER PRIMARY KEY REFERENCES envelope(id)
) STRICT;

-- Headers of the log.
CREATE TABLE event (
    seq          INTEGER PRIMARY KEY,                      -- 1, 2, 3 … without holes, order of capture; in the leaf
    connector    INTEGER NOT NULL REFERENCES connector(id),         -- its name is in the leaf
    conversation INTEGER REFERENCES conversation_id(number),        -- its id is in the leaf; NULL = of none
    kind         TEXT    NOT NULL,  -- message.sent …; in the leaf
    source_time  INTEGER,           -- µs, the platform's clock; in the leaf
    recorded_at  INTEGER NOT NULL,  -- µs, our clock; in the leaf
    envelope     INTEGER REFERENCES envelope(id),   -- its commitment is in the leaf; NULL = the recorder's own statement
    content      BLOB    NOT NULL,  -- commitment: SHA-256(content.salt ‖ content.canonical); in the leaf
    leaf         BLOB    NOT NULL,  -- SHA-256(0x00 ‖ canonical header): level 0 of the tree
    at           INTEGER AS (coalesce(source_time, recorded_at)) VIRTUAL, -- µs, the time that people ask for
    second       INTEGER AS (coalesce(source_time, recorded_at) / 1000000) VIRTUAL  -- `at` cut to the second; then seq: order of display
) STRICT;
CREATE INDEX event_by_conversation ON event (conversation, second) WHERE conversation IS NOT NULL;

-- What happened, apart from its header so that lawful erasure can take it without breaking a proof.
CREATE TABLE content (
    seq       INTEGER PRIMARY KEY REFERENCES event(seq),
    salt      BLOB NOT NULL,        -- 32 random bytes
    canonical BLOB NOT NULL         -- canonical JSON of actor, message, participant …; committed
) STRICT;

-- Identity of facts: the same fact delivered twice is one event.
CREATE TABLE dedupe (
    connector INTEGER NOT NULL REFERENCES connector(id),
    key       BLOB    NOT NULL,     -- 4 bytes of the time it names (units of 1024 ms) or of its group's hash, then 16 of its salted hash
    seq       INTEGER NOT NULL,     -- the event that states the fact
    PRIMARY KEY (connector, key)
) STRICT, WITHOUT ROWID;

-- Inner nodes of the Merkle tree (RFC 9162) whose subtree is complete. Leaves are event.leaf.
CREATE TABLE node (
    level INTEGER NOT NULL,         -- from 1
    idx   INTEGER NOT NULL,         -- from 0; covers the leaves idx·2^level … (idx+1)·2^level - 1, counted from 0
    hash  BLOB    NOT NULL,         -- SHA-256(0x01 ‖ left ‖ right)
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Signed statements of the log's size and root; also appended to checkpoints.txt beside the archive.
CREATE TABLE checkpoint (
    id   INTEGER PRIMARY KEY,       -- order of signing
    size INTEGER NOT NULL,          -- events in the log
    root BLOB    NOT NULL,          -- Merkle root over them
    at   INTEGER NOT NULL,          -- µs, our clock
    text TEXT    NOT NULL           -- the signed note as published
) STRICT;

-- Platform identifiers of conversations; a pair never moves to another conversation.
CREATE TABLE alias (
    connector    INTEGER NOT NULL REFERENCES connector(id),
    scope        TEXT    NOT NULL,  -- thread, meeting, href …
    value        TEXT    NOT NULL,
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    PRIMARY KEY (connector, scope, value)
) STRICT, WITHOUT ROWID;

-- The connectors' own durable notes, opaque here. Working state, not part of the log.
CREATE TABLE cursor (
    connector INTEGER NOT NULL REFERENCES connector(id),
    key       TEXT    NOT NULL,
    value     BLOB    NOT NULL,
    PRIMARY KEY (connector, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta BEGIN SELECT raise(ABORT, 'the log is append-only: meta'); END;
CREATE TRIGGER meta_no_delete BEFORE DELETE ON meta BEGIN SELECT raise(ABORT, 'the log is append-only: meta'); END;
CREATE TRIGGER connector_no_update BEFORE UPDATE ON connector BEGIN SELECT raise(ABORT, 'the log is append-only: connector'); END;
CREATE TRIGGER connector_no_delete BEFORE DELETE ON connector BEGIN SELECT raise(ABORT, 'the log is append-only: connector'); END;
CREATE TRIGGER conversation_id_no_update BEFORE UPDATE ON conversation_id BEGIN SELECT raise(ABORT, 'the log is append-only: conversation_id'); END;
CREATE TRIGGER conversation_id_no_delete BEFORE DELETE ON conversation_id BEGIN SELECT raise(ABORT, 'the log is append-only: conversation_id'); END;
CREATE TRIGGER envelope_no_update BEFORE UPDATE ON envelope BEGIN SELECT raise(ABORT, 'the log is append-only: envelope'); END;
CREATE TRIGGER envelope_no_delete BEFORE DELETE ON envelope BEGIN SELECT raise(ABORT, 'the log is append-only: envelope'); END;
CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT raise(ABORT, 'the log is append-only: event'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT raise(ABORT, 'the log is append-only: event'); END;
CREATE TRIGGER content_no_update BEFORE UPDATE ON content BEGIN SELECT raise(ABORT, 'the log is append-only: content'); END;
CREATE TRIGGER content_no_delete BEFORE DELETE ON content BEGIN SELECT raise(ABORT, 'the log is append-only: content'); END;
CREATE TRIGGER dedupe_no_update BEFORE UPDATE ON dedupe BEGIN SELECT raise(ABORT, 'the log is append-only: dedupe'); END;
CREATE TRIGGER dedupe_no_delete BEFORE DELETE ON dedupe BEGIN SELECT raise(ABORT, 'the log is append-only: dedupe'); END;
CREATE TRIGGER node_no_update BEFORE UPDATE ON node BEGIN SELECT raise(ABORT, 'the log is append-only: node'); END;
CREATE TRIGGER node_no_delete BEFORE DELETE ON node BEGIN SELECT raise(ABORT, 'the log is append-only: node'); END;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint BEGIN SELECT raise(ABORT, 'the log is append-only: checkpoint'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint BEGIN SELECT raise(ABORT, 'the log is append-only: checkpoint'); END;
CREATE TRIGGER alias_no_update BEFORE UPDATE ON alias BEGIN SELECT raise(ABORT, 'the log is append-only: alias'); END;
CREATE TRIGGER alias_no_delete BEFORE DELETE ON alias BEGIN SELECT raise(ABORT, 'the log is append-only: alias'); END;

-- ------------------------------------------------------------------------------------------------------ projections

-- Projection: one row per conversation.
CREATE TABLE conversation (
    number       INTEGER PRIMARY KEY REFERENCES conversation_id(number),
    connector    INTEGER NOT NULL REFERENCES connector(id),  -- of its first event
    subject      TEXT,               -- the newest told
    live         INTEGER NOT NULL,   -- 1 live, 0 ended
    started      INTEGER NOT NULL,   -- 1 = conversation.started is logged
    notice_sent  INTEGER NOT NULL,   -- 1 = notice.sent is logged
    started_at   INTEGER NOT NULL,   -- µs: time of conversation.started, until then of the first event
    ended_at     INTEGER,            -- µs: time of the newest end; NULL while live
    first_at     INTEGER NOT NULL,   -- µs: earliest time of an event
    last_at      INTEGER NOT NULL,   -- µs: latest time of an event
    events       INTEGER NOT NULL,   -- number of events
    messages     INTEGER NOT NULL,   -- number of message.sent
    gaps         INTEGER NOT NULL,   -- number of capture.gap
    recorded     INTEGER NOT NULL,   -- 1 = recording.started is logged
    covered      INTEGER NOT NULL    -- 1 = being captured now
) STRICT;
CREATE INDEX conversation_by_start ON conversation (started_at);
CREATE INDEX conversation_by_connector ON conversation (connector, started_at);
CREATE INDEX conversation_live ON conversation (started_at) WHERE live = 1;
CREATE INDEX conversation_incomplete ON conversation (started_at) WHERE NOT (recorded AND gaps = 0 AND (covered OR NOT live));

-- Projection: who joined or acted, the recorder left out.
CREATE TABLE participant (
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    person       TEXT    NOT NULL,   -- the platform's stable address
    name         TEXT,               -- the newest told
    role         TEXT,               -- the newest told
    in_lobby     INTEGER,            -- 1 waits for admission, 0 does not, NULL not told
    first_seq    INTEGER NOT NULL,   -- event that first named the person: order of listing
    PRIMARY KEY (conversation, person)
) STRICT, WITHOUT ROWID;
CREATE INDEX participant_by_person ON participant (person);

-- Projection: attendance, one row per stay.
CREATE TABLE attendance (
    seq          INTEGER PRIMARY KEY,  -- of participant.joined
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    person       TEXT    NOT NULL,
    joined_at    INTEGER NOT NULL,   -- µs
    left_at      INTEGER             -- µs; NULL = still there, as far as told
) STRICT;
CREATE INDEX attendance_by_conversation ON attendance (conversation, person);

-- Projection: messages that did not stay as sent. A message without a row stands as in its message.sent.
CREATE TABLE message_state (
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    message      TEXT    NOT NULL,   -- message.id
    edits        INTEGER NOT NULL,   -- number of message.edited
    deleted      INTEGER NOT NULL,   -- 1 = the newest change is message.deleted
    seq          INTEGER NOT NULL,   -- newest message.edited or message.deleted
    PRIMARY KEY (conversation, message)
) STRICT, WITHOUT ROWID;

-- Projection: spans in which messages reached us.
CREATE TABLE coverage (
    seq          INTEGER PRIMARY KEY,  -- of recording.started
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    from_at      INTEGER NOT NULL,   -- µs
    to_at        INTEGER             -- µs; NULL = going on
) STRICT;
CREATE INDEX coverage_by_conversation ON coverage (conversation);

-- Projection: spans in which something may have been missed.
CREATE TABLE gap (
    seq          INTEGER PRIMARY KEY,  -- of capture.gap
    conversation INTEGER REFERENCES conversation_id(number),
    from_at      INTEGER NOT NULL,   -- µs
    to_at        INTEGER NOT NULL,   -- µs
    cause        TEXT    NOT NULL
) STRICT;
CREATE INDEX gap_by_conversation ON gap (conversation);
CREATE INDEX gap_by_end ON gap (to_at);

-- Projection: earliest and latest time in each full block of 1024 events, so that questions about a time skip the rest.
CREATE TABLE block (
    number   INTEGER PRIMARY KEY,    -- covers seq number·1024 + 1 … (number + 1)·1024
    first_at INTEGER NOT NULL,       -- µs
    last_at  INTEGER NOT NULL        -- µs
) STRICT;

-- Projection: what happened on each day, per connector. A day is a number: days since 1970-01-01 UTC.
CREATE TABLE day (
    day           INTEGER NOT NULL,
    connector     INTEGER NOT NULL REFERENCES connector(id),
    events        INTEGER NOT NULL,  -- number of events
    messages      INTEGER NOT NULL,  -- number of message.sent
    conversations INTEGER NOT NULL,  -- number of conversations with this day in started_at and this connector
    gaps          INTEGER NOT NULL,  -- number of capture.gap whose span begins on this day
    PRIMARY KEY (day, connector)
) STRICT, WITHOUT ROWID;

-- Projection: what happened in each conversation on each day.
CREATE TABLE conversation_day (
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    day          INTEGER NOT NULL,   -- days since 1970-01-01 UTC
    events       INTEGER NOT NULL,   -- number of events
    messages     INTEGER NOT NULL,   -- number of message.sent
    PRIMARY KEY (conversation, day)
) STRICT, WITHOUT ROWID;

-- Projection: everybody in `participant`, once.
CREATE TABLE person (
    person        TEXT    NOT NULL PRIMARY KEY,
    name          TEXT,               -- the newest told
    conversations INTEGER NOT NULL    -- number of rows in `participant`
) STRICT, WITHOUT ROWID;

-- Projection: the names that a person bore.
CREATE TABLE name (
    person   TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    first_at INTEGER NOT NULL,       -- µs: earliest time told
    last_at  INTEGER NOT NULL,       -- µs: a time on the latest day told (to the day, so that not every message changes it)
    PRIMARY KEY (person, name)
) STRICT, WITHOUT ROWID;

-- Projection: events that change a message: message.edited, message.deleted, message.undelivered, reaction.*.
CREATE TABLE message_change (
    conversation INTEGER NOT NULL REFERENCES conversation_id(number),
    message      TEXT    NOT NULL,   -- message.id
    seq          INTEGER NOT NULL,
    PRIMARY KEY (conversation, message, seq)
) STRICT, WITHOUT ROWID;
