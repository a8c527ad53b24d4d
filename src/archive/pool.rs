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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::archive::Archive;
    use crate::clock::ManualClock;

    fn pool(dir: &Path, limit: usize) -> Readers {
        let archive = Archive::open(dir, Arc::new(ManualClock::default())).unwrap();
        let readers = Readers::open(&archive.layout().database, limit).unwrap();
        drop(archive);
        readers
    }

    fn idle(readers: &Readers) -> usize {
        readers.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    #[tokio::test]
    async fn so_many_questions_at_a_time_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let readers = pool(dir.path(), 2);
        let (begun, begins) = mpsc::channel();
        let mut gates = Vec::new();
        let mut tasks = Vec::new();
        for n in 0..5 {
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let (readers, begun) = (readers.clone(), begun.clone());
            tasks.push(tokio::spawn(async move {
                let question = move |reader: &Reader| {
                    begun.send(n).unwrap();
                    gate.recv().unwrap();
                    reader.log_size()
                };
                readers.ask(question).await
            }));
        }
        let mut begins = tokio::task::spawn_blocking(move || {
            let first = [begins.recv().unwrap(), begins.recv().unwrap()];
            (first, begins)
        })
        .await
        .unwrap();
        // Two are inside, so nobody else gets in until one of them goes.
        assert_eq!(readers.inner.permits.available_permits(), 0);
        let mut inside = begins.0.to_vec();
        for left in (0..5).rev() {
            assert!(begins.1.try_recv().is_err());
            gates[inside.remove(0)].send(()).unwrap();
            if left >= 2 {
                let (next, back) =
                    tokio::task::spawn_blocking(move || (begins.1.recv().unwrap(), begins.1)).await.unwrap();
                begins = (begins.0, back);
                inside.push(next);
            }
            if inside.is_empty() {
                break;
            }
        }
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 0);
        }
        assert!((1..=2).contains(&idle(&readers)));
    }

    #[tokio::test]
    async fn an_error_gives_the_reader_back() {
        let dir = tempfile::tempdir().unwrap();
        let readers = pool(dir.path(), 1);
        for _ in 0..3 {
            let refused = readers.ask(|_| Err::<(), _>(ArchiveError::Refused { problem: "no" })).await;
            assert!(matches!(refused, Err(ArchiveError::Refused { .. })));
            assert_eq!(idle(&readers), 1);
        }
        assert_eq!(readers.ask(Reader::log_size).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_handed_on_and_the_pool_lives() {
        let dir = tempfile::tempdir().unwrap();
        let readers = pool(dir.path(), 1);
        for _ in 0..3 {
            let shared = readers.clone();
            let asked = tokio::spawn(async move {
                shared.ask(|_: &Reader| -> Result<(), ArchiveError> { panic!("a question of the test") }).await
            });
            assert!(asked.await.unwrap_err().is_panic());
            // The place is free again; the reader went with the question, and another is opened.
            assert_eq!(readers.ask(Reader::log_size).await.unwrap(), 0);
            assert_eq!(idle(&readers), 1);
        }
    }

    #[tokio::test]
    async fn a_pool_over_nothing_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Readers::open(dir.path(), 1), Err(ArchiveError::Missing { .. })));
    }
}
