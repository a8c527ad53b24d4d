//! `checkpoints.txt`: signed notes one after the other, an empty line between, outside the database.

use std::fs::OpenOptions;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{MAX_NOTE_BYTES, Note, NoteError};

/// Appends a note to the file, makes the file if it is missing, and returns when it is on stable storage.
///
/// If writing fails, what was written of the note is taken back; a note that a power cut left half written is set apart
/// by an empty line, so that it spoils no other.
///
/// # Errors
/// What the system says.
pub fn append_to_file(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let before = file.seek(SeekFrom::End(0))?;
    let mut tail = [b'\n'; 2];
    let known = usize::try_from(before.min(2)).unwrap_or(2);
    file.seek(SeekFrom::Start(before - known as u64))?;
    file.read_exact(&mut tail[2 - known..])?;
    let between = match (before, tail) {
        (0, _) | (_, [b'\n', b'\n']) => "",
        (_, [_, b'\n']) => "\n",
        _ => "\n\n",
    };
    let bytes = format!("{between}{}\n", note.trim_end_matches('\n'));
    if let Err(error) = file.write_all(bytes.as_bytes()).and_then(|()| file.sync_all()) {
        // The error to report is the first one.
        let _ = file.set_len(before);
        return Err(error);
    }
    Ok(())
}

/// One entry of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNote {
    /// Line of the file where it begins, from 1.
    pub line: u64,
    /// Its text as it stands in the file.
    pub raw: String,
    /// The note taken apart, or what is wrong with its form.
    pub note: Result<Note, NoteError>,
}

/// Reads a file of notes one by one; damaged entries are entries too.
pub fn read_notes<R: BufRead>(input: R) -> impl Iterator<Item = io::Result<FileNote>> {
    Notes { input, line: 0, held: None, ended: false }
}

struct Notes<R> {
    input: R,
    line: u64,
    /// A paragraph that was read ahead: line and text.
    held: Option<(u64, Vec<u8>)>,
    ended: bool,
}

impl<R: BufRead> Notes<R> {
    /// The next lines up to an empty one; `None` at the end of the file.
    fn paragraph(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut text: Vec<u8> = Vec::new();
        let (mut begins, mut line_start) = (0, true);
        loop {
            let mut piece = Vec::new();
            (&mut self.input).take(MAX_NOTE_BYTES as u64).read_until(b'\n', &mut piece)?;
            let whole = piece.ends_with(b"\n");
            self.line += u64::from(line_start && !piece.is_empty());
            if piece.is_empty() || (line_start && piece == b"\n") {
                if !text.is_empty() {
                    return Ok(Some((begins, text)));
                }
                if piece.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            if text.is_empty() {
                begins = self.line;
            }
            // One byte more than allowed is kept, so that the length tells; the rest is dropped.
            piece.truncate((MAX_NOTE_BYTES + 1).saturating_sub(text.len()));
            text.append(&mut piece);
            line_start = whole;
        }
    }

    fn entry(&mut self) -> io::Result<Option<FileNote>> {
        let next = match self.held.take() {
            Some(held) => Some(held),
            None => self.paragraph()?,
        };
        let Some((line, mut raw)) = next else { return Ok(None) };
        match self.paragraph()? {
            Some((_, signatures)) if signatures.starts_with("— ".as_bytes()) => {
                raw.push(b'\n');
                raw.extend_from_slice(&signatures);
            }
            other => self.held = other,
        }
        let (raw, note) = match String::from_utf8(raw) {
            Ok(raw) => {
                let note = Note::parse(&raw);
                (raw, note)
            }
            Err(e) => (String::from_utf8_lossy(e.as_bytes()).into_owned(), Err(NoteError::Form("not UTF-8"))),
        };
        Ok(Some(FileNote { line, raw, note }))
    }
}

impl<R: BufRead> Iterator for Notes<R> {
    type Item = io::Result<FileNote>;

    fn next(&mut self) -> Option<io::Result<FileNote>> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::checkpoint::{SigningKey, Statement};

    fn note(size: u64) -> String {
        let key = SigningKey::from_seed("o", &[1; 32]).unwrap();
        key.sign(&Statement { origin: "o".into(), size, root: [2; 32], time: None })
    }

    fn read(text: &[u8]) -> Vec<FileNote> {
        read_notes(text).collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn notes_are_appended_and_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoints.txt");
        for size in 1..=3 {
            append_to_file(&path, &note(size)).unwrap();
        }
        let found = read(&std::fs::read(&path).unwrap());
        assert_eq!(found.iter().map(|n| n.line).collect::<Vec<_>>(), [1, 7, 13]);
        for (entry, size) in found.iter().zip(1..) {
            assert_eq!(entry.raw, note(size));
            assert_eq!(entry.note, Note::parse(&note(size)));
        }
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n\n\n"), []);
    }

    #[test]
    fn a_half_written_note_spoils_no_other_wherever_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        for cut in 1..note(1).len() {
            let path = dir.path().join(format!("{cut}.txt"));
            std::fs::write(&path, &note(1).as_bytes()[..cut]).unwrap();
            append_to_file(&path, &note(1)).unwrap();
            append_to_file(&path, &note(2)).unwrap();
            let found = read(&std::fs::read(&path).unwrap());
            let good: Vec<_> = found.iter().filter(|n| n.note.is_ok()).map(|n| n.raw.clone()).collect();
            assert_eq!(good[good.len() - 2..], [note(1), note(2)], "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_an_entry_with_its_line() {
        let text = format!("{}\nhello\n\n{}\n\u{2014} o AAAA\n\n{}", note(1), "a\nb\n", note(2));
        let found = read(text.as_bytes());
        let seen: Vec<_> = found.iter().map(|n| (n.line, n.note.is_ok())).collect();
        assert_eq!(seen, [(1, true), (7, false), (9, false), (14, true)]);
        let found = read(&[b"\xff\n\n".as_slice(), note(1).as_bytes()].concat());
        assert_eq!(found.iter().map(|n| n.note.is_ok()).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn endless_lines_do_not_fill_memory() {
        let mut text = vec![b'x'; 3 * MAX_NOTE_BYTES];
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(note(1).as_bytes());
        let found = read(&text);
        assert!(found.iter().all(|n| n.raw.len() <= MAX_NOTE_BYTES + 200));
        assert!(found.last().unwrap().note.is_ok());
    }
}
