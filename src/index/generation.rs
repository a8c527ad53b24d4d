//! One generation of the index: opened for reading, and written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};

use tantivy::directory::MmapDirectory;
use tantivy::index::{IndexSettings, SegmentId, SegmentMeta};
use tantivy::indexer::{AddOperation, IndexWriterOptions, NoMergePolicy, SegmentWriter};
use tantivy::store::Compressor;
use tantivy::{IndexReader, IndexWriter, ReloadPolicy};

use super::IndexError;
use super::people::People;
use super::place::Stamp;
use super::schema::{EventDocument, Fields};
use super::segments::Snapshot;
use super::tokenizer::{self, Analysis};
use crate::archive::Reader;
use crate::model::Seq;

/// Events of one segment at most while an index is built.
const CHUNK: u64 = 262_144;

/// Memory of a segment in the making, in bytes; beyond it the segment is written and the next begun.
const BUDGET: usize = 60_000_000;

/// Rows after which memory is looked at.
const LOOK: u64 = 256;

/// Threads that make segments while an index is built.
const BUILDERS: usize = 2;

/// Neighbours of one size that become one.
const FAN_IN: usize = 8;

/// Sizes up to which segments count as of one size, in documents.
const TIERS: [u32; 5] = [1_000, 8_000, 64_000, 512_000, 4_000_000];

/// Documents of a merged segment at most: a merge of that many takes some seconds, and nothing shorter is worth more.
const LARGEST: u32 = 4_000_000;

/// An opened generation.
pub(super) struct Generation {
    pub(super) name: String,
    index: tantivy::Index,
    reader: IndexReader,
    fields: Fields,
    snapshot: RwLock<Arc<Snapshot>>,
    people: Mutex<People>,
}

impl Generation {
    /// Makes an empty one in an empty directory.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn create(path: &Path, archive: &Reader) -> Result<(), IndexError> {
        let doing = |source| IndexError::engine("make the index", source);
        let (schema, _) = Fields::schema();
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let directory = MmapDirectory::open(path).map_err(|source| doing(source.into()))?;
        let index = tantivy::Index::create(directory, schema, settings).map_err(doing)?;
        let mut writer = writer_of(&index)?;
        let mut commit = writer.prepare_commit().map_err(doing)?;
        commit.set_payload(&payload(&Stamp::of(archive, 0)?));
        commit.commit().map_err(doing)?;
        Ok(())
    }

    /// Opens the one in this directory.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] or [`IndexError::Engine`] if it cannot be read.
    pub(super) fn open(path: &Path, name: &str) -> Result<Generation, IndexError> {
        guarded("open the index", || {
            let doing = |source| IndexError::engine("open the index", source);
            let index = tantivy::Index::open_in_dir(path).map_err(doing)?;
            let (schema, fields) = Fields::schema();
            if index.schema() != schema {
                return Err(IndexError::Damaged { why: "its fields are those of another version" });
            }
            index.tokenizers().register(tokenizer::NAME, Analysis::default());
            let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(doing)?;
            let first = Arc::new(load(&index, &reader, fields, None)?);
            Ok(Generation {
                name: name.to_owned(),
                index,
                reader,
                fields,
                snapshot: RwLock::new(first),
                people: Mutex::default(),
            })
        })
    }

    /// What can be searched now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up what has been committed since.
    ///
    /// # Errors
    /// The files are damaged or gone; then what was opened before goes on answering.
    pub(super) fn refresh(&self) -> Result<(), IndexError> {
        guarded("read the index", || {
            let before = self.snapshot();
            // Another process may commit between the reading of the one and the other.
            let mut tries = 0;
            let after = loop {
                self.reader.reload().map_err(|source| IndexError::engine("read the index", source))?;
                match load(&self.index, &self.reader, self.fields, Some(&before)) {
                    Err(IndexError::Damaged { .. }) if tries < 5 => tries += 1,
                    other => break other?,
                }
            };
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
            Ok(())
        })
    }

    /// Everybody named in the index.
    ///
    /// # Errors
    /// The files are damaged.
    pub(super) fn people(&self, snapshot: &Snapshot) -> Result<MutexGuard<'_, People>, IndexError> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.learn(snapshot)?;
        Ok(people)
    }

    /// Reads every file and compares it with its checksum.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if one differs.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        guarded("check the index", || {
            let bad = self.index.validate_checksum().map_err(|source| IndexError::engine("check the index", source))?;
            match bad.is_empty() {
                true => Ok(()),
                false => Err(IndexError::Damaged { why: "a file is not what was written" }),
            }
        })
    }
}

fn load(
    index: &tantivy::Index,
    reader: &IndexReader,
    fields: Fields,
    before: Option<&Snapshot>,
) -> Result<Snapshot, IndexError> {
    let metas = index.load_metas().map_err(|source| IndexError::engine("read the index", source))?;
    let stamp: Option<Stamp> = metas.payload.and_then(|text| serde_json::from_str(&text).ok());
    let stamp = stamp.ok_or(IndexError::Damaged { why: "it does not say how far it reaches" })?;
    Snapshot::new(reader.searcher(), fields, stamp, before)
}

/// The engine may panic over files that are not what it wrote.
pub(super) fn guarded<T>(doing: &'static str, work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(IndexError::Broken { doing }))
}

fn payload(stamp: &Stamp) -> String {
    // Strings and numbers cannot fail to serialise.
    serde_json::to_string(stamp).unwrap_or_default()
}

fn writer_of(index: &tantivy::Index) -> Result<IndexWriter<EventDocument>, IndexError> {
    let options = IndexWriterOptions::builder().num_worker_threads(1).num_merge_threads(1).build();
    let writer = index.writer_with_options(options).map_err(|source| IndexError::engine("write the index", source))?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    Ok(writer)
}

/// Writes one generation; there is only ever one for it.
pub(super) struct Writer {
    generation: Arc<Generation>,
    writer: IndexWriter<EventDocument>,
    merging: Option<mpsc::Receiver<()>>,
}

impl Writer {
    /// Opens a generation for writing.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn open(generation: Arc<Generation>) -> Result<Writer, IndexError> {
        let writer = guarded("write the index", || writer_of(&generation.index))?;
        Ok(Writer { generation, writer, merging: None })
    }

    /// The generation it writes.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Indexes the archive's events up to this seq and makes them searchable. Returns whether it came to its end: `stop`
    /// interrupts it, and then nothing has changed.
    ///
    /// # Errors
    /// What the archive and the file system say; then the writer must not be used any more.
    pub(super) fn append(&mut self, archive: &Reader, to: u64, stop: &AtomicBool) -> Result<bool, IndexError> {
        let from = self.generation.snapshot().stamp.reached + 1;
        guarded("write the index", || {
            let job = Job { generation: &self.generation, archive, stop, done: &AtomicU64::new(0) };
            let Some(metas) = job.segments(from, to)? else { return Ok(false) };
            self.add(metas, &Stamp::of(archive, to)?)?;
            Ok(true)
        })
    }

    /// Indexes the archive's events up to this seq with several threads, and calls `progress` with the number of events
    /// that are done. Returns whether it came to its end.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub(super) fn append_much(
        &mut self,
        archive: &Reader,
        to: u64,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool, IndexError> {
        let from = self.generation.snapshot().stamp.reached + 1;
        let next = AtomicU64::new(from);
        let done = AtomicU64::new(0);
        let (send, finished) = mpsc::channel();
        let (generation, path) = (&self.generation, archive.path());
        let built = std::thread::scope(|scope| -> Result<Option<Vec<SegmentMeta>>, IndexError> {
            for _ in 0..BUILDERS {
                let (send, next, done) = (send.clone(), &next, &done);
                scope.spawn(move || {
                    let work = || -> Result<Option<Vec<SegmentMeta>>, IndexError> {
                        let archive = Reader::open(path)?;
                        let job = Job { generation, archive: &archive, stop, done };
                        let mut metas = Vec::new();
                        loop {
                            let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                            if first > to {
                                return Ok(Some(metas));
                            }
                            let Some(more) = job.segments(first, (first + CHUNK - 1).min(to))? else { return Ok(None) };
                            metas.extend(more);
                        }
                    };
                    let result = guarded("write the index", work);
                    if result.is_err() {
                        // The others need not go on.
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                    let _ = send.send(result);
                });
            }
            let mut all = Some(Vec::new());
            let mut open = BUILDERS;
            while open > 0 {
                match finished.recv_timeout(std::time::Duration::from_millis(100)) {
                    Ok(result) => {
                        open -= 1;
                        all = match (all, result?) {
                            (Some(all), Some(metas)) => Some(all.into_iter().chain(metas).collect()),
                            _ => None,
                        };
                    }
                    Err(_) => progress(done.load(Ordering::Relaxed)),
                }
            }
            Ok(all)
        })?;
        let Some(metas) = built else { return Ok(false) };
        guarded("write the index", || self.add(metas, &Stamp::of(archive, to)?))?;
        progress(done.load(Ordering::Relaxed));
        Ok(true)
    }

    fn add(&mut self, metas: Vec<SegmentMeta>, stamp: &Stamp) -> Result<(), IndexError> {
        let doing = |source| IndexError::engine("write the index", source);
        for meta in metas {
            self.writer.add_segment(meta).map_err(doing)?;
        }
        let mut commit = self.writer.prepare_commit().map_err(doing)?;
        commit.set_payload(&payload(stamp));
        commit.commit().map_err(doing)?;
        self.generation.refresh()
    }

    /// Makes one segment of neighbours that have become many, in the background.
    ///
    /// # Errors
    /// What the file system says; then the writer must not be used any more.
    pub(super) fn tidy(&mut self) -> Result<(), IndexError> {
        match self.merging.as_ref().map(mpsc::Receiver::try_recv) {
            Some(Err(mpsc::TryRecvError::Empty)) => return Ok(()),
            Some(_) => {
                self.merging = None;
                self.generation.refresh()?;
            }
            None => {}
        }
        if let Some(ids) = due(&sizes(&self.generation.snapshot())) {
            let merged = self.writer.merge(&ids);
            let (send, done) = mpsc::channel();
            // The engine merges on a thread of its own; this one only waits for it.
            let waits = std::thread::Builder::new().name("index-merge".into()).spawn(move || {
                let _ = merged.wait();
                let _ = send.send(());
            });
            self.merging = waits.is_ok().then_some(done);
        }
        Ok(())
    }

    /// Merges until nothing is due.
    ///
    /// # Errors
    /// As [`Writer::tidy`].
    pub(super) fn tidy_all(&mut self) -> Result<(), IndexError> {
        while let Some(ids) = due(&sizes(&self.generation.snapshot())) {
            guarded("write the index", || {
                self.writer.merge(&ids).wait().map_err(|source| IndexError::engine("write the index", source))
            })?;
            self.generation.refresh()?;
        }
        Ok(())
    }

    /// Whether a merge runs.
    pub(super) fn is_merging(&self) -> bool {
        self.merging.is_some()
    }
}

fn sizes(snapshot: &Snapshot) -> Vec<(SegmentId, u32)> {
    snapshot.segments.iter().map(|segment| (segment.reader.segment_id(), segment.reader.max_doc())).collect()
}

/// Neighbours that should become one segment, newest first.
fn due(segments: &[(SegmentId, u32)]) -> Option<Vec<SegmentId>> {
    for limit in TIERS {
        for run in segments.split(|(_, docs)| *docs > limit) {
            // The oldest of a run first: they have stood longest.
            let mut sum = 0_u32;
            let fits = |(_, docs): &&(SegmentId, u32)| {
                sum = sum.saturating_add(*docs);
                sum <= LARGEST
            };
            let many = run.iter().rev().take_while(fits).count();
            let group = &run[run.len() - many..];
            let largest = group.iter().map(|(_, docs)| *docs).max().unwrap_or(0);
            let others = group.iter().map(|(_, docs)| *docs).fold(0_u32, u32::saturating_add) - largest;
            // A large one is not written again for the sake of a few small ones.
            if many >= FAN_IN && others >= largest {
                return Some(group.iter().map(|(id, _)| *id).collect());
            }
        }
    }
    None
}

/// Makes segments of a span of the log.
struct Job<'a> {
    generation: &'a Generation,
    archive: &'a Reader,
    stop: &'a AtomicBool,
    done: &'a AtomicU64,
}

impl Job<'_> {
    /// Segments of the events `from ≤ seq ≤ to`; `None` = interrupted.
    fn segments(&self, from: u64, to: u64) -> Result<Option<Vec<SegmentMeta>>, IndexError> {
        let mut metas = Vec::new();
        let mut newest = to;
        while newest >= from && newest > 0 {
            let Some((meta, oldest)) = self.segment(from, newest)? else { return Ok(None) };
            metas.push(meta);
            newest = oldest - 1;
        }
        Ok(Some(metas))
    }

    /// One segment, from `newest` back to `from` or until memory is used up, and its oldest seq.
    fn segment(&self, from: u64, newest: u64) -> Result<Option<(SegmentMeta, u64)>, IndexError> {
        let doing = |source| IndexError::engine("write the index", source);
        let segment = self.generation.index.new_segment();
        let mut writer = SegmentWriter::for_segment(BUDGET, segment.clone()).map_err(doing)?;
        let fields = &self.generation.fields;
        // The next seq to be written.
        let mut next = newest;
        // Down to here it has been told what is done.
        let mut told = newest;
        let mut failed = None;
        let mut add = |writer: &mut SegmentWriter, document| {
            writer.add_document(AddOperation { opstamp: 0, document }).map_err(|error| failed = Some(error)).is_ok()
        };
        let mut unreadable = 0_u64;
        let mut interrupted = false;
        self.archive.rows_to_index(Seq(from), Seq(newest), |row| {
            // A row that is missing (a damaged archive) must not shift the numbers of the others.
            while next > row.seq {
                if !add(&mut writer, EventDocument::missing(fields, next)) {
                    return false;
                }
                next -= 1;
            }
            let document = EventDocument::of(fields, row).unwrap_or_else(|_| {
                unreadable += 1;
                EventDocument::missing(fields, row.seq)
            });
            if !add(&mut writer, document) {
                return false;
            }
            next = row.seq - 1;
            if next.is_multiple_of(LOOK) {
                self.done.fetch_add(told - next, Ordering::Relaxed);
                told = next;
                interrupted = self.stop.load(Ordering::Relaxed);
                return !interrupted && writer.mem_usage() < BUDGET;
            }
            true
        })?;
        if let Some(error) = failed {
            return Err(doing(error));
        }
        if interrupted {
            return Ok(None);
        }
        if unreadable > 0 {
            tracing::warn!("{unreadable} events cannot be read and are not searchable; `greffier verify` names them");
        }
        let docs = writer.max_doc();
        if docs == 0 {
            // Nothing at all where events should be.
            writer
                .add_document(AddOperation { opstamp: 0, document: EventDocument::missing(fields, newest) })
                .map_err(doing)?;
            next = newest - 1;
        }
        let docs = docs.max(1);
        self.done.fetch_add(told - next, Ordering::Relaxed);
        writer.finalize().map_err(doing)?;
        let meta = segment.with_max_doc(docs).meta().clone();
        meta.untrack_temp_docstore();
        Ok(Some((meta, next + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u32]) -> Vec<(SegmentId, u32)> {
        sizes.iter().map(|size| (SegmentId::generate_random(), *size)).collect()
    }

    #[test]
    fn only_neighbours_of_a_size_are_merged() {
        let few = segments(&[1, 1, 1, 1, 1, 1, 1, 900_000]);
        assert_eq!(due(&few), None);
        let many = segments(&[1, 2, 3, 4, 5, 6, 7, 8, 900_000, 131_072]);
        let expected: Vec<SegmentId> = many[..8].iter().map(|(id, _)| *id).collect();
        assert_eq!(due(&many), Some(expected));
        let apart = segments(&[1, 1, 1, 1, 9_000, 1, 1, 1, 1]);
        assert_eq!(due(&apart), None, "the large one between them would be written again");
        let equal = segments(&[900, 900, 900, 900, 9_000, 900, 900, 9_000, 900]);
        assert_eq!(due(&equal).map(|ids| ids.len()), Some(9), "at the tier of 64,000 they are neighbours");
        let large = segments(&[131_072; 8]);
        assert_eq!(due(&large).map(|ids| ids.len()), Some(8));
        let larger = segments(&[262_144; 40]);
        let oldest: Vec<SegmentId> = larger[25..].iter().map(|(id, _)| *id).collect();
        assert_eq!(due(&larger), Some(oldest), "no more than four million together");
        assert_eq!(due(&segments(&[3_900_000; 30])), None);
    }
}
