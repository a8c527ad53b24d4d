//! The fonts that are shipped, and which characters they cover.
//!
//! A page must look the same on each machine, and the same log must give the same bytes: no font of the system is used.
//! The files lie compressed in `fonts/`, with their origin and licences (`fonts/README.md`), and are unpacked once in the
//! life of the process (about 16 MB).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parley::fontique::{Blob, Collection, CollectionOptions, FontInfo, FontInfoOverride};
use parley::{FontContext, FontFamily, FontFamilyName, FontWeight};

use super::PdfError;

macro_rules! shipped {
    ($($family:literal, $weight:expr, $file:literal;)*) => {
        &[$(Shipped { family: $family, weight: $weight, packed: include_bytes!(concat!("fonts/", $file, ".ttf.zst")) }),*]
    };
}

struct Shipped {
    family: &'static str,
    weight: f32,
    packed: &'static [u8],
}

/// In the order in which they are asked for a character. The first two are the body of each page; emoji come before the
/// symbols that some of the same characters have elsewhere, and the fonts for many scripts come last.
static SHIPPED: &[Shipped] = shipped! {
    "sans", 400.0, "NotoSans-Regular";
    "sans", 700.0, "NotoSans-Bold";
    "arabic", 400.0, "NotoSansArabic-Regular";
    "hebrew", 400.0, "NotoSansHebrew-Regular";
    "thai", 400.0, "NotoSansThai-Regular";
    "devanagari", 400.0, "NotoSansDevanagari-Regular";
    "bengali", 400.0, "NotoSansBengali-Regular";
    "tamil", 400.0, "NotoSansTamil-Regular";
    "telugu", 400.0, "NotoSansTelugu-Regular";
    "gujarati", 400.0, "NotoSansGujarati-Regular";
    "gurmukhi", 400.0, "NotoSansGurmukhi-Regular";
    "kannada", 400.0, "NotoSansKannada-Regular";
    "malayalam", 400.0, "NotoSansMalayalam-Regular";
    "sinhala", 400.0, "NotoSansSinhala-Regular";
    "khmer", 400.0, "NotoSansKhmer-Regular";
    "lao", 400.0, "NotoSansLao-Regular";
    "myanmar", 400.0, "NotoSansMyanmar-Regular";
    "georgian", 400.0, "NotoSansGeorgian-Regular";
    "armenian", 400.0, "NotoSansArmenian-Regular";
    "ethiopic", 400.0, "NotoSansEthiopic-Regular";
    "emoji", 400.0, "NotoEmoji-Regular";
    "symbols", 400.0, "NotoSansSymbols-Regular";
    "symbols 2", 400.0, "NotoSansSymbols2-Regular";
    "dejavu", 400.0, "DejaVuSans";
    "math", 400.0, "NotoSansMath-Regular";
    "han", 400.0, "DroidSansFallbackFull";
    "hangul", 400.0, "NanumGothicCoding";
};

/// Which fonts a text needs: the fewer are asked, the sooner each character has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Only the font of the body.
    #[default]
    Body,
    /// All of them.
    All,
    /// All of them, and much of the text is Chinese, Japanese or Korean.
    Han,
}

type Unpacked = Vec<Arc<Vec<u8>>>;

/// The bytes of each font, unpacked once.
fn unpacked() -> Result<&'static Unpacked, PdfError> {
    static UNPACKED: OnceLock<Result<Unpacked, String>> = OnceLock::new();
    let all = UNPACKED.get_or_init(|| {
        let unpack = |font: &Shipped| zstd::decode_all(font.packed).map(Arc::new).map_err(|error| error.to_string());
        SHIPPED.iter().map(unpack).collect()
    });
    all.as_ref().map_err(|problem| PdfError::Font { problem: problem.clone() })
}

/// The shipped fonts, ready for layout and for the file.
pub(super) struct Fonts {
    /// For the layout.
    pub(super) context: FontContext,
    /// For the file, in the order of [`SHIPPED`].
    pub(super) files: Vec<krilla::text::Font>,
    infos: Vec<(FontInfo, Arc<Vec<u8>>)>,
    by_blob: HashMap<u64, u8>,
    /// The families to ask, in this order: one list for each [`Need`].
    pub(super) stacks: [FontFamily<'static>; 3],
    /// For 256 characters each: in the font of the body, in any font.
    known: HashMap<u32, [[u64; 4]; 2]>,
}

impl Fonts {
    /// Makes them ready.
    ///
    /// # Errors
    /// [`PdfError::Font`] if a shipped file is broken.
    pub(super) fn new() -> Result<Fonts, PdfError> {
        let broken = |problem: &str| PdfError::Font { problem: problem.to_owned() };
        let mut context = FontContext {
            collection: Collection::new(CollectionOptions { shared: false, system_fonts: false }),
            ..FontContext::default()
        };
        let (mut files, mut infos, mut by_blob) = (Vec::new(), Vec::new(), HashMap::new());
        for (at, (font, bytes)) in SHIPPED.iter().zip(unpacked()?).enumerate() {
            let blob = Blob::new(bytes.clone());
            by_blob.insert(blob.id(), u8::try_from(at).unwrap_or(0));
            let named = FontInfoOverride {
                family_name: Some(font.family),
                weight: Some(FontWeight::new(font.weight)),
                ..FontInfoOverride::default()
            };
            let registered = context.collection.register_fonts(blob, Some(named));
            let info = registered.first().and_then(|(_, fonts)| fonts.first()).cloned();
            infos.push((info.ok_or_else(|| broken("it holds no font"))?, bytes.clone()));
            let file = krilla::text::Font::new(bytes.clone().into(), 0);
            files.push(file.ok_or_else(|| broken("it cannot be embedded"))?);
        }
        let name = |family: &'static str| FontFamilyName::Named(family.into());
        let all: Vec<_> = SHIPPED.iter().skip(1).map(|font| name(font.family)).collect();
        let han: Vec<_> = [name("sans"), name("han")].into_iter().chain(all.iter().skip(1).cloned()).collect();
        let stacks = [FontFamily::Single(name("sans")), FontFamily::List(all.into()), FontFamily::List(han.into())];
        Ok(Fonts { context, files, infos, by_blob, stacks, known: HashMap::new() })
    }

    /// The place in [`Fonts::files`] of the font that a run was shaped with.
    pub(super) fn of_blob(&self, id: u64) -> u8 {
        self.by_blob.get(&id).copied().unwrap_or(0)
    }

    /// Which fonts a character needs; `None` if no font has it.
    ///
    /// Private characters mean what two parties agreed upon: what a font of ours drew would be a guess.
    pub(super) fn need_of(&mut self, c: char) -> Option<Need> {
        let code = u32::from(c);
        if c.is_ascii_graphic() || c == ' ' {
            return Some(Need::Body);
        }
        if matches!(code, 0xe000..=0xf8ff | 0xf_0000..) {
            return None;
        }
        let infos = &self.infos;
        let [body, any] = self.known.entry(code >> 8).or_insert_with(|| covered(infos, code >> 8));
        let (word, bit) = ((code & 0xff) as usize / 64, code & 63);
        let has = |map: &[u64; 4]| map[word] >> bit & 1 == 1;
        if has(body) {
            Some(Need::Body)
        } else if has(any) {
            let han =
                matches!(code, 0x1100..=0x11ff | 0x2e80..=0xa4cf | 0xac00..=0xd7ff | 0xf900..=0xfaff | 0xff00..=0xffef);
            Some(if han { Need::Han } else { Need::All })
        } else {
            None
        }
    }
}

/// Which of 256 characters the font of the body has, and which any font.
fn covered(fonts: &[(FontInfo, Arc<Vec<u8>>)], page: u32) -> [[u64; 4]; 2] {
    let mut maps = [[0; 4]; 2];
    for (at, (info, bytes)) in fonts.iter().enumerate() {
        let Some(charmap) = info.charmap_index().charmap(bytes) else { continue };
        for low in 0..256_u32 {
            if charmap.map(page << 8 | low).is_some_and(|glyph| glyph != 0) {
                let (word, bit) = (low as usize / 64, 1 << (low & 63));
                maps[1][word] |= bit;
                if at == 0 {
                    maps[0][word] |= bit;
                }
            }
        }
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_that_are_promised_are_covered() {
        let mut fonts = Fonts::new().unwrap();
        let promised = "Grüße Ελληνικά Русский العربية עברית ภาษาไทย हिन्दी বাংলা தமிழ் తెలుగు ગુજરાતી ਪੰਜਾਬੀ ಕನ್ನಡ മലയാളം සිංහල \
            ភាសាខ្មែរ ລາວ မြန်မာ ქართული հայերեն አማርኛ 漢字简体繁體 ひらがな カタカナ 한국어 ｆｕｌｌ 、。「」 👍😀🎉❤✅⚠ 𝐁𝑜𝔩𝕕 ♔♬→≈∑█";
        for c in promised.chars() {
            assert!(fonts.need_of(c).is_some(), "{c} U+{:04X}", u32::from(c));
        }
        assert_eq!(fonts.need_of('é'), Some(Need::Body));
        assert_eq!(fonts.need_of('漢'), Some(Need::Han));
        assert_eq!(fonts.need_of('ไ'), Some(Need::All));
    }

    #[test]
    fn what_no_font_has_is_known_as_such() {
        let mut fonts = Fonts::new().unwrap();
        for c in ['\u{e000}', '\u{f_0000}', '\u{378}', '\u{1f0ff}', '\u{12000}', '\u{ffff}'] {
            assert_eq!(fonts.need_of(c), None, "U+{:04X}", u32::from(c));
        }
    }
}
