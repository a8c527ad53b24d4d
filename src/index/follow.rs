//! Keeps the index up with the log, and makes it anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::generation::{Generation, Writer};
use super::open::Temporary;
use super::place::{Lock, Place};
use super::{Index, IndexError, State};
use crate::archive::{Layout, Reader};

/// How long events gather before they become searchable together.
const GATHER: Duration = Duration::from_millis(150);

/// How often it is looked whether a merge has ended.
const MERGING: Duration = Duration::from_millis(250);

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Events from which on several threads take them in.
const MUCH: u64 = 50_000;

/// Follows the log of an archive that this process writes. A reader like others: whatever happens here, recording goes on.
pub struct Indexer {
    index: Index,
    stop: CancellationToken,
    interrupt: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Indexer {
    /// Starts to follow. Must be called within a tokio runtime; blocks while the index opens.
    ///
    /// An index that is missing, damaged, of another version or another log is made anew in the background.
    ///
    /// # Errors
    /// [`IndexError::Busy`] if another process writes the index; what the archive and the file system say.
    pub fn start(layout: &Layout, log: watch::Receiver<u64>) -> Result<Indexer, IndexError> {
        let interrupt = Arc::new(AtomicBool::new(false));
        let follower = Follower::open(layout, Arc::clone(&interrupt))?;
        let index = follower.index.clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(follower, log, stop.clone()));
        Ok(Indexer { index, stop, interrupt, task })
    }

    /// The index it writes.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// Ends soon, also in the middle of a rebuild, and gives the index free.
    pub async fn stop(self) {
        self.interrupt.store(true, Ordering::Relaxed);
        self.stop.cancel();
        // It only ends early if the runtime does.
        let _ = self.task.await;
    }
}

async fn follow(mut follower: Follower, mut log: watch::Receiver<u64>, stop: CancellationToken) {
    let mut pause = PAUSES.0;
    loop {
        let target = *log.borrow_and_update();
        let step = tokio::task::spawn_blocking(move || {
            let result = follower.step(target);
            (follower, result)
        });
        // A step does not panic, and is not aborted: only the runtime's end leads out here.
        let Ok((back, result)) = step.await else { return };
        follower = back;
        let wait = async {
            match result {
                Ok(merging) => {
                    pause = PAUSES.0;
                    let tick = tokio::time::sleep(if merging { MERGING } else { Duration::MAX });
                    tokio::select! {
                        changed = log.changed() => match changed {
                            Ok(()) => tokio::time::sleep(GATHER).await,
                            // The archive is closed: nothing more will come.
                            Err(_) => return false,
                        },
                        () = tick => {}
                    }
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            true
        };
        tokio::select! {
            more = wait => if !more { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Everything that writing takes; moves between threads with each step.
struct Follower {
    layout: Layout,
    index: Index,
    lock: Lock,
    writer: Option<Writer>,
    archive: Option<Reader>,
    interrupt: Arc<AtomicBool>,
    /// Why the index must be made anew.
    anew: Option<String>,
    /// The files have been compared with their checksums since the start.
    checked: bool,
    /// The failure told last, so that the same is not told again and again.
    told: Option<String>,
}

impl Follower {
    fn open(layout: &Layout, interrupt: Arc<AtomicBool>) -> Result<Follower, IndexError> {
        Follower::at(layout, Place::of(layout), interrupt, None)
    }

    fn at(
        layout: &Layout,
        place: Place,
        interrupt: Arc<AtomicBool>,
        temporary: Option<Temporary>,
    ) -> Result<Follower, IndexError> {
        let archive = Reader::open(&layout.database)?;
        let lock = place.lock()?;
        let name = place.current()?;
        place.sweep(&lock, name.as_deref());
        let mut anew = None;
        let opened = match &name {
            None => None,
            Some(name) => match Generation::open(&place.generation(name), name) {
                Ok(generation) => {
                    let stamp = generation.snapshot().stamp.clone();
                    anew = stamp.mismatch(&archive)?.map(str::to_owned);
                    // Of another version it can still answer; of another log it would tell nonsense.
                    let answers = anew.is_none() || stamp.version != super::schema::VERSION;
                    answers.then(|| Arc::new(generation))
                }
                Err(error) => {
                    anew = Some(error.to_string());
                    None
                }
            },
        };
        if name.is_none() {
            anew = Some("there was none".into());
        }
        let index = Index::over(place, opened, true, temporary);
        Ok(Follower {
            layout: layout.clone(),
            index,
            lock,
            writer: None,
            archive: Some(archive),
            interrupt,
            anew,
            checked: false,
            told: None,
        })
    }

    /// Brings the index to this seq. `Ok(true)` = a merge runs, look in again soon.
    fn step(&mut self, target: u64) -> Result<bool, IndexError> {
        let result = self.try_step(target);
        match &result {
            Ok(_) | Err(IndexError::Interrupted) => {
                self.told = None;
                self.index.inner.tell(State::Following, None);
            }
            Err(error) => {
                // After a failure the engine's writer is not to be trusted; the last commit is.
                self.writer = None;
                self.archive = None;
                let text = error.to_string();
                if error.is_damage() {
                    self.anew = Some(text.clone());
                }
                self.index.inner.tell(State::Waiting, Some(text.clone()));
                if self.told.as_ref() != Some(&text) {
                    tracing::warn!("search index: {text}; recording goes on, and the index tries again");
                    self.told = Some(text);
                }
            }
        }
        result
    }

    fn try_step(&mut self, target: u64) -> Result<bool, IndexError> {
        if self.index.inner.suspect.swap(false, Ordering::Relaxed)
            && let Some(generation) = self.index.inner.current()
        {
            generation.check()?;
        }
        let archive = match self.archive.take() {
            Some(archive) => archive,
            None => Reader::open(&self.layout.database)?,
        };
        let archive = &*self.archive.insert(archive);
        if let Some(why) = self.anew.clone() {
            rebuild_in(&self.index, &self.lock, archive, &self.interrupt, Some(why), &mut |_, _| ())?;
            self.anew = None;
            self.writer = None;
            self.checked = true;
        }
        let generation = self.index.inner.current();
        let generation =
            generation.ok_or_else(|| IndexError::Missing { dir: self.index.inner.place.dir().to_owned() })?;
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::open(generation)?,
        };
        let writer = self.writer.insert(writer);
        catch_up_in(&self.index, writer, archive, target, &self.interrupt, &mut |_, _| ())?;
        writer.tidy()?;
        if !self.checked {
            writer.generation().check()?;
            self.checked = true;
        }
        Ok(writer.is_merging())
    }
}

/// Takes in what is missing up to `target`.
fn catch_up_in(
    index: &Index,
    writer: &mut Writer,
    archive: &Reader,
    target: u64,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), IndexError> {
    let reached = writer.generation().snapshot().stamp.reached;
    let missing = target.saturating_sub(reached);
    let whole = match missing {
        0 => true,
        1..MUCH => writer.append(archive, target, interrupt)?,
        _ => {
            let mut tell = |done| {
                index.inner.tell(State::CatchingUp { done, of: missing }, None);
                progress(done, missing);
            };
            writer.append_much(archive, target, interrupt, &mut tell)?
        }
    };
    if whole { Ok(()) } else { Err(IndexError::Interrupted) }
}

/// Makes a new generation, while the old one answers, and puts it in the old one's place.
fn rebuild_in(
    index: &Index,
    lock: &Lock,
    archive: &Reader,
    interrupt: &AtomicBool,
    why: Option<String>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), IndexError> {
    let place = &index.inner.place;
    let size = archive.log_size()?;
    index.inner.tell(State::Rebuilding { done: 0, of: size }, why.clone());
    if size > 0 {
        tracing::info!("search index: made anew ({})", why.as_deref().unwrap_or("as asked"));
    }
    let old = place.current()?;
    let name = place.fresh(lock)?;
    let path = place.generation(&name);
    let mut build = || -> Result<(), IndexError> {
        Generation::create(&path, archive)?;
        let generation = Arc::new(Generation::open(&path, &name)?);
        let mut writer = Writer::open(Arc::clone(&generation))?;
        let mut tell = |done| {
            index.inner.tell(State::Rebuilding { done, of: size }, why.clone());
            progress(done, size);
        };
        if size > 0 && !writer.append_much(archive, size, interrupt, &mut tell)? {
            return Err(IndexError::Interrupted);
        }
        writer.tidy_all()?;
        place.publish(lock, &name)?;
        index.inner.replace(Some(generation));
        Ok(())
    };
    let built = build();
    // The one that is not needed goes; who has it open may read it to the end.
    let keep = if built.is_ok() { Some(name) } else { old };
    place.sweep(lock, keep.as_deref());
    built
}

/// Makes the index of an archive anew. `progress` is called with events done and in all. Returns the events in it.
///
/// # Errors
/// [`IndexError::Busy`] if another process writes it; [`IndexError::Interrupted`] if `stop` became true: then the old
/// index is as it was.
pub fn rebuild(layout: &Layout, stop: &AtomicBool, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, IndexError> {
    let place = Place::of(layout);
    let archive = Reader::open(&layout.database)?;
    let lock = place.lock()?;
    let index = Index::over(place, None, true, None);
    rebuild_in(&index, &lock, &archive, stop, None, progress)?;
    Ok(index.reached().0)
}

/// Opens the index of an archive for searching and brings it up to the log, or makes it if it is missing or of no use.
/// Where the archive's directory cannot be written, a temporary index is made.
///
/// # Errors
/// [`IndexError::Busy`] if another process writes it (then [`Index::open`] reads what it has);
/// [`IndexError::Interrupted`] if `stop` became true.
pub fn catch_up(
    layout: &Layout,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Index, IndexError> {
    let follower = match Follower::open(layout, Arc::clone(stop)) {
        Err(IndexError::Io { source, .. }) if cannot_write(&source) => {
            let dir = temporary_directory()?;
            let temporary = Temporary(dir.clone());
            Follower::at(layout, Place::at(dir), Arc::clone(stop), Some(temporary))?
        }
        other => other?,
    };
    follower.catch_up(progress)
}

impl Follower {
    /// Does all that is to do, once.
    fn catch_up(mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<Index, IndexError> {
        let Some(archive) = self.archive.take() else { return Err(IndexError::Interrupted) };
        if let Some(why) = self.anew.take() {
            rebuild_in(&self.index, &self.lock, &archive, &self.interrupt, Some(why), progress)?;
        }
        let missing = || IndexError::Missing { dir: self.index.inner.place.dir().to_owned() };
        let generation = self.index.inner.current().ok_or_else(missing)?;
        let size = archive.log_size()?;
        if generation.snapshot().stamp.reached < size {
            let mut writer = Writer::open(generation)?;
            catch_up_in(&self.index, &mut writer, &archive, size, &self.interrupt, progress)?;
            writer.tidy_all()?;
        }
        self.index.inner.tell(State::Resting, None);
        Ok(self.index)
    }
}

fn cannot_write(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

/// A directory of our own that nobody else can have made.
fn temporary_directory() -> Result<std::path::PathBuf, IndexError> {
    let base = std::env::temp_dir();
    let pid = std::process::id();
    for turn in 0_u32.. {
        let dir = base.join(format!("greffier-index-{pid}-{turn}"));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(IndexError::Io { doing: format!("make a temporary index in {}", base.display()), source });
            }
        }
    }
    Err(IndexError::Interrupted)
}
