-- The tables of version 2 as questions to a file of version 1, for readers that may not change it: right but slow,
-- because each one reads what it needs of the log. `name` knows only the newest name of each conversation there, with
-- the span of the conversation. Days are rounded down, before 1970 too.

CREATE TEMP VIEW day AS
SELECT day, connector, sum(events) AS events, sum(messages) AS messages, sum(conversations) AS conversations, sum(gaps) AS gaps
FROM (
    SELECT (at - 86399999999 * (at < 0)) / 86400000000 AS day, connector, count(*) AS events,
        sum(kind = 'message.sent') AS messages, 0 AS conversations, 0 AS gaps FROM event GROUP BY 1, 2
    UNION ALL
    SELECT (started_at - 86399999999 * (started_at < 0)) / 86400000000, connector, 0, 0, count(*), 0 FROM conversation GROUP BY 1, 2
    UNION ALL
    SELECT (g.from_at - 86399999999 * (g.from_at < 0)) / 86400000000, e.connector, 0, 0, 0, count(*)
        FROM gap g JOIN event e ON e.seq = g.seq GROUP BY 1, 2
) GROUP BY day, connector;

CREATE TEMP VIEW conversation_day AS
SELECT conversation, (at - 86399999999 * (at < 0)) / 86400000000 AS day, count(*) AS events, sum(kind = 'message.sent') AS messages
FROM event WHERE conversation IS NOT NULL GROUP BY conversation, day;

-- The bare column beside max() is the one of the row with the maximum.
CREATE TEMP VIEW person AS
SELECT person, name, conversations FROM (
    SELECT person, name, count(*) AS conversations, max(iif(name IS NULL, -1, first_seq)) FROM participant GROUP BY person
);

CREATE TEMP VIEW name AS
SELECT p.person, p.name, min(c.first_at) AS first_at, max(c.last_at) AS last_at
FROM participant p JOIN conversation c ON c.number = p.conversation WHERE p.name IS NOT NULL GROUP BY p.person, p.name;

CREATE TEMP VIEW message_change AS
SELECT e.conversation, json_extract(CAST(c.canonical AS TEXT), '$.message.id') AS message, e.seq
FROM event e JOIN content c ON c.seq = e.seq
WHERE e.conversation IS NOT NULL AND e.kind IN ('message.edited', 'message.deleted', 'message.undelivered', 'reaction.added', 'reaction.removed')
    AND json_extract(CAST(c.canonical AS TEXT), '$.message.id') IS NOT NULL;
