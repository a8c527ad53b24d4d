//! Readers for many at once: a few read-only connections, lent to closures on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::{ArchiveError, Reader};

/// A pool of readers; clones share it.
#[derive(Clone, Debug)]
pub struct Readers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// A pool over the archive at `path` that answers at most `limit` questions at a time; connections open when needed.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(path: &Path, limit: usize) -> Result<Readers, ArchiveError> {
        let first = Reader::open(path)?;
        let inner = Inner {
            path: path.to_owned(),
            idle: Mutex::new(vec![first]),
            permits: Arc::new(Semaphore::new(limit.max(1))),
        };
        Ok(Readers { inner: Arc::new(inner) })
    }

    /// The archive that is read.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Lends a reader to `question` on a blocking thread and waits for the answer. Dropping the future does not stop a
    /// question that has begun.
    ///
    /// # Errors
    /// What `question` returns; and [`ArchiveError`] if a connection cannot be opened, or [`ArchiveError::Closed`] at the
    /// program's end.
    pub async fn ask<T, E>(&self, question: impl FnOnce(&Reader) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ArchiveError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let permit = Arc::clone(&inner.permits).acquire_owned().await.map_err(|_| ArchiveError::Closed)?;
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => Reader::open(&inner.path)?,
            };
            let answer = question(&reader);
            inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            answer
        });
        match answer.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ArchiveError::Closed.into()),
        }
    }
}
