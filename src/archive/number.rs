//! Unsigned numbers in SQLite, which knows 64-bit signed ones only.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// An unsigned number as column or parameter. Beyond `i64::MAX` (a limit of `usize::MAX`, say) it saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct N(pub(super) u64);

impl N {
    /// Of a count or limit.
    pub(super) fn of(n: usize) -> N {
        N(u64::try_from(n).unwrap_or(u64::MAX))
    }
}

impl ToSql for N {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for N {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let n = value.as_i64()?;
        u64::try_from(n).map(N).map_err(|_| FromSqlError::OutOfRange(n))
    }
}
