//! Concordance DAT and Opticon OPT load files: a row for each slice, with an RSMF native, its text, and a page that stands
//! for it where a platform wants images.

use std::io::{self, Write};

use super::natives::{self, again, custodian, id_of, people, slipsheet};
use super::slice::Slice;
use super::slice::people::mailbox;
use super::{Container, ExportError, Files, Format, LeftOut, Seen, Source, Written, rsmf};
use crate::harmless::one_line;
use chrono::TimeZone;

/// The format `dat`.
pub struct LoadFile;

/// Between fields.
const FIELD: char = '\u{14}';
/// Around each value.
const QUOTE: char = '\u{fe}';
/// For a line break within a value.
const BREAK: char = '\u{ae}';

const COLUMNS: [&str; 26] = [
    "BEGDOC",
    "ENDDOC",
    "BEGATTACH",
    "ENDATTACH",
    "PARENTDOCID",
    "CUSTODIAN",
    "DOCTYPE",
    "CONVERSATIONID",
    "CONVERSATIONNAME",
    "PLATFORM",
    "PARTICIPANTS",
    "FROM",
    "TO",
    "DATESENT",
    "TIMESENT",
    "TIMEZONE",
    "EVENTCOUNT",
    "FILENAME",
    "FILEEXT",
    "FILESIZE",
    "MD5HASH",
    "SHA256HASH",
    "NATIVELINK",
    "TEXTLINK",
    "PART",
    "COVERAGE",
];

impl Format for LoadFile {
    fn name(&self) -> &'static str {
        "dat"
    }

    fn extension(&self) -> &'static str {
        "dat"
    }

    fn media_type(&self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "Concordance DAT and Opticon OPT load files, with RSMF natives and text files"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        rsmf::Rsmf.left_out(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let written = natives::write(source, files, seen)?;
        for place in 0..written.documents.len() {
            let id = id_of(place);
            files.file(&format!("IMAGES/{id}.tif"), &mut |out| {
                out.write_all(&slipsheet::tiff(&id)).map_err(ExportError::output)
            })?;
        }
        files.file("loadfile.dat", &mut |out| {
            let io = ExportError::output;
            out.write_all("\u{feff}".as_bytes()).map_err(io)?;
            row(out, &COLUMNS.map(str::to_owned)).map_err(io)?;
            again(source, &written, &mut |id, document, slice| {
                row(out, &values(id, document, slice, &custodian(source, slice))).map_err(io)
            })
        })?;
        files.file("loadfile.opt", &mut |out| {
            (0..written.documents.len()).map(id_of).try_for_each(|id| {
                write!(out, "{id},VOL001,.\\IMAGES\\{id}.tif,Y,,,1\r\n").map_err(ExportError::output)
            })
        })
    }
}

fn values(id: &str, document: &natives::Document, slice: &Slice, custodian: &str) -> [String; 26] {
    let sender = slice.events.iter().find_map(|event| event.content.actor.clone());
    let from = mailbox(&sender.unwrap_or_else(|| rsmf::recorder(slice))).1;
    let to: Vec<String> = slice.acting.iter().take(500).map(|person| mailbox(person).1).collect();
    let sent = slice.zone.from_utc_datetime(&slice.first_at().to_chrono().naive_utc());
    let coverage = slice.room.coverage.as_ref().map(|coverage| one_line(&coverage.to_string())).unwrap_or_default();
    [
        id.into(),
        id.into(),
        String::new(),
        String::new(),
        String::new(),
        custodian.into(),
        "Chat".into(),
        slice.room.key().into(),
        slice.room.title(),
        rsmf::platform(slice),
        people(slice),
        from,
        to.join(";"),
        sent.format("%m/%d/%Y").to_string(),
        sent.format("%H:%M:%S").to_string(),
        slice.zone.name().into(),
        slice.events.len().to_string(),
        format!("{id}.rsmf"),
        "rsmf".into(),
        document.native.bytes.to_string(),
        document.native.md5_hex(),
        document.native.sha256_hex(),
        format!(".\\NATIVE\\{id}.rsmf"),
        format!(".\\TEXT\\{id}.txt"),
        format!("{} of {}", slice.part, slice.parts),
        coverage,
    ]
}

fn row(out: &mut dyn Write, values: &[String]) -> io::Result<()> {
    let mut line = String::new();
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            line.push(FIELD);
        }
        line.push(QUOTE);
        line.push_str(&fit(value));
        line.push(QUOTE);
    }
    line.push_str("\r\n");
    out.write_all(line.as_bytes())
}

/// The value with its line breaks as the format writes them; what means something else to it is told by number.
fn fit(value: &str) -> String {
    let mut fitted = String::with_capacity(value.len());
    for (n, line) in value.lines().enumerate() {
        if n > 0 {
            fitted.push(BREAK);
        }
        for c in one_line(line).chars() {
            match c {
                FIELD | QUOTE | BREAK => fitted.push_str(&format!("<U+{:04X}>", u32::from(c))),
                c => fitted.push(c),
            }
        }
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_cannot_become_fields() {
        assert_eq!(fit("a\u{14}b\u{fe}c\u{ae}d\r\ne\nf\u{1b}"), "a<U+0014>b<U+00FE>c<U+00AE>d\u{ae}e\u{ae}f<U+001B>");
    }

    proptest! {
        #[test]
        fn rows_have_as_many_fields_as_values(values in prop::collection::vec(any::<String>(), 1..6)) {
            let mut out = Vec::new();
            row(&mut out, &values).unwrap();
            let text = String::from_utf8(out).unwrap();
            let line = text.strip_suffix("\r\n").unwrap();
            prop_assert!(!line.contains(['\r', '\n']));
            prop_assert_eq!(line.split(FIELD).count(), values.len());
            prop_assert_eq!(line.matches(QUOTE).count(), 2 * values.len());
        }
    }
}
