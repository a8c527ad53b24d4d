//! Keeps the index up with the log, and makes it anew.

use std::os::unix::fs::DirBuilderExt;
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

/// Time for a step to notice that it shall stop.
const LEAVING: Duration = Duration::from_secs(1);

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
    /// Starts to follow. Must be called within a tokio runtime; does not block.
    ///
    /// An index that is missing, damaged, of another version or another log is made anew in the background. While
    /// another process writes it (`reindex`), or the disk is full, it waits and tries again.
    pub fn start(layout: &Layout, log: watch::Receiver<u64>) -> Indexer {
        let interrupt = Arc::new(AtomicBool::new(false));
        let follower = Follower::new(layout, Place::of(layout), Arc::clone(&interrupt), None);
        let index = follower.index.clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(follower, log, stop.clone()));
        Indexer { index, stop, interrupt, task }
    }

    /// The index it writes.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// Ends soon, also in the middle of a rebuild, and gives the index free. A merge is not waited for: an end in its
    /// middle harms nothing.
    pub async fn stop(self) {
        self.interrupt.store(true, Ordering::Relaxed);
        self.stop.cancel();
        let _ = tokio::time::timeout(LEAVING, self.task).await;
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
    lock: Option<Lock>,
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
    fn new(layout: &Layout, place: Place, interrupt: Arc<AtomicBool>, temporary: Option<Temporary>) -> Follower {
        Follower {
            layout: layout.clone(),
            index: Index::over(place, None, true, temporary),
            lock: None,
            writer: None,
            archive: None,
            interrupt,
            anew: None,
            checked: false,
            told: None,
        }
    }

    /// Takes the lock, opens what is there, and finds out whether it is of use.
    fn begin(&mut self) -> Result<(), IndexError> {
        let archive = match self.archive.take() {
            Some(archive) => archive,
            None => Reader::open(&self.layout.database)?,
        };
        let archive = &*self.archive.insert(archive);
        if self.lock.is_some() {
            return Ok(());
        }
        let inner = &self.index.inner;
        let lock = inner.place.lock();
        let name = inner.place.current()?;
        let opened = name.as_ref().map(|name| Generation::open(&inner.place.generation(name), name));
        self.anew = match &opened {
            None => Some("there was none".into()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(generation)) => generation.snapshot().stamp.mismatch(archive)?.map(str::to_owned),
        };
        if let Some(Ok(generation)) = opened {
            // Of another version it can still answer; of another log it would tell nonsense.
            let of_other_version = generation.snapshot().stamp.version != super::schema::VERSION;
            if self.anew.is_none() || of_other_version {
                inner.replace(Some(Arc::new(generation)));
            }
        }
        // Only now: while another process writes, its index answers here too.
        let lock = self.lock.insert(lock?);
        inner.place.sweep(lock, name.as_deref());
        Ok(())
    }

    /// Brings the index to this seq. `Ok(true)` = a merge runs, look in again soon.
    fn step(&mut self, target: u64) -> Result<bool, IndexError> {
        let mut result = self.try_step(target);
        if let Err(error) = &result
            && error.is_damage()
            && self.anew.is_none()
        {
            // Nothing to wait for: it is made anew at once.
            self.anew = Some(error.to_string());
            self.writer = None;
            result = self.try_step(target);
        }
        match &result {
            Ok(_) | Err(IndexError::Interrupted) => {
                self.told = None;
                self.index.inner.tell(State::Following, None);
            }
            Err(error) => {
                // After a failure the engine's writer is not to be trusted; the last commit is.
                self.writer = None;
                self.archive = None;
                // Somebody may have removed the whole directory; with a new lock everything is looked at anew.
                self.lock = None;
                let text = error.to_string();
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
            && self.anew.is_none()
            && let Some(generation) = self.index.inner.current()
        {
            generation.check()?;
        }
        self.begin()?;
        let (Some(archive), Some(lock)) = (&self.archive, &self.lock) else { return Err(IndexError::Interrupted) };
        if let Some(why) = self.anew.clone() {
            rebuild_in(&self.index, lock, archive, &self.interrupt, Some(why), &mut |_, _| ())?;
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
    let mut follower = Follower::new(layout, Place::of(layout), Arc::clone(stop), None);
    match follower.catch_up(progress) {
        Err(IndexError::Io { source, .. }) if cannot_write(&source) => {}
        done => return done.map(|()| follower.index),
    }
    let dir = temporary_directory()?;
    let temporary = Temporary(dir.clone());
    follower = Follower::new(layout, Place::at(dir), Arc::clone(stop), Some(temporary));
    follower.catch_up(progress)?;
    Ok(follower.index)
}

impl Follower {
    /// Does all that is to do, once.
    fn catch_up(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), IndexError> {
        self.begin()?;
        let (Some(archive), Some(lock)) = (&self.archive, &self.lock) else { return Err(IndexError::Interrupted) };
        // Nobody watches over this index as a recorder does, and a hit that a damaged file hides would be missed in silence.
        if self.anew.is_none()
            && let Some(generation) = self.index.inner.current()
            && let Err(error) = generation.check()
        {
            if !error.is_damage() {
                return Err(error);
            }
            self.anew = Some(error.to_string());
        }
        if let Some(why) = self.anew.take() {
            rebuild_in(&self.index, lock, archive, &self.interrupt, Some(why), progress)?;
        }
        let missing = || IndexError::Missing { dir: self.index.inner.place.dir().to_owned() };
        let generation = self.index.inner.current().ok_or_else(missing)?;
        let size = archive.log_size()?;
        if generation.snapshot().stamp.reached < size {
            let mut writer = Writer::open(generation)?;
            catch_up_in(&self.index, &mut writer, archive, size, &self.interrupt, progress)?;
            writer.tidy_all()?;
        }
        self.index.inner.tell(State::Resting, None);
        Ok(())
    }
}

fn cannot_write(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

/// A directory of our own that nobody else can have made, or can read: an index knows which words were said.
fn temporary_directory() -> Result<std::path::PathBuf, IndexError> {
    let base = std::env::temp_dir();
    let pid = std::process::id();
    for turn in 0_u32.. {
        let dir = base.join(format!("greffier-index-{pid}-{turn}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(IndexError::Io { doing: format!("make a temporary index in {}", base.display()), source });
            }
        }
    }
    Err(IndexError::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_temporary_index_is_for_its_maker_alone() {
        let temporary = Temporary(temporary_directory().unwrap());
        assert_eq!(std::fs::metadata(&temporary.0).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
