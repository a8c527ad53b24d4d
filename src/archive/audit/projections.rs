//! Makes the projections again from the log, in a database of their own, and compares them row by row.

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::Rows;
use crate::archive::projection::{self, Projector};
use crate::archive::reader::entries;
use crate::archive::schema;
use crate::archive::writer::Trouble;
use crate::integrity::finding::{Finding, FindingKind};

/// Rows of the log that are applied at a time.
const PAGE: usize = 1000;

pub(super) fn compare(rows: &Rows, tell: &mut dyn FnMut(Finding), progress: &mut dyn FnMut(u64)) {
    match rebuilt(rows, progress) {
        Ok(fresh) => {
            for table in projection::tables(rows.reader.version()) {
                if let Err(error) = table_drift(rows.conn(), &fresh, table, tell) {
                    tell(Finding::of(FindingKind::Unreadable, format!("projection {table} cannot be read ({error})")));
                }
            }
        }
        Err(trouble) => {
            let error = trouble.told(|| "read the log".into());
            tell(Finding::of(FindingKind::Unreadable, format!("projections cannot be made again ({error})")));
        }
    }
}

/// The projections of the log as this version makes them, in a temporary file that goes with the connection.
fn rebuilt(rows: &Rows, progress: &mut dyn FnMut(u64)) -> Result<Connection, Trouble> {
    let fresh = Connection::open("")?;
    fresh.pragma_update(None, "foreign_keys", false)?;
    fresh.pragma_update(None, "journal_mode", "OFF")?;
    fresh.pragma_update(None, "synchronous", "OFF")?;
    fresh.pragma_update(None, "cache_size", -16_384)?;
    fresh.set_prepared_statement_cache_capacity(64);
    fresh.execute_batch(schema::SCHEMA)?;
    fresh.execute_batch("BEGIN")?;
    let mut projector = Projector::resume(&fresh, 0)?;
    let mut after = 0;
    loop {
        let page = entries(rows.conn(), after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in &page {
            projector.apply(&fresh, &entry.as_entry())?;
        }
        projector.flush(&fresh)?;
        progress(after);
    }
    fresh.execute_batch("COMMIT")?;
    Ok(fresh)
}

/// How rows of a projection are ordered: by its key, the first columns of it.
fn key_columns(table: &str) -> usize {
    match table {
        "message_change" => 3,
        "participant" | "message_state" | "day" | "conversation_day" | "name" => 2,
        _ => 1,
    }
}

fn table_drift(
    stored: &Connection,
    fresh: &Connection,
    table: &str,
    tell: &mut dyn FnMut(Finding),
) -> rusqlite::Result<()> {
    let keys = key_columns(table);
    let order: Vec<String> = (1..=keys).map(|n| n.to_string()).collect();
    let sql = format!("SELECT * FROM {table} ORDER BY {}", order.join(", "));
    let (mut left, mut right) = (stored.prepare(&sql)?, fresh.prepare(&sql)?);
    let names: Vec<String> = right.column_names().iter().map(|name| (*name).to_owned()).collect();
    let seq = names.iter().position(|name| name == "seq" || name == "first_seq");
    let width = names.len();
    let values = |row: &Row<'_>| (0..width).map(|n| row.get::<_, Value>(n)).collect::<rusqlite::Result<Vec<Value>>>();
    let (mut left, mut right) = (left.query([])?, right.query([])?);
    let mut next_left = left.next()?.map(values).transpose()?;
    let mut next_right = right.next()?.map(values).transpose()?;
    loop {
        let order = match (&next_left, &next_right) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(l), Some(r)) => by_key(&l[..keys], &r[..keys]),
        };
        let differing = match (&next_left, &next_right) {
            (Some(l), Some(r)) if order.is_eq() => {
                let columns: Vec<&str> =
                    names.iter().enumerate().filter(|(n, _)| l[*n] != r[*n]).map(|(_, name)| name.as_str()).collect();
                (!columns.is_empty()).then(|| (r, format!("column {} is not what the log gives", columns.join(", "))))
            }
            (Some(l), _) if order.is_lt() => Some((l, "the row does not follow from the log".to_owned())),
            (_, Some(r)) => Some((r, "a row that follows from the log is missing".to_owned())),
            _ => None,
        };
        if let Some((row, what)) = differing {
            let at = seq.and_then(|n| match row[n] {
                Value::Integer(seq) => u64::try_from(seq).ok(),
                _ => None,
            });
            // Numbers only: addresses and message ids may be personal.
            let number = match &row[0] {
                Value::Integer(number) => format!(" {} {number}", names[0]),
                _ => String::new(),
            };
            let what = format!("table {table},{number}: {what}");
            tell(Finding { seq: at, kind: FindingKind::ProjectionDrift, what });
        }
        if order.is_le() {
            next_left = left.next()?.map(values).transpose()?;
        }
        if order.is_ge() {
            next_right = right.next()?.map(values).transpose()?;
        }
    }
}

/// Order of keys as SQLite has it: numbers, then text by its bytes.
fn by_key(left: &[Value], right: &[Value]) -> std::cmp::Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    left.iter()
        .zip(right)
        .map(|(l, r)| match (l, r) {
            (Value::Integer(l), Value::Integer(r)) => l.cmp(r),
            (Value::Text(l), Value::Text(r)) => l.as_bytes().cmp(r.as_bytes()),
            (Value::Blob(l), Value::Blob(r)) => l.cmp(r),
            (l, r) => rank(l).cmp(&rank(r)),
        })
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}
