//! Secrets and certificates that the configuration names: a file or an environment variable, never the text itself.

use std::path::{Path, PathBuf};

use super::{Environment, Placed, Problems, Section, shell_quoted};
use crate::connector::secret::Secret;

/// The two keys that name one secret, and how problems speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretKeys {
    /// For example `password_file`.
    pub file: &'static str,
    /// For example `password_env`.
    pub env: &'static str,
    /// The key by which people try to write the secret itself, for example `password`; it is refused.
    pub itself: &'static str,
    /// What it is in words, for example `password`.
    pub noun: &'static str,
    /// A name for the environment variable, for example `SFB_PASSWORD`.
    pub example: &'static str,
}

/// Where a secret comes from; never from the configuration file itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// A file of mode 0600 or stricter; one trailing newline is not part of the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl SecretKeys {
    /// What to do instead of writing the secret into the file.
    pub fn remedy(&self) -> String {
        format!(
            "put the {} into a file of mode 0600 and name that with `{}`, or name an environment variable with `{}`",
            self.noun, self.file, self.env
        )
    }

    /// Whether any of the keys stands in the table; what is wrong with it is then said by [`SecretKeys::read`].
    pub fn given(&self, section: &Section<'_>) -> bool {
        [self.file, self.env, self.itself].iter().any(|key| section.has(key))
    }

    /// Reads the keys. `None` if neither is given or they are unusable; only the latter is a problem.
    pub fn read(
        &self,
        section: &mut Section<'_>,
        folder: &Path,
        problems: &mut Problems<'_>,
    ) -> Option<Placed<SecretFrom>> {
        let file = section.string(self.file, problems);
        let env = section.string(self.env, problems);
        section.refuse(self.itself, &self.remedy(), problems);
        match (file, env) {
            (Some(_), Some(env)) => {
                let text = format!("`{}` and `{}` are both given; keep one of them", self.file, self.env);
                problems.add(Some(env.span), text);
                None
            }
            (Some(file), None) => Some(Placed { value: SecretFrom::File(folder.join(file.value)), span: file.span }),
            (None, Some(env)) => {
                // Not echoed: people put the secret itself here.
                let name = &env.value;
                if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(is_env_byte) {
                    let text = format!(
                        "`{}` must be the name of an environment variable, for example \"{}\"",
                        self.env, self.example
                    );
                    problems.add(Some(env.span), text);
                    return None;
                }
                Some(Placed { value: SecretFrom::Env(env.value), span: env.span })
            }
            (None, None) => None,
        }
    }

    /// Gets the secret.
    ///
    /// # Errors
    /// What is wrong and what to do, without the secret.
    pub fn fetch(&self, from: &SecretFrom, env: Environment<'_>) -> Result<Secret, String> {
        match from {
            SecretFrom::File(path) => secret_file(self.file, self.noun, path),
            SecretFrom::Env(name) => match env(name) {
                Some(text) if !text.is_empty() => Ok(Secret::new(text)),
                Some(_) => Err(format!(
                    "the environment variable named by `{}` is empty; put the {} into it",
                    self.env, self.noun
                )),
                None => Err(format!(
                    "the environment variable named by `{}` is not set (or not UTF-8); set it where greffier is started",
                    self.env
                )),
            },
        }
    }
}

fn is_env_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Reads a file that others must not read; `key` names it in the configuration, `noun` says what is in it.
///
/// # Errors
/// What is wrong and what to do, without the content.
pub fn secret_file(key: &str, noun: &str, path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("`{key}`: cannot read {shown}: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() {
        return Err(format!("`{key}`: {shown} is not a file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o177 != 0 {
            return Err(format!(
                "`{key}`: {shown} has mode {mode:04o} and may be read by others; run: chmod 600 {}",
                shell_quoted(path)
            ));
        }
    }
    let mut text = String::new();
    // A secret is short; a device or a huge file is a mistake.
    std::io::Read::read_to_string(&mut std::io::Read::take(file, 64 * 1024), &mut text).map_err(cannot)?;
    let text = zeroize::Zeroizing::new(text);
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if secret.is_empty() {
        return Err(format!("`{key}`: {shown} is empty; write the {noun} into it"));
    }
    Ok(Secret::new(secret.to_owned()))
}

/// Reads a PEM file and makes sure that it holds certificates, all of them whole.
///
/// # Errors
/// What is wrong and what to do.
pub fn certificate_file(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    use base64::Engine;
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("`{key}`: cannot read {shown}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut count = 0;
    for block in text.split(BEGIN).skip(1) {
        let body: String = block.split(END).next().unwrap_or("").chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(&body).unwrap_or_default();
        if !block.contains(END) || der.first() != Some(&0x30) {
            return Err(format!("`{key}`: certificate {} in {shown} is damaged", count + 1));
        }
        count += 1;
    }
    if count == 0 {
        return Err(format!("`{key}`: {shown} holds no certificate; a PEM file with `{BEGIN}` is needed"));
    }
    Ok(bytes)
}
