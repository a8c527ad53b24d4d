//! Standard output as verbs use it: buffered, quiet when its reader goes away, harmless on a terminal.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;

/// The reader of standard output closed it; `| head` does that.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for ReaderGone {}

/// Whether an error means only that nobody reads our output any more.
pub(super) fn reader_has_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<ReaderGone>())
    })
}

/// Standard output.
pub(super) struct Out {
    inner: BufWriter<Marked>,
    terminal: bool,
}

/// Turns a broken pipe into [`ReaderGone`], so that it is told apart from a broken network connection.
struct Marked(Stdout);

impl Write for Marked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(mark)
    }
}

fn mark(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(ReaderGone),
        _ => error,
    }
}

impl Out {
    /// Opens standard output.
    pub(super) fn new() -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Out { inner: BufWriter::with_capacity(64 * 1024, Marked(stdout)), terminal }
    }

    /// One line of text that may come from strangers: on a terminal, control characters (which could move the cursor or
    /// change the title) are shown as `\u{fffd}`.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        if self.terminal && text.contains(dangerous) {
            self.inner.write_all(text.replace(dangerous, "\u{fffd}").as_bytes())?;
        } else {
            self.inner.write_all(text.as_bytes())?;
        }
        self.inner.write_all(b"\n")?;
        // Someone may be watching.
        if self.terminal { self.inner.flush() } else { Ok(()) }
    }

    /// One JSON object on a line of its own.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.inner, value).map_err(io::Error::from)?;
        self.inner.write_all(b"\n")?;
        if self.terminal { self.inner.flush() } else { Ok(()) }
    }

    /// `text` in a colour, if standard output is a terminal that may have colours.
    pub(super) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.terminal && crate::telemetry::colours_wanted(&io::stdout()) {
            format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }

    /// What begins and ends a colour, under the same condition.
    pub(super) fn brush(&self, colour: Colour) -> (String, &'static str) {
        let painted = self.paint(colour, "\n");
        match painted.split_once('\n') {
            Some((on, off)) if !off.is_empty() => (on.to_owned(), "\u{1b}[0m"),
            _ => (String::new(), ""),
        }
    }

    /// Bytes as they are, for exports.
    pub(super) fn raw(&mut self) -> &mut impl Write {
        &mut self.inner
    }

    /// Writes a line that is ours, colours included.
    pub(super) fn ours(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.inner, "{text}")?;
        self.inner.flush()
    }

    /// Lets a reader see what has been written so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    /// Must be called at the end: dropping would hide a full disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// How to call this program again from a shell: by name if that finds it, else by its path.
pub(super) fn program() -> String {
    let Ok(exe) = std::env::current_exe().and_then(std::fs::canonicalize) else { return "greffier".to_owned() };
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("greffier")).find(|candidate| candidate.is_file())
    });
    if found.is_some_and(|found| std::fs::canonicalize(found).is_ok_and(|found| found == exe)) {
        return "greffier".to_owned();
    }
    let here = std::env::current_dir().and_then(std::fs::canonicalize).ok();
    let below = here.and_then(|here| exe.strip_prefix(here).ok().map(|below| Path::new(".").join(below)));
    crate::config::shell_quoted(below.as_deref().unwrap_or(&exe))
}

/// The colours in use.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    /// Wrong.
    Red = 31,
    /// Right.
    Green = 32,
    /// Look at it.
    Yellow = 33,
}

fn dangerous(c: char) -> bool {
    c.is_control() && c != '\t' && c != '\n'
}

/// A number with its noun: `1 event`, `2 events`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A text from strangers in one cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_broken_pipe_counts() {
        let ours = anyhow::Error::new(mark(io::ErrorKind::BrokenPipe.into())).context("cannot write");
        assert!(reader_has_gone(&ours));
        let network = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!reader_has_gone(&network));
    }

    #[test]
    fn escape_sequences_of_strangers_do_not_reach_a_cell() {
        assert_eq!(cell("a\u{1b}[2Jb\nc\u{9b}d"), "a [2Jb c d");
    }
}
