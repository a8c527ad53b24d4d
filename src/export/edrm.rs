//! EDRM XML 1.2: a document for each slice, with an RSMF native and its text.

use super::natives::{self, Sum, again, custodian, id_of, people};
use super::slice::people::{mailbox, short};
use super::slice::plain::local;
use super::slice::{Room, Slice};
use super::xml::Xml;
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written, rsmf};
use crate::harmless::one_line;

/// The format `edrm`.
pub struct Edrm;

/// Name, data type and key of our fields.
const FIELDS: [(&str, &str, &str); 15] = [
    ("Custodian name", "Text", "CustodianName"),
    ("Conversation ID", "Text", "ConversationId"),
    ("Conversation name", "Text", "ConversationName"),
    ("Platform", "Text", "Platform"),
    ("Participants", "LongText", "Participants"),
    ("Day", "Text", "Day"),
    ("Time zone of the day", "Text", "TimeZone"),
    ("Part", "Integer", "Part"),
    ("Parts", "Integer", "Parts"),
    ("Event count", "LongInteger", "EventCount"),
    ("First event", "DateTime", "FirstEvent"),
    ("Last event", "DateTime", "LastEvent"),
    ("Record of the whole conversation", "LongText", "Coverage"),
    ("SHA-256 of the native", "Text", "Sha256"),
    ("SHA-256 of the text", "Text", "TextSha256"),
];

impl Format for Edrm {
    fn name(&self) -> &'static str {
        "edrm"
    }

    fn extension(&self) -> &'static str {
        "xml"
    }

    fn media_type(&self) -> &'static str {
        "application/xml; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "EDRM XML 1.2 for review platforms, with RSMF natives and text files"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        rsmf::Rsmf.left_out(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let written = natives::write(source, files, seen)?;
        files.file("edrm.xml", &mut |out| {
            let mut xml = Xml::new(out)?;
            let root = [
                ("MajorVersion", "1"),
                ("MinorVersion", "2"),
                ("Description", PROGRAM),
                ("Locale", "US"),
                ("DataInterchangeType", "Update"),
            ];
            xml.open("Root", &root)?;
            xml.open("Fields", &[])?;
            for (name, data_type, key) in FIELDS {
                xml.empty("Field", &[("Name", name), ("DataType", data_type), ("Key", key)])?;
            }
            xml.close("Fields")?;
            xml.open("Batch", &[])?;
            xml.open("Documents", &[])?;
            again(source, &written, &mut |id, document, slice| {
                let custodian = custodian(source, slice);
                xml.open("Document", &[("DocID", id), ("DocType", "Message"), ("MimeType", "message/rfc822")])?;
                values(&mut xml, slice, &custodian, document)?;
                tags(&mut xml, slice)?;
                xml.open("Files", &[])?;
                file(&mut xml, "Native", "NATIVE", &format!("{id}.rsmf"), &document.native)?;
                file(&mut xml, "Text", "TEXT", &format!("{id}.txt"), &document.text)?;
                xml.close("Files")?;
                xml.open("Locations", &[])?;
                xml.open("Location", &[])?;
                xml.leaf("Custodian", &custodian)?;
                xml.leaf("Description", &format!("{} chat", rsmf::platform(slice)))?;
                xml.leaf("LocationURI", &format!("greffier:{}", slice.room.key()))?;
                xml.close("Location")?;
                xml.close("Locations")?;
                xml.close("Document")
            })?;
            xml.close("Documents")?;
            folders(&mut xml, source, &written)?;
            xml.close("Batch")?;
            xml.close("Root")?;
            xml.finish().map(drop)
        })
    }
}

fn values(xml: &mut Xml<'_>, slice: &Slice, custodian: &str, document: &natives::Document) -> Result<(), ExportError> {
    xml.open("FieldValues", &[])?;
    let coverage = slice.room.coverage.as_ref().map(|coverage| one_line(&coverage.to_string())).unwrap_or_default();
    for (_, _, key) in FIELDS {
        let value = match key {
            "CustodianName" => custodian.to_owned(),
            "ConversationId" => slice.room.key().to_owned(),
            "ConversationName" => one_line(&slice.room.title()),
            "Platform" => rsmf::platform(slice),
            "Participants" => people(slice),
            "Day" => slice.day.date.to_string(),
            "TimeZone" => slice.zone.name().to_owned(),
            "Part" => slice.part.to_string(),
            "Parts" => slice.parts.to_string(),
            "EventCount" => slice.events.len().to_string(),
            "FirstEvent" => slice.first_at().rfc3339(),
            "LastEvent" => slice.last_at().rfc3339(),
            "Coverage" => coverage.clone(),
            "Sha256" => document.native.sha256_hex(),
            _ => document.text.sha256_hex(),
        };
        xml.leaf(key, &value)?;
    }
    xml.close("FieldValues")
}

fn tags(xml: &mut Xml<'_>, slice: &Slice) -> Result<(), ExportError> {
    let sender = slice.events.iter().find_map(|event| event.content.actor.clone());
    let from = mailbox(&sender.unwrap_or_else(|| rsmf::recorder(slice))).1;
    let to: Vec<String> = slice.acting.iter().take(500).map(|person| mailbox(person).1).collect();
    let attachments: usize = slice.events.iter().map(|event| event.content.files().len()).sum();
    xml.open("Tags", &[])?;
    for (name, value, data_type) in [
        ("#From", from, "Text"),
        ("#To", to.join(";"), "Text"),
        ("#Subject", rsmf::subject(slice), "Text"),
        ("#DateSent", slice.first_at().rfc3339(), "DateTime"),
        ("#HasAttachments", (attachments > 0).to_string(), "Boolean"),
        ("#AttachmentCount", attachments.to_string(), "LongInteger"),
        ("#Title", local(slice, slice.first_at()), "Text"),
    ] {
        xml.empty("Tag", &[("TagName", name), ("TagValue", &value), ("TagDataType", data_type)])?;
    }
    xml.close("Tags")
}

fn file(xml: &mut Xml<'_>, kind: &str, path: &str, name: &str, sum: &Sum) -> Result<(), ExportError> {
    xml.open("File", &[("FileType", kind)])?;
    let (size, hash) = (sum.bytes.to_string(), sum.md5_hex());
    let external = [("FilePath", path), ("FileName", name), ("FileSize", &size), ("Hash", &hash), ("HashType", "MD5")];
    xml.empty("ExternalFile", &external)?;
    xml.close("File")
}

/// A folder for each conversation.
fn folders(xml: &mut Xml<'_>, source: &Source<'_>, written: &natives::Written) -> Result<(), ExportError> {
    xml.open("Folders", &[])?;
    let mut place = 0;
    for (id, count) in &written.rooms {
        let room = match id {
            Some(id) => Room::of(source, id)?,
            None => Room::none(),
        };
        let name = format!("{} ({})", short(&one_line(&room.title()), 100), room.key());
        xml.open("Folder", &[("FolderName", &name)])?;
        for _ in 0..*count {
            xml.empty("Document", &[("DocId", &id_of(place))])?;
            place += 1;
        }
        xml.close("Folder")?;
    }
    xml.close("Folders")
}
