//! Whether the attachments that events name are there, and are what was named.

use std::collections::HashSet;
use std::io::Read;

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::{N, Rows};
use crate::archive::Attachments;
use crate::integrity::finding::{Finding, FindingKind};
use crate::integrity::hex;
use crate::model::Content;

/// Contents read at a time.
const PAGE: usize = 256;

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Files, each once.
    pub(super) files: u64,
    /// Bytes of them.
    pub(super) bytes: u64,
    /// Why contents from some place on could not be asked, if they could not.
    pub(super) stopped: Option<String>,
}

/// Reads each file that an event names, once, and tells those that are missing or changed, with the first event that names
/// them. Content that cannot be read is the business of the audit of the log.
pub(super) fn check(rows: &Rows, kept: &Attachments, tell: &mut dyn FnMut(Finding)) -> Looked {
    let mut looked = Looked::default();
    let mut known: HashSet<String> = HashSet::new();
    let mut after = 0;
    loop {
        let page = match named_after(rows, after) {
            Ok(page) => page,
            Err(error) => {
                looked.stopped = Some(format!("attachments named after seq {after} were not looked for: {error}"));
                return looked;
            }
        };
        let Some((last, _)) = page.last() else { return looked };
        after = *last;
        for (seq, canonical) in page {
            let named = serde_json::from_slice::<Content>(&canonical).ok().and_then(|content| content.message);
            for sha256 in named.into_iter().flat_map(|said| said.attachments).filter_map(|file| file.sha256) {
                if known.contains(&sha256) {
                    continue;
                }
                looked.files += 1;
                if let Err((kind, what)) = judge(kept, &sha256, &mut looked.bytes) {
                    tell(Finding::at(u64::try_from(seq).unwrap_or(0), kind, what));
                }
                known.insert(sha256);
            }
        }
    }
}

/// The next contents that may name a kept file, by seq.
fn named_after(rows: &Rows, after: i64) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    // What people wrote can hold these words too; then the content is read for nothing.
    let mut statement = rows.conn().prepare_cached(
        r#"SELECT seq, canonical FROM content
           WHERE seq > ?1 AND instr(canonical, CAST('"attachments":[' AS BLOB)) > 0
             AND instr(canonical, CAST('"sha256":"' AS BLOB)) > 0
           ORDER BY seq LIMIT ?2"#,
    )?;
    statement.query_map(params![after, N::of(PAGE)], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn judge(kept: &Attachments, sha256: &str, bytes: &mut u64) -> Result<(), (FindingKind, String)> {
    let is_hash = kept.path(sha256).is_some();
    // A text that is no hash comes from a tampered row; it is not repeated.
    let named = if is_hash { sha256 } else { "with a name that is no hash" };
    let missing = |why: String| (FindingKind::MissingAttachment, format!("attachment {named}{why}"));
    let mut file = match kept.open(sha256) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(missing(": its file is not there".into())),
        Err(error) => return Err(missing(format!(": {error}"))),
    };
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(buffer.get(..n).unwrap_or_default());
                *bytes += n as u64;
            }
            Err(error) => return Err(missing(format!(": its file cannot be read ({error})"))),
        }
    }
    match hex(&hash.finalize()) == sha256 {
        true => Ok(()),
        false => Err((FindingKind::ChangedAttachment, format!("attachment {named}: the bytes of its file are others"))),
    }
}
