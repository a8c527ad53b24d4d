//! An opened generation: its segments newest first, each a run of the log without holes.
//!
//! Documents are written newest first, and only neighbours are merged. So in every segment the document `d` is the event
//! `newest - d`: no seq has to be looked up, the newest of equally good hits come first by themselves, and "as the log was
//! at size n" is a range of documents.

use std::sync::Arc;

use tantivy::columnar::{Column, StrColumn};
use tantivy::index::SegmentId;
use tantivy::{DocId, Searcher, SegmentReader};

use super::IndexError;
use super::place::Stamp;
use super::schema::{Fields, column};

/// Documents over which times are summed up.
pub(super) const BLOCK: u32 = 1024;

/// One segment.
pub(super) struct Segment {
    pub(super) reader: SegmentReader,
    /// Seq of document 0.
    pub(super) newest: u64,
    pub(super) times: Column<i64>,
    pub(super) numbers: Column<u64>,
    pub(super) kinds: Column<u64>,
    /// Absent in a segment without messages.
    pub(super) messages: Option<Column<u64>>,
    pub(super) senders: Option<StrColumn>,
    pub(super) platforms: Option<StrColumn>,
    /// Earliest and latest time in each block.
    pub(super) blocks: Vec<(i64, i64)>,
    /// Latest time in this block and all after it.
    pub(super) latest_from: Vec<i64>,
    /// Earliest and latest time.
    pub(super) span: (i64, i64),
}

impl Segment {
    fn open(reader: &SegmentReader) -> Result<Segment, IndexError> {
        let doing = |source| IndexError::engine("read columns of the index", source);
        let columns = reader.fast_fields();
        let seqs = columns.u64(column::SEQ).map_err(doing)?;
        let times = columns.i64(column::TIME).map_err(doing)?;
        let (oldest, newest) = (seqs.min_value(), seqs.max_value());
        let whole = !reader.has_deletes()
            && newest.checked_sub(oldest).is_some_and(|more| more + 1 == u64::from(reader.max_doc()));
        if !whole {
            return Err(IndexError::Damaged { why: "a segment is not a run of the log" });
        }
        let mut blocks = Vec::new();
        let mut buffer = Vec::new();
        for start in (0..reader.max_doc()).step_by(BLOCK as usize) {
            let end = (start + BLOCK).min(reader.max_doc());
            buffer.resize((end - start) as usize, 0);
            times.values.get_range(u64::from(start), &mut buffer);
            let earliest = buffer.iter().copied().min().unwrap_or(0);
            let latest = buffer.iter().copied().max().unwrap_or(0);
            blocks.push((earliest, latest));
        }
        let mut latest_from: Vec<i64> = blocks.iter().map(|block| block.1).collect();
        for at in (1..latest_from.len()).rev() {
            latest_from[at - 1] = latest_from[at - 1].max(latest_from[at]);
        }
        let earliest = blocks.iter().map(|block| block.0).min().unwrap_or(0);
        Ok(Segment {
            newest,
            numbers: columns.u64(column::NUMBER).map_err(doing)?,
            kinds: columns.u64(column::KIND).map_err(doing)?,
            messages: columns.column_opt(column::MESSAGE).map_err(doing)?,
            senders: columns.str(column::SENDER).map_err(doing)?,
            platforms: columns.str(column::PLATFORM).map_err(doing)?,
            span: (earliest, latest_from.first().copied().unwrap_or(0)),
            blocks,
            latest_from,
            times,
            reader: reader.clone(),
        })
    }

    /// Seq of the last document.
    pub(super) fn oldest(&self) -> u64 {
        self.newest + 1 - u64::from(self.reader.max_doc())
    }

    /// Seq of a document.
    #[inline]
    pub(super) fn seq(&self, doc: DocId) -> u64 {
        self.newest - u64::from(doc)
    }

    /// First document of a log of this size; `None` = the segment is newer than that.
    pub(super) fn first_within(&self, size: u64) -> Option<DocId> {
        match self.newest.saturating_sub(size) {
            later if later < u64::from(self.reader.max_doc()) => u32::try_from(later).ok(),
            _ => None,
        }
    }
}

/// Everything that a search reads, as of one commit.
pub(super) struct Snapshot {
    pub(super) searcher: Searcher,
    pub(super) fields: Fields,
    /// Newest first.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) stamp: Stamp,
}

impl Snapshot {
    /// Takes over what it can from the snapshot before.
    ///
    /// # Errors
    /// The files are damaged.
    pub(super) fn new(
        searcher: Searcher,
        fields: Fields,
        stamp: Stamp,
        before: Option<&Snapshot>,
    ) -> Result<Snapshot, IndexError> {
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        for reader in searcher.segment_readers() {
            let known = before.and_then(|before| before.segment(reader.segment_id()));
            segments.push(match known {
                Some(segment) => segment,
                None => Arc::new(Segment::open(reader)?),
            });
        }
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.newest));
        let mut expected = stamp.reached;
        for segment in &segments {
            if segment.newest != expected {
                return Err(IndexError::Damaged { why: "its segments do not follow each other" });
            }
            expected = segment.oldest() - 1;
        }
        if expected != 0 {
            return Err(IndexError::Damaged { why: "its first events are missing" });
        }
        Ok(Snapshot { searcher, fields, segments, stamp })
    }

    fn segment(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.segments.iter().find(|segment| segment.reader.segment_id() == id).cloned()
    }
}
