//! Signed statements of the log's size and root: checkpoints as C2SP signed notes.
//!
//! ```text
//! greffier/01JD8Z…
//! 4711
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! time 2026-11-21T09:30:00.123Z
//!
//! — greffier/01JD8Z… Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```
//!
//! The signature covers everything before the empty line. Checkpoints lie in the archive and, one after the other, in
//! `checkpoints.txt` outside the database; copies of that file elsewhere are what makes a rewritten archive visible.
//! Sources: C2SP `signed-note` and `tlog-checkpoint`; RFC 8032 (Ed25519).

pub mod file;
pub mod key;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::merkle::Hash;
use crate::model::Timestamp;

pub use file::{FileNote, append_to_file, read_notes};
pub use key::{KeyError, SigningKey, VerifyingKey};

/// A new checkpoint is due this long after the last one while the log grows; the contract asks for a minute at most.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// Largest note that is read, in bytes; ours are below 400.
pub const MAX_NOTE_BYTES: usize = 64 << 10;

/// Why a text is not a checkpoint that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not have the form of a signed note with a checkpoint in it.
    #[error("not a checkpoint: {0}")]
    Form(&'static str),
    /// None of its signatures is by a key that is trusted (name or key id differ).
    #[error("not signed by a known key")]
    OtherKey,
    /// It has a signature in a known key's name that does not fit the text.
    #[error("the signature does not fit the text")]
    Signature,
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Name of the log.
    pub origin: String,
    /// Number of events in the log.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
    /// When it was signed, by our clock; `None` if the note does not say.
    pub time: Option<Timestamp>,
}

impl Statement {
    /// The signed text: origin, size, root, time, each line ended by a line feed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root));
        if let Some(time) = self.time {
            text.push_str("time ");
            text.push_str(&time.rfc3339());
            text.push('\n');
        }
        text
    }

    /// Reads the text of a note. Extension lines that are not ours are allowed and ignored.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(text: &str) -> Result<Statement, NoteError> {
        let body = text.strip_suffix('\n').ok_or(NoteError::Form("the text does not end with a line feed"))?;
        let mut lines = body.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let origin = line().ok_or(NoteError::Form("no origin"))?;
        let size = line().ok_or(NoteError::Form("no size"))?;
        let root = line().ok_or(NoteError::Form("no root hash"))?;
        let number: u64 = size.parse().map_err(|_| NoteError::Form("the size is not a number"))?;
        if number.to_string() != size {
            return Err(NoteError::Form("the size is not in plain decimal digits"));
        }
        let root = BASE64.decode(root).ok().and_then(|bytes| Hash::try_from(bytes).ok());
        let root = root.ok_or(NoteError::Form("the root is not the base64 of 32 bytes"))?;
        let mut time = None;
        for extension in lines {
            if extension.is_empty() {
                return Err(NoteError::Form("empty line in the text"));
            }
            if let Some(text) = extension.strip_prefix("time ") {
                time = Timestamp::parse_rfc3339(text);
            }
        }
        Ok(Statement { origin: origin.to_owned(), size: number, root, time })
    }
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// First four bytes of the hash that stands for the key.
    pub key_id: [u8; 4],
    /// What the key made of the text; 64 bytes for Ed25519.
    pub bytes: Vec<u8>,
}

/// A signed note: a text and who signed it. Nothing in it counts before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its last line feed.
    pub text: String,
    /// The signatures, in order.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(note: &str) -> Result<Note, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Form("longer than 64 kB"));
        }
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Form("control character in it"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Form("no empty line before the signatures"))?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Form("the last line is cut off"))?;
        let signatures = lines.split('\n').map(signature_line).collect::<Result<Vec<_>, _>>()?;
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// What the note says, if one of `keys` signed it. Signatures of unknown keys are ignored, as the specification asks.
    ///
    /// # Errors
    /// [`NoteError::OtherKey`] if it has no signature by any of the keys, [`NoteError::Signature`] if one does not fit,
    /// [`NoteError::Form`] if the signed text is no checkpoint.
    pub fn verify(&self, keys: &[VerifyingKey]) -> Result<Statement, NoteError> {
        let mut signed = false;
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| signature.name == key.name() && signature.key_id == key.id()) {
                if !key.verifies(self.text.as_bytes(), &signature.bytes) {
                    return Err(NoteError::Signature);
                }
                signed = true;
            }
        }
        if signed { Statement::parse(&self.text) } else { Err(NoteError::OtherKey) }
    }
}

fn signature_line(line: &str) -> Result<Signature, NoteError> {
    let bad = NoteError::Form("a line after the empty line is not a signature");
    let Some((name, base64)) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')) else {
        return Err(bad);
    };
    let bytes = BASE64.decode(base64).unwrap_or_default();
    match bytes.split_first_chunk::<4>() {
        Some((key_id, bytes)) if key::is_name(name) && !bytes.is_empty() => {
            Ok(Signature { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
        }
        _ => Err(bad),
    }
}

/// Decides when a checkpoint is due. Pure: size and time come in as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointer {
    every: Duration,
    size: u64,
    at: Option<Timestamp>,
}

/// The decision of a [`Checkpointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Sign now.
    Now,
    /// Ask again at this time.
    At(Timestamp),
    /// Nothing to sign until the log grows.
    WhenGrown,
}

impl Checkpointer {
    /// Starts from the newest checkpoint in the archive, as (size, time); `None` if there is none.
    pub fn new(every: Duration, newest: Option<(u64, Timestamp)>) -> Self {
        Checkpointer { every, size: newest.map_or(0, |(size, _)| size), at: newest.map(|(_, at)| at) }
    }

    /// Whether a log of this size wants a checkpoint: at once after a quiet time, then once per interval while it grows.
    pub fn due(&self, size: u64, now: Timestamp) -> Due {
        if size <= self.size {
            return Due::WhenGrown;
        }
        match self.at {
            // A clock that was set back must not delay the next checkpoint.
            Some(at) if at <= now && now < at.plus(self.every) => Due::At(at.plus(self.every)),
            _ => Due::Now,
        }
    }

    /// Whether a checkpoint is to be signed before the process ends.
    pub fn due_at_stop(&self, size: u64) -> bool {
        size > self.size
    }

    /// A checkpoint over `size` events was stored.
    pub fn made(&mut self, size: u64, now: Timestamp) {
        self.size = size;
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("greffier/01JD", &[7; 32]).unwrap()
    }

    fn statement() -> Statement {
        Statement {
            origin: "greffier/01JD".into(),
            size: 4711,
            root: [9; 32],
            time: Some(Timestamp::from_millis(1_795_225_034_123)),
        }
    }

    #[test]
    fn a_checkpoint_reads_back_and_every_flipped_bit_is_refused() {
        let text = key().sign(&statement());
        let verifying = key().verifying_key();
        assert_eq!(Note::parse(&text).unwrap().verify(std::slice::from_ref(&verifying)), Ok(statement()));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            let refused = Note::parse(&bad).and_then(|note| note.verify(std::slice::from_ref(&verifying)));
            assert!(refused.is_err(), "bit {bit}: {bad}");
        }
    }

    /// The example of the C2SP page, with its public key as other implementations publish it.
    #[test]
    fn a_note_that_others_signed_verifies() {
        let key = VerifyingKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").unwrap();
        let note = Note::parse(
            "This is an example message.\n\n— example.com/foo \
             Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
        )
        .unwrap();
        // Signed all right, but no checkpoint.
        assert_eq!(note.verify(std::slice::from_ref(&key)), Err(NoteError::Form("no size")));
        let other = Note { text: "This is another message.\n".into(), ..note };
        assert_eq!(other.verify(std::slice::from_ref(&key)), Err(NoteError::Signature));
    }

    #[test]
    fn unknown_signatures_and_extension_lines_are_ignored() {
        let text = key().sign(&statement());
        let witness = SigningKey::from_seed("witness", &[8; 32]).unwrap();
        let second = witness.sign(&statement());
        let both = format!("{text}{}", second.split_once("\n\n").unwrap().1);
        let note = Note::parse(&both).unwrap();
        assert_eq!(note.signatures.len(), 2);
        assert_eq!(note.verify(&[key().verifying_key()]), Ok(statement()));
        assert_eq!(note.verify(&[witness.verifying_key()]), Ok(statement()));
        let stranger = SigningKey::from_seed("greffier/01JD", &[9; 32]).unwrap().verifying_key();
        assert_eq!(note.verify(&[stranger]), Err(NoteError::OtherKey));
        let extended = format!("{}hello there\n", statement().text());
        assert_eq!(Statement::parse(&extended), Ok(statement()));
    }

    #[test]
    fn bad_forms_are_refused() {
        for bad in [
            "",
            "\n",
            "a\n1\n",
            "a\n1\nAAAA\n",
            "a\n01\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n",
            "a\n-1\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n",
            "a\n1\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
        ] {
            assert!(Statement::parse(bad).is_err(), "{bad:?}");
        }
        for bad in
            ["", "a\n\n", "a\n\nb\n", "a\n\n— b\n", "a\n\n— b AAAA\n", "a\n\n— b AAAAAAAA", "a\tb\n\n— b AAAAAAAA\n"]
        {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Note::parse("a\n\n— b AAAAAAAA\n").is_ok());
    }

    #[test]
    fn checkpoints_are_due_once_per_interval_while_the_log_grows() {
        let t = |s: i64| Timestamp::from_millis(s * 1000);
        let mut checkpointer = Checkpointer::new(Duration::from_secs(30), None);
        assert_eq!(checkpointer.due(0, t(0)), Due::WhenGrown);
        assert_eq!(checkpointer.due(1, t(0)), Due::Now);
        checkpointer.made(1, t(0));
        assert_eq!(checkpointer.due(1, t(100)), Due::WhenGrown);
        assert_eq!(checkpointer.due(2, t(1)), Due::At(t(30)));
        assert!(checkpointer.due_at_stop(2) && !checkpointer.due_at_stop(1));
        assert_eq!(checkpointer.due(2, t(30)), Due::Now);
        assert_eq!(checkpointer.due(2, t(-5)), Due::Now, "the clock was set back");
        let resumed = Checkpointer::new(Duration::from_secs(30), Some((2, t(30))));
        assert_eq!(resumed.due(3, t(31)), Due::At(t(60)));
    }
}
