//! What one character is, and what it is searched as.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// What a character does to the tokens around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Stands between words.
    Break,
    /// Is as if it were not there: accents apart, controls of direction, soft hyphens, vowel points.
    Skip,
    /// Belongs to a word.
    Letter,
    /// Is of a script that puts no blanks between words, or of Hangul, which joins particles to them.
    Gram,
    /// Stands for itself: emoji, arrows.
    Symbol,
}

/// A character as it is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded {
    /// What it does.
    pub(super) class: Class,
    /// The letters, ended by `'\0'`.
    pub(super) letters: [char; 3],
    /// Letters of the other spelling (`ae` for `ä`), ended by `'\0'`; empty = the same.
    pub(super) spelled: [char; 2],
}

/// Characters below this are looked up: Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic.
const TABLE: usize = 0x700;

static FOLDED: LazyLock<Box<[Folded]>> =
    LazyLock::new(|| (0..TABLE as u32).map(|c| compute(char::from_u32(c).unwrap_or(' '))).collect());

/// The table, so that a loop fetches it once.
pub(super) fn table() -> &'static [Folded] {
    &FOLDED
}

/// How a character is searched.
pub(super) fn fold(table: &[Folded], c: char) -> Folded {
    match table.get(c as usize) {
        Some(folded) => *folded,
        None if is_plain_gram(c) => Folded { class: Class::Gram, letters: [c, '\0', '\0'], spelled: ['\0'; 2] },
        None => compute(c),
    }
}

/// Characters of [`Class::Gram`] that no normalisation changes: most of Chinese, Japanese and Korean text.
pub(super) fn is_plain_gram(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30fe}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{3400}'..='\u{4dbf}')
}

/// Characters of scripts that are indexed as overlapping pairs.
pub(super) fn is_gram(c: char) -> bool {
    is_plain_gram(c)
        || matches!(c, '\u{0e01}'..='\u{0e3a}' | '\u{0e40}'..='\u{0e4e}' | '\u{0e81}'..='\u{0ece}' | '\u{0edc}'..='\u{0edf}')
        || matches!(c, '\u{1000}'..='\u{103f}' | '\u{104e}'..='\u{108f}' | '\u{109a}'..='\u{109f}' | '\u{aa60}'..='\u{aa7f}' | '\u{a9e0}'..='\u{a9ef}')
        || matches!(c, '\u{1780}'..='\u{17b3}' | '\u{17b6}'..='\u{17d3}' | '\u{17d7}' | '\u{17dc}' | '\u{17dd}')
        || matches!(c, '\u{3005}'..='\u{3007}' | '\u{309d}'..='\u{309f}' | '\u{30ff}' | '\u{3099}' | '\u{309a}'
            | '\u{3105}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}')
        || matches!(c, '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{1b000}'..='\u{1b16f}')
        || matches!(c, '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}')
}

/// Emoji and other signs that people look for.
pub(super) fn is_symbol(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{24ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1f0ff}' | '\u{1f170}'..='\u{1f1ff}'
        | '\u{1f201}'..='\u{1f265}' | '\u{1f300}'..='\u{1faff}')
        && !is_tone(c)
        && !c.is_alphanumeric()
}

/// Skin tones; `👍🏽` is searched as `👍`.
pub(super) fn is_tone(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// One of a pair that makes a flag.
pub(super) fn is_regional(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Marks that change the character before them when both are composed, so that the two must be looked at together.
pub(super) fn joins_before(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}' | '\u{0653}'..='\u{0655}' | '\u{3099}' | '\u{309a}' | '\u{ff9e}' | '\u{ff9f}'
        | '\u{1160}'..='\u{11ff}')
}

/// Whether a character has another form under NFKC (half and full width, ligatures, presentation forms).
pub(super) fn has_other_form(c: char) -> bool {
    // Not NFKC's affair: `Contoso™` must not become `contosotm`.
    !is_plain_gram(c)
        && !matches!(c, '™' | '℠' | '©' | '®')
        && unicode_normalization::is_nfkc_quick(std::iter::once(c)) == unicode_normalization::IsNormalized::No
}

/// Characters that are not seen, or that are seen as decoration of others.
fn is_skipped(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
        || matches!(c, '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
        // Hebrew points, geresh and gershayim; Arabic vowels and tatweel.
        || matches!(c, '\u{0591}'..='\u{05bd}' | '\u{05bf}' | '\u{05c1}' | '\u{05c2}' | '\u{05c4}' | '\u{05c5}' | '\u{05c7}'
            | '\u{05f3}' | '\u{05f4}')
        || matches!(c, '\u{0610}'..='\u{061a}' | '\u{0640}' | '\u{064b}'..='\u{065f}' | '\u{0670}' | '\u{06d6}'..='\u{06dc}'
            | '\u{06df}'..='\u{06e8}' | '\u{06ea}'..='\u{06ed}')
        || is_tone(c)
}

/// Letters whose folded form no decomposition gives, in lower case: what they become, and how else they are spelled.
fn special(c: char) -> Option<(&'static str, &'static str)> {
    Some(match c {
        'ä' => ("a", "ae"),
        'ö' => ("o", "oe"),
        'ü' => ("u", "ue"),
        'å' => ("a", "aa"),
        'ø' => ("o", "oe"),
        'ß' => ("ss", ""),
        'æ' | 'ǽ' | 'ǣ' => ("ae", ""),
        'œ' => ("oe", ""),
        'þ' => ("th", ""),
        'ð' | 'đ' => ("d", ""),
        'ł' => ("l", ""),
        'ħ' => ("h", ""),
        'ı' => ("i", ""),
        'ŋ' => ("n", ""),
        'ŧ' => ("t", ""),
        // Not a mark but another letter: `мой` is not `мои`, and `їх` is not `іх`. Only ё is written without, as a rule.
        'й' => ("й", ""),
        'ї' => ("ї", ""),
        'ў' => ("ў", ""),
        'ѓ' => ("ѓ", ""),
        'ќ' => ("ќ", ""),
        'ς' => ("σ", ""),
        // Arabic, and the Persian and Urdu letters that are written for them.
        'أ' | 'إ' | 'آ' | 'ٱ' => ("ا", ""),
        'ى' | 'ی' => ("ي", ""),
        'ک' => ("ك", ""),
        'ة' | 'ہ' | 'ۀ' => ("ه", ""),
        _ => return None,
    })
}

/// Decimal digits of scripts other than ours.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '\u{0660}'..='\u{0669}' => 0x660,
        '\u{06f0}'..='\u{06f9}' => 0x6f0,
        '\u{0966}'..='\u{096f}' => 0x966,
        '\u{09e6}'..='\u{09ef}' => 0x9e6,
        '\u{0e50}'..='\u{0e59}' => 0xe50,
        _ => return None,
    };
    char::from_digit(c as u32 - zero, 10)
}

fn compute(c: char) -> Folded {
    let none = ['\0'; 3];
    let simple = |class| Folded { class, letters: none, spelled: ['\0'; 2] };
    if is_skipped(c) {
        return simple(Class::Skip);
    }
    if is_symbol(c) {
        return simple(Class::Symbol);
    }
    if is_gram(c) {
        return Folded { class: Class::Gram, letters: [c, '\0', '\0'], spelled: ['\0'; 2] };
    }
    if let Some(digit) = digit(c) {
        return Folded { class: Class::Letter, letters: [digit, '\0', '\0'], spelled: ['\0'; 2] };
    }
    if !c.is_alphanumeric() && !is_combining_mark(c) {
        return simple(Class::Break);
    }
    let mut letters = none;
    let mut spelled = ['\0'; 2];
    let mut count = 0;
    let mut put = |c: char| {
        if count < letters.len() && c != '\0' {
            letters[count] = c;
            count += 1;
        }
    };
    for lower in c.to_lowercase() {
        if let Some((plain, other)) = special(lower) {
            plain.chars().for_each(&mut put);
            for (slot, c) in spelled.iter_mut().zip(other.chars()) {
                *slot = c;
            }
            continue;
        }
        decompose_canonical(lower, |part| {
            if !is_skipped(part) {
                // `ǿ` is `ø` with an accent, and so on.
                match special(part) {
                    Some((plain, _)) => plain.chars().for_each(&mut put),
                    None => put(part),
                }
            }
        });
    }
    if letters[0] == '\0' {
        return simple(Class::Skip);
    }
    Folded { class: Class::Letter, letters, spelled }
}

/// NFKC of a character and its marks; at most 32 characters are looked at, which is more than any language stacks.
pub(super) fn normalised(cluster: &str) -> impl Iterator<Item = char> {
    cluster.chars().take(32).nfkc()
}
