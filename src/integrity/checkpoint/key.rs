//! The archive's Ed25519 key: made at first start, kept in `keys/`, public half beside it.
//!
//! `keys/checkpoint.key` (mode 0600, in a directory of mode 0700) is one line in the form that note signers exchange:
//! `PRIVATE+KEY+<name>+<key id in hex>+<base64 of 0x01 and the 32-byte seed>`. `keys/checkpoint.pub` is
//! `<name>+<key id in hex>+<base64 of 0x01 and the 32-byte public key>`, one line per key that ever signed, oldest first. The
//! name is the log's origin. Where the private key is missing (a backup was restored), a new one is made and its public
//! half is added to the list.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Statement;
use crate::integrity::hex;

/// File name of the private key in the key directory.
pub const PRIVATE_FILE: &str = "checkpoint.key";
/// File name of the public key in the key directory.
pub const PUBLIC_FILE: &str = "checkpoint.pub";

/// Signature type of C2SP signed notes for plain Ed25519.
const ED25519_TYPE: u8 = 1;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others than the owner could read or replace the key.
    #[error("{} has mode {mode:04o}, others may get at the key: chmod {wanted:o} it", path.display())]
    Loose {
        /// File or directory.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// A file operation failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not hold a key of the documented form.
    #[error("{} is not a key file ({problem}): restore it from a backup", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, without its content.
        problem: &'static str,
    },
    /// The key belongs to another log.
    #[error("{} is the key of log {found}, this archive's log is {expected}: restore the right key", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// Name in the key.
        found: String,
        /// Origin of the archive.
        expected: String,
    },
    /// The public key on disk is not the private key's.
    #[error("{} does not list the private key beside it: find out who changed it, then remove it", path.display())]
    OtherPublic {
        /// The public file.
        path: PathBuf,
    },
    /// The name cannot be the name of a key.
    #[error("a log's name must not be empty and must not have blanks or + in it")]
    Name,
    /// The system gives no random bytes.
    #[error("cannot get random bytes from the system")]
    Random,
}

/// Whether a text may be the name of a key: not empty, no white space, no `+`, no control characters.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// `base64(0x01 ‖ 32 bytes)` back to the 32 bytes.
fn typed_key(base64: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(BASE64.decode(base64).ok()?);
    match bytes.split_first() {
        Some((&ED25519_TYPE, rest)) => rest.try_into().ok().map(Zeroizing::new),
        _ => None,
    }
}

fn typed_base64(key: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(33));
    bytes.push(ED25519_TYPE);
    bytes.extend_from_slice(key);
    Zeroizing::new(BASE64.encode(&*bytes))
}

/// A public key that checkpoints are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    public: [u8; 32],
}

impl VerifyingKey {
    /// Reads the text form: `<name>+<key id in hex>+<base64 of 0x01 and the key>`. `None` if it is anything else, also
    /// when the key id does not fit the key.
    pub fn parse(text: &str) -> Option<VerifyingKey> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (name, id, base64) = (parts.next()?, parts.next()?, parts.next()?);
        let public = *typed_key(base64)?;
        let fits = is_name(name) && id == hex(&key_id(name, &public));
        fits.then(|| VerifyingKey { name: name.to_owned(), public })
    }

    /// Reads `checkpoint.pub` of a key directory: every key that signed for this archive, oldest first; none if there is no
    /// such file.
    ///
    /// # Errors
    /// [`KeyError::Io`], [`KeyError::Broken`].
    pub fn load_all(dir: &Path) -> Result<Vec<VerifyingKey>, KeyError> {
        let path = dir.join(PUBLIC_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(KeyError::Io { doing: format!("read {}", path.display()), source }),
        };
        let keys: Option<Vec<_>> = text.lines().filter(|line| !line.is_empty()).map(VerifyingKey::parse).collect();
        keys.ok_or(KeyError::Broken { path, problem: "a line is not of the form name+id+base64" })
    }

    /// Name of the key: the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, &self.public)
    }

    /// The 32 bytes of RFC 8032.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether `signature` is this key's over `text`.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text, signature).is_ok()
    }
}

impl std::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), *typed_base64(&self.public))
    }
}

/// The private key that signs checkpoints.
pub struct SigningKey {
    name: String,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes the key of a 32-byte seed.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        // A seed of 32 bytes is never refused; should it be, there is no key to be had from it.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Random)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Random)?;
        Ok(SigningKey { name: name.to_owned(), pair, public })
    }

    /// Loads the key of the log `origin` from the key directory; makes directory and key if there is none.
    ///
    /// # Errors
    /// [`KeyError::Loose`] if the directory is open to others than its owner or the file's mode is looser than 0600;
    /// [`KeyError::OtherLog`] and [`KeyError::OtherPublic`] if files were mixed up; [`KeyError::Broken`], [`KeyError::Io`].
    pub fn load_or_create(dir: &Path, origin: &str) -> Result<SigningKey, KeyError> {
        make_directory(dir)?;
        let path = dir.join(PRIVATE_FILE);
        let there = path.try_exists();
        if there.map_err(|source| KeyError::Io { doing: format!("look for {}", path.display()), source })? {
            strict(dir, 0o700)?;
        } else {
            // No secret has lain here yet (a backup holds public keys only), so the mode can still be put right.
            tighten(dir)?;
            create(dir, &path, origin)?;
        }
        let key = load(&path, origin)?;
        let public = dir.join(PUBLIC_FILE);
        match VerifyingKey::load_all(dir)? {
            known if known.contains(&key.verifying_key()) => Ok(key),
            known if known.is_empty() => {
                publish(dir, &known, &key)?;
                Ok(key)
            }
            _ => Err(KeyError::OtherPublic { path: public }),
        }
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { name: self.name.clone(), public: self.public }
    }

    /// The signed note of a statement, with its last line feed.
    pub fn sign(&self, statement: &Statement) -> String {
        let text = statement.text();
        let mut signature = self.verifying_key().id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n— {} {}\n", self.name, BASE64.encode(signature))
    }
}

fn make_directory(dir: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { doing: format!("make directory {}", dir.display()), source };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(io)
}

fn tighten(dir: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    if strict(dir, 0o700).is_err() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir, mode)
            .map_err(|source| KeyError::Io { doing: format!("chmod 700 {}", dir.display()), source })?;
    }
    strict(dir, 0o700)
}

/// Refuses files and directories that others than their owner can use.
fn strict(path: &Path, wanted: u32) -> Result<(), KeyError> {
    let found =
        fs::metadata(path).map_err(|source| KeyError::Io { doing: format!("look at {}", path.display()), source })?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777;
        if mode & !wanted & 0o777 != 0 {
            return Err(KeyError::Loose { path: path.to_owned(), mode, wanted });
        }
    }
    #[cfg(not(unix))]
    let _ = (found, wanted);
    Ok(())
}

fn create(dir: &Path, path: &Path, origin: &str) -> Result<(), KeyError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(&mut *seed).map_err(|_| KeyError::Random)?;
    let key = SigningKey::from_seed(origin, &seed)?;
    let id = hex(&key.verifying_key().id());
    let line = Zeroizing::new(format!("PRIVATE+KEY+{origin}+{id}+{}\n", *typed_base64(&seed)));
    // Public half first: a key that is listed and never used does no harm, one that signs unlisted does.
    let known = VerifyingKey::load_all(dir)?;
    publish(dir, &known, &key)?;
    write_whole(dir, path, line.as_bytes(), 0o600, Existing::Keep)
}

/// Adds a key to the list of public keys.
fn publish(dir: &Path, known: &[VerifyingKey], key: &SigningKey) -> Result<(), KeyError> {
    let mut text = String::new();
    for key in known.iter().chain([&key.verifying_key()]) {
        text.push_str(&format!("{key}\n"));
    }
    write_whole(dir, &dir.join(PUBLIC_FILE), text.as_bytes(), 0o644, Existing::Replace)
}

/// What to do with a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// Writes a file that is either as before or whole, also after a power cut.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { doing: format!("write {}", path.display()), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = dir.join(name);
    // A draft is left behind only by a process of this number that was killed.
    let _ = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(&draft).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let placed = written.and_then(|()| match existing {
        Existing::Replace => fs::rename(&draft, path),
        // Linking, other than renaming, fails if somebody was faster.
        Existing::Keep => fs::hard_link(&draft, path),
    });
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&draft);
    placed.map_err(io)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

fn load(path: &Path, origin: &str) -> Result<SigningKey, KeyError> {
    strict(path, 0o600)?;
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| KeyError::Io { doing: format!("read {}", path.display()), source })?;
    let broken = |problem| KeyError::Broken { path: path.to_owned(), problem };
    let rest = text.strip_prefix("PRIVATE+KEY+").ok_or_else(|| broken("it does not begin with PRIVATE+KEY+"))?;
    let mut parts = rest.trim_end_matches('\n').splitn(3, '+');
    let (Some(name), Some(id), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(broken("a part is missing"));
    };
    let seed = typed_key(base64).ok_or_else(|| broken("the key is not 32 bytes in base64"))?;
    let key = SigningKey::from_seed(name, &seed).map_err(|_| broken("its name cannot be one"))?;
    if id != hex(&key.verifying_key().id()) {
        return Err(broken("the key id does not fit the key"));
    }
    if name != origin {
        return Err(KeyError::OtherLog { path: path.to_owned(), found: name.to_owned(), expected: origin.to_owned() });
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = SigningKey::load_or_create(&keys, "greffier/a").unwrap().verifying_key();
        let again = SigningKey::load_or_create(&keys, "greffier/a").unwrap().verifying_key();
        assert_eq!(first, again);
        assert_eq!(VerifyingKey::load_all(&keys).unwrap(), std::slice::from_ref(&first));
        assert_eq!(VerifyingKey::parse(&first.to_string()), Some(first));
        let names: Vec<_> = fs::read_dir(&keys).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(matches!(SigningKey::load_or_create(&keys, "greffier/b"), Err(KeyError::OtherLog { .. })));
        // A lost public file comes back; one that does not fit is not overwritten.
        fs::remove_file(keys.join(PUBLIC_FILE)).unwrap();
        SigningKey::load_or_create(&keys, "greffier/a").unwrap();
        let other = SigningKey::from_seed("greffier/a", &[1; 32]).unwrap().verifying_key();
        fs::write(keys.join(PUBLIC_FILE), other.to_string()).unwrap();
        assert!(matches!(SigningKey::load_or_create(&keys, "greffier/a"), Err(KeyError::OtherPublic { .. })));
    }

    #[test]
    fn a_restored_backup_goes_on_with_a_new_key_and_keeps_the_old_public_one() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let old = SigningKey::load_or_create(&keys, "a").unwrap().verifying_key();
        fs::remove_file(keys.join(PRIVATE_FILE)).unwrap();
        let new = SigningKey::load_or_create(&keys, "a").unwrap().verifying_key();
        assert_ne!(old, new);
        assert_eq!(VerifyingKey::load_all(&keys).unwrap(), [old, new.clone()]);
        assert_eq!(SigningKey::load_or_create(&keys, "a").unwrap().verifying_key(), new);
        #[cfg(unix)]
        {
            fs::remove_file(keys.join(PRIVATE_FILE)).unwrap();
            set_mode(&keys, 0o755);
            SigningKey::load_or_create(&keys, "a").unwrap();
            assert_eq!(mode(&keys), 0o700);
        }
    }

    #[cfg(unix)]
    #[test]
    fn modes_are_strict() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        SigningKey::load_or_create(&keys, "a").unwrap();
        assert_eq!((mode(&keys), mode(&keys.join(PRIVATE_FILE))), (0o700, 0o600));
        for loose in [0o640, 0o604, 0o620] {
            set_mode(&keys.join(PRIVATE_FILE), loose);
            let error = SigningKey::load_or_create(&keys, "a").unwrap_err();
            assert!(matches!(error, KeyError::Loose { mode, .. } if mode == loose), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set_mode(&keys.join(PRIVATE_FILE), 0o400);
        SigningKey::load_or_create(&keys, "a").unwrap();
        set_mode(&keys, 0o750);
        assert!(matches!(SigningKey::load_or_create(&keys, "a"), Err(KeyError::Loose { wanted: 0o700, .. })));
    }

    #[test]
    fn broken_key_files_are_refused_without_telling_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        SigningKey::load_or_create(&keys, "a").unwrap();
        let path = keys.join(PRIVATE_FILE);
        let good = fs::read_to_string(&path).unwrap();
        for bad in ["".to_owned(), good[..30].to_owned(), good.replace("+a+", "+b+"), good.replace("PRIVATE", "PUBLIC")]
        {
            fs::write(&path, &bad).unwrap();
            let error = SigningKey::load_or_create(&keys, "a").unwrap_err();
            assert!(matches!(error, KeyError::Broken { .. }), "{error}");
            assert!(bad.is_empty() || !error.to_string().contains(bad.trim_end()), "{error}");
        }
    }

    #[test]
    fn names_and_texts_that_cannot_be_keys() {
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(matches!(SigningKey::from_seed(name, &[1; 32]), Err(KeyError::Name)), "{name:?}");
        }
        let good = SigningKey::from_seed("a", &[1; 32]).unwrap().verifying_key().to_string();
        assert!(VerifyingKey::parse(&good).is_some());
        for bad in ["", "a", "a+00000000", &good[..20], &good.replace("a+", "b+")] {
            assert_eq!(VerifyingKey::parse(bad), None, "{bad}");
        }
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let seed = crate::integrity::hash_from_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap();
        let key = SigningKey::from_seed("a", &seed).unwrap();
        assert_eq!(
            hex(key.verifying_key().public()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.pair.sign(&[0x72]);
        assert_eq!(
            hex(signature.as_ref()),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(key.verifying_key().verifies(&[0x72], signature.as_ref()));
        assert!(!key.verifying_key().verifies(&[0x73], signature.as_ref()));
    }
}
