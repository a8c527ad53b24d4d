//! XML for programs that read it strictly: indented, with text that XML cannot hold replaced visibly.

use std::borrow::Cow;
use std::io::Write;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::ExportError;

/// Writes elements; counts the characters that XML cannot hold.
pub(super) struct Xml<'w> {
    writer: Writer<&'w mut dyn Write>,
    replaced: u64,
}

impl<'w> Xml<'w> {
    /// Begins a document.
    pub(super) fn new(out: &'w mut dyn Write) -> Result<Xml<'w>, ExportError> {
        let mut xml = Xml { writer: Writer::new_with_indent(out, b' ', 1), replaced: 0 };
        xml.put(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        Ok(xml)
    }

    fn put(&mut self, event: Event<'_>) -> Result<(), ExportError> {
        self.writer.write_event(event).map_err(|error| ExportError::output(std::io::Error::other(error)))
    }

    /// `<name attribute="value">`.
    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> Result<(), ExportError> {
        let start = self.start(name, attributes);
        self.put(Event::Start(start))
    }

    /// `<name attribute="value"/>`.
    pub(super) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> Result<(), ExportError> {
        let start = self.start(name, attributes);
        self.put(Event::Empty(start))
    }

    /// `</name>`.
    pub(super) fn close(&mut self, name: &str) -> Result<(), ExportError> {
        self.put(Event::End(BytesEnd::new(name)))
    }

    /// `<name>text</name>`.
    pub(super) fn leaf(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        self.put(Event::Start(BytesStart::new(name)))?;
        let text = self.fit(text).into_owned();
        self.put(Event::Text(BytesText::new(&text)))?;
        self.put(Event::End(BytesEnd::new(name)))
    }

    fn start<'n>(&mut self, name: &'n str, attributes: &[(&str, &str)]) -> BytesStart<'n> {
        let mut start = BytesStart::new(name);
        for (name, value) in attributes {
            // A reader turns line breaks and tabs in attributes into blanks; so they are told as what they are.
            let value = crate::harmless::one_line(value);
            let value = self.fit(&value).into_owned();
            start.push_attribute((*name, value.as_str()));
        }
        start
    }

    fn fit<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let (fitted, replaced) = fit(text);
        self.replaced += replaced;
        fitted
    }

    /// Ends the document; returns how many characters were replaced.
    pub(super) fn finish(mut self) -> Result<u64, ExportError> {
        self.writer.get_mut().write_all(b"\n").map_err(ExportError::output)?;
        Ok(self.replaced)
    }
}

/// Characters that XML 1.0 cannot hold, and the carriage return, which a reader would turn into a line feed.
fn is_lost(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// The text with what XML cannot hold told by number, as in `<U+0001>`, and how many characters that were.
pub(super) fn fit(text: &str) -> (Cow<'_, str>, u64) {
    if !text.contains(is_lost) {
        return (Cow::Borrowed(text), 0);
    }
    let mut replaced = 0;
    let fitted = text.chars().fold(String::with_capacity(text.len() + 16), |mut fitted, c| {
        if is_lost(c) {
            replaced += 1;
            fitted.push_str(&format!("<U+{:04X}>", u32::from(c)));
        } else {
            fitted.push(c);
        }
        fitted
    });
    (Cow::Owned(fitted), replaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quick_xml::Reader;

    fn written(text: &str, attribute: &str) -> (String, u64) {
        let mut out = Vec::new();
        let mut xml = Xml::new(&mut out).unwrap();
        xml.open("a", &[("b", attribute)]).unwrap();
        xml.leaf("c", text).unwrap();
        xml.close("a").unwrap();
        let replaced = xml.finish().unwrap();
        (String::from_utf8(out).unwrap(), replaced)
    }

    #[test]
    fn nothing_closes_what_it_should_not() {
        let (xml, replaced) = written("]]> </c><x a='&'>\u{1}\r\n\t", "\"><x>\n");
        assert_eq!(replaced, 2);
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a b=\"&quot;&gt;&lt;x&gt;&lt;U+000A&gt;\">\n <c>]]&gt; &lt;/c&gt;&lt;x \
             a=&apos;&amp;&apos;&gt;&lt;U+0001&gt;&lt;U+000D&gt;\n\t</c>\n</a>\n"
        );
    }

    proptest! {
        #[test]
        fn text_reads_back_as_it_was_but_for_what_xml_cannot_hold(text in any::<String>()) {
            let (xml, _) = written(&text, &text);
            let mut reader = Reader::from_str(&xml);
            let (mut read, mut inside) = (String::new(), false);
            loop {
                match reader.read_event().unwrap() {
                    Event::Start(start) => inside = start.name().as_ref() == "c",
                    Event::End(_) => inside = false,
                    Event::Text(part) if inside => read.push_str(&part),
                    Event::GeneralRef(entity) if inside => {
                        read.push_str(match &*entity {
                            "lt" => "<", "gt" => ">", "amp" => "&", "quot" => "\"", "apos" => "'",
                            other => panic!("{other}"),
                        });
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            prop_assert_eq!(read, fit(&text).0);
        }
    }
}
