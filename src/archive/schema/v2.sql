-- From version 1 to 2: indexes for lists, and the projections day, conversation_day, person, name, message_change.
-- The log itself stays as it is; the projections are filled from it in the same transaction.

CREATE INDEX conversation_by_connector ON conversation (connector, started_at);
CREATE INDEX conversation_live ON conversation (started_at) WHERE live = 1;
CREATE INDEX conversation_incomplete ON conversation (started_at) WHERE NOT (recorded AND gaps = 0 AND (covered OR NOT live));
CREATE INDEX gap_by_end ON gap (to_at);

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
