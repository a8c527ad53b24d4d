//! The walk over a text: bytes where it is ASCII, characters where it is not.

use super::fold::{self, Class, Folded};
use super::{LONGEST, Role, Token};

/// State of one walk.
pub(super) struct Machine<'t, 'e> {
    text: &'t str,
    emit: &'e mut dyn FnMut(Token<'_>),
    position: u32,
    table: &'static [Folded],
    /// The word being read that is not plain ASCII, folded.
    word: String,
    /// The same in its other spelling; meaningful if `respelled`.
    spelling: String,
    respelled: bool,
    /// Whether pieces of this word were given out already.
    cut: bool,
    word_from: usize,
    word_to: usize,
    /// `#`, `@` or `.` right before the word that follows, and where it stands.
    sigil: Option<(u8, usize)>,
    /// The last character of a run of pairs, with its place, and whether it is the only one so far.
    gram: Option<(char, usize, usize, bool)>,
}

impl<'t, 'e> Machine<'t, 'e> {
    pub(super) fn new(text: &'t str, emit: &'e mut dyn FnMut(Token<'_>)) -> Self {
        Machine {
            text,
            emit,
            position: 0,
            table: fold::table(),
            word: String::new(),
            spelling: String::new(),
            respelled: false,
            cut: false,
            word_from: 0,
            word_to: 0,
            sigil: None,
            gram: None,
        }
    }

    pub(super) fn run(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_alphanumeric() {
                let mut end = at + 1;
                let mut upper = byte.is_ascii_uppercase();
                while let Some(&byte) = bytes.get(end).filter(|byte| byte.is_ascii_alphanumeric()) {
                    upper |= byte.is_ascii_uppercase();
                    end += 1;
                }
                at = match bytes.get(end) {
                    Some(128..) if !self.text[end..].starts_with('’') => self.walk(at),
                    _ => self.ascii_word(at, end, upper),
                };
                self.sigil = None;
            } else if byte >= 128 {
                at = self.walk(at);
                self.sigil = None;
            } else {
                if byte.is_ascii_punctuation() {
                    at = self.punctuation(at, byte);
                } else {
                    at += 1;
                }
            }
        }
    }

    /// One token at the current position.
    fn put(&mut self, text: &str, role: Role, from: usize, to: usize) {
        (self.emit)(Token { text, position: self.position, from, to, role });
    }

    /// A sigil is remembered, signs that stand alone are a token; everything else is nothing. Gives where to go on.
    fn punctuation(&mut self, at: usize, byte: u8) -> usize {
        let bytes = self.text.as_bytes();
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        let opens = before.is_none_or(|b| b.is_ascii_whitespace() || b"([{<\"',;".contains(&b) || b >= 128);
        self.sigil = None;
        if opens {
            self.sigil = match byte {
                b'#' | b'@' if next.is_ascii_alphanumeric() || next >= 128 => Some((byte, at)),
                b'.' if next.is_ascii_alphabetic() => Some((byte, at)),
                _ => None,
            };
        }
        if next.is_ascii_punctuation() && before.is_none_or(|b| b.is_ascii_whitespace()) {
            let signs = bytes[at..].iter().take(9).take_while(|b| b.is_ascii_punctuation()).count();
            if signs <= 8 && bytes.get(at + signs).is_none_or(u8::is_ascii_whitespace) {
                let text = self.text;
                self.put(&text[at..at + signs], Role::Sign, at, at + signs);
                return at + signs;
            }
        }
        at + 1
    }

    /// A word of ASCII letters and digits. Gives where to go on.
    fn ascii_word(&mut self, from: usize, mut to: usize, upper: bool) -> usize {
        let text = self.text;
        let bytes = text.as_bytes();
        let next = bytes.get(to).copied().unwrap_or(b' ');
        if to - from > LONGEST {
            let (mut piece, mut low) = (from, [0; LONGEST]);
            while piece < to {
                let end = to.min(piece + LONGEST);
                self.put(lower(&text[piece..end], &mut low), Role::Word, piece, end);
                self.position += 1;
                piece = end;
            }
            return to;
        }
        if to - from == 1 && bytes[from].is_ascii_alphabetic() {
            // `C++`, `F#`; a lone letter is otherwise so common that it would find everything.
            let signs = match next {
                b'+' if bytes.get(to + 1) == Some(&b'+') => 2,
                b'#' if !bytes.get(to + 1).is_some_and(|b| b.is_ascii_alphanumeric()) => 1,
                _ => 0,
            };
            if signs > 0 {
                let mut low = [0; 4];
                self.put(lower(&text[from..to + signs], &mut low), Role::Word, from, to + signs);
                self.position += 1;
                return to + signs;
            }
        }
        let mut low = [0; 2 * LONGEST + 1];
        let apostrophe = match next {
            b'\'' => 1,
            128.. if text[to..].starts_with('’') => '’'.len_utf8(),
            _ => 0,
        };
        if let Some((_, start)) = self.sigil {
            self.put(lower(&text[start..to], &mut low), Role::Word, start, to);
            self.put(lower(&text[from..to], &mut low), Role::Part, from, to);
        } else if apostrophe > 0 || (next == b'-' && to - from == 1) {
            to = self.joined(from, to, apostrophe.max(1), apostrophe > 0);
        } else if upper {
            self.put(lower(&text[from..to], &mut low), Role::Word, from, to);
            self.camel(from, to);
        } else {
            self.put(&text[from..to], Role::Word, from, to);
        }
        self.position += 1;
        to
    }

    /// A word before an apostrophe or hyphen: `don't`, `Alice's`, `l'homme`, `e-mail`. Gives where it ends.
    fn joined(&mut self, from: usize, to: usize, between: usize, apostrophe: bool) -> usize {
        let text = self.text;
        let mut low = [0; 2 * LONGEST + 1];
        let rest = &text[to + between..];
        let length = rest.bytes().take(LONGEST + 1).take_while(u8::is_ascii_alphanumeric).count();
        let mut end = to + between + length;
        let suffix = &text[to + between..end];
        let whole = length > 0
            && to - from + length <= LONGEST
            && !rest[length..].starts_with(|c: char| !c.is_ascii() && c != '’');
        let is = |list: &[&str]| whole && apostrophe && list.iter().any(|s| suffix.eq_ignore_ascii_case(s));
        let mut both = [0; LONGEST];
        let size = if whole { to - from + length } else { 0 };
        if whole {
            both[..to - from].copy_from_slice(&text.as_bytes()[from..to]);
            both[to - from..size].copy_from_slice(suffix.as_bytes());
        }
        let both = std::str::from_utf8(&both[..size]).unwrap_or_default();
        if is(&["t", "m", "d", "ll", "ve", "re"]) {
            self.put(lower(both, &mut low), Role::Word, from, end);
        } else {
            self.put(lower(&text[from..to], &mut low), Role::Word, from, to);
            let possessive = is(&["s"]);
            if possessive || (whole && to - from == 1 && suffix.bytes().all(|b| b.is_ascii_alphabetic())) {
                self.put(lower(both, &mut low), Role::Part, from, end);
            }
            if !possessive {
                end = to;
            }
        }
        end
    }

    /// The words inside `getUserName`, `parseHTTPResponse`, if it is such a word.
    fn camel(&mut self, from: usize, to: usize) {
        let text = self.text;
        let bytes = &text.as_bytes()[from..to];
        let mut low = [0; LONGEST];
        let mut start = 0;
        for i in 1..=bytes.len() {
            let (before, here) = (bytes[i - 1], bytes.get(i));
            let ends = here.is_none_or(|here| {
                here.is_ascii_uppercase()
                    && (before.is_ascii_lowercase()
                        || (before.is_ascii_uppercase() && bytes.get(i + 1).is_some_and(u8::is_ascii_lowercase)))
            });
            if ends {
                // Shorter pieces are mostly noise of random identifiers.
                if i - start >= 3 && i - start < bytes.len() {
                    self.put(lower(&text[from + start..from + i], &mut low), Role::Part, from + start, from + i);
                }
                start = i;
            }
        }
    }

    /// Reads on from a character that is not ASCII, or an ASCII word that such a one follows, up to the next ASCII
    /// character that belongs to no word. Gives where that is.
    fn walk(&mut self, from: usize) -> usize {
        let text = self.text;
        let mut at = from;
        while let Some(c) = text[at..].chars().next() {
            let end = at + c.len_utf8();
            if matches!(c, '\'' | '"' | '’') {
                if self.is_inside_word(end) {
                    at = end;
                    continue;
                }
                if let Some(end) = self.clitic(end) {
                    at = end;
                    continue;
                }
            }
            if c.is_ascii() && !c.is_ascii_alphanumeric() {
                break;
            }
            at = if fold::is_symbol(c) { self.symbol(at) } else { self.letters(at, c, end) };
        }
        self.end_word();
        self.end_grams();
        at
    }

    /// One character and the marks that belong to it. Gives where to go on.
    fn letters(&mut self, at: usize, c: char, mut end: usize) -> usize {
        let text = self.text;
        let first = end;
        while let Some(mark) = text[end..].chars().next().filter(|&c| !c.is_ascii() && fold::joins_before(c)) {
            end += mark.len_utf8();
        }
        if end == first && (c.is_ascii() || !fold::has_other_form(c)) {
            self.feed(c, at, end);
        } else {
            for c in fold::normalised(&text[at..end]) {
                self.feed(c, at, end);
            }
        }
        end
    }

    fn feed(&mut self, c: char, from: usize, to: usize) {
        let folded = fold::fold(self.table, c);
        match folded.class {
            Class::Skip => {
                if !self.word.is_empty() {
                    self.word_to = to;
                }
            }
            Class::Break => {
                self.end_word();
                self.end_grams();
            }
            Class::Symbol => {
                self.end_word();
                self.end_grams();
                self.put(c.encode_utf8(&mut [0; 4]), Role::Word, from, to);
                self.position += 1;
            }
            Class::Gram => {
                self.end_word();
                self.gram(c, from, to);
            }
            Class::Letter => {
                self.end_grams();
                self.letter(&folded, from, to);
            }
        }
    }

    fn letter(&mut self, folded: &Folded, from: usize, to: usize) {
        let letters = || folded.letters.into_iter().take_while(|&c| c != '\0');
        if self.word.len() + letters().map(char::len_utf8).sum::<usize>() > LONGEST {
            self.sigil = None;
            self.cut = true;
            self.end_word();
            self.cut = true;
        }
        if self.word.is_empty() {
            self.word_from = from;
            self.spelling.clear();
            self.respelled = false;
        }
        if folded.spelled[0] != '\0' {
            if !self.respelled {
                self.respelled = true;
                self.spelling.push_str(&self.word);
            }
            self.spelling.extend(folded.spelled.into_iter().take_while(|&c| c != '\0'));
        } else if self.respelled {
            self.spelling.extend(letters());
        }
        self.word.extend(letters());
        self.word_to = to;
    }

    /// Gives the word out that was being read, if any.
    fn end_word(&mut self) {
        if self.word.is_empty() {
            // Something else came between.
            self.sigil = None;
            self.cut = false;
            return;
        }
        let word = std::mem::take(&mut self.word);
        let spelling = std::mem::take(&mut self.spelling);
        let (from, to) = (self.word_from, self.word_to);
        if let Some((sigil, start)) = self.sigil.take() {
            let marked = format!("{}{word}", char::from(sigil));
            self.put(&marked, Role::Word, start, to);
            if self.respelled {
                self.put(&format!("{}{spelling}", char::from(sigil)), Role::Spelling, start, to);
                self.put(&spelling, Role::Part, from, to);
            }
            self.put(&word, Role::Part, from, to);
        } else {
            self.put(&word, Role::Word, from, to);
            // Cut words have one spelling, or their pieces would not fit together.
            if self.respelled && !self.cut && spelling.len() <= LONGEST {
                self.put(&spelling, Role::Spelling, from, to);
            }
        }
        self.position += 1;
        self.word = word;
        self.word.clear();
        self.spelling = spelling;
        self.spelling.clear();
        self.respelled = false;
        self.cut = false;
    }

    /// Whether an apostrophe or quote stands inside a word of a script that spells with it: `об'єкт`, `צה"ל`.
    fn is_inside_word(&self, next: usize) -> bool {
        let spells = |c: char| matches!(c, '\u{0400}'..='\u{052f}' | '\u{05d0}'..='\u{05ea}');
        self.word.chars().next_back().is_some_and(spells) && self.text[next..].starts_with(spells)
    }

    /// The `'s` of `Zoë's`: where it ends.
    fn clitic(&self, next: usize) -> Option<usize> {
        let mut after = self.text[next..].chars();
        let is_s = !self.word.is_empty() && matches!(after.next(), Some('s' | 'S'));
        (is_s && after.next().is_none_or(|c| !c.is_alphanumeric())).then_some(next + 1)
    }

    /// One more character of a run: a token of it and the one before.
    fn gram(&mut self, c: char, from: usize, to: usize) {
        if let Some((before, start, _, _)) = self.gram {
            let mut pair = [0; 8];
            let length = before.encode_utf8(&mut pair).len();
            let length = length + c.encode_utf8(&mut pair[length..]).len();
            if let Ok(pair) = std::str::from_utf8(&pair[..length]) {
                self.put(pair, Role::Word, start, to);
            }
            self.position += 1;
        }
        self.gram = Some((c, from, to, self.gram.is_none()));
    }

    /// The last character of a run stands for itself too: it begins no pair by which it could be found.
    fn end_grams(&mut self) {
        if let Some((c, from, to, alone)) = self.gram.take() {
            let role = if alone { Role::Word } else { Role::Part };
            self.put(c.encode_utf8(&mut [0; 4]), role, from, to);
            self.position += 1;
        }
    }

    /// An emoji with its tones and what is joined to it. Gives where to go on.
    fn symbol(&mut self, at: usize) -> usize {
        self.end_word();
        self.end_grams();
        let text = self.text;
        let mut whole = std::mem::take(&mut self.word);
        let mut bases = [(0, 0); 8];
        let mut count = 0;
        let mut end = at;
        let mut chars = text[at..].char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            whole.push(c);
            if let Some(base) = bases.get_mut(count) {
                *base = (at + offset, at + offset + c.len_utf8());
                count += 1;
            }
            end = at + offset + c.len_utf8();
            let mut flag = fold::is_regional(c);
            let mut joined = false;
            while let Some(&(offset, c)) = chars.peek() {
                let after = at + offset + c.len_utf8();
                if flag && fold::is_regional(c) {
                    whole.push(c);
                    flag = false;
                } else if c == '\u{200d}' {
                    joined = true;
                } else if !(fold::is_tone(c)
                    || matches!(c, '\u{fe0f}' | '\u{fe0e}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}'))
                {
                    break;
                }
                end = after;
                chars.next();
            }
            let goes_on = joined && count < bases.len() && chars.peek().is_some_and(|&(_, c)| fold::is_symbol(c));
            if !goes_on {
                break;
            }
            whole.push('\u{200d}');
        }
        self.put(&whole, Role::Word, at, end);
        if count > 1 {
            for &(from, to) in &bases[..count] {
                self.put(&text[from..to], Role::Part, from, to);
            }
        }
        self.position += 1;
        whole.clear();
        self.word = whole;
        end
    }
}

/// The text in lower case; what does not fit into the buffer stays as it is.
fn lower<'b>(text: &'b str, buffer: &'b mut [u8]) -> &'b str {
    let Some(low) = buffer.get_mut(..text.len()) else { return text };
    low.copy_from_slice(text.as_bytes());
    low.make_ascii_lowercase();
    std::str::from_utf8(low).unwrap_or(text)
}
