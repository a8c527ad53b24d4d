//! What the pool knows to be true: said, joined, left, delivered. Tests compare an archive with it.

use std::collections::BTreeMap;

/// What became of an incoming message on its way to the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The entry is not something to deliver.
    NotApplicable,
    /// The recorder was not connected to messaging (or not there at all) when it was said.
    NotOffered,
    /// Waits in the channel.
    Queued,
    /// Written whole into an answer of the channel.
    Fetched,
    /// The recorder asked for the batch after it.
    Acknowledged,
    /// Not fetched in time, or the application ended before: the sender was told that it was not delivered.
    Undelivered,
}

/// What an entry says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Somebody said something.
    Said,
    /// The recorder said something.
    RecorderSaid,
    /// The recorder was invited.
    Invited,
    /// The invitation ended; `detail` says how.
    InvitationEnded,
    /// The recorder came into a conversation.
    RecorderJoined,
    /// The recorder left or was put out; `detail` says why.
    RecorderLeft,
    /// The recorder's messaging became connected.
    MessagingConnected,
    /// It ceased to be.
    MessagingLost,
    /// Somebody came.
    Joined,
    /// Somebody left.
    Left,
    /// A role, lobby, modality, subject or typing change; `detail` says which.
    Changed,
    /// The conversation is over for everybody.
    Ended,
    /// Something was broken on purpose, or the pool took itself away.
    Fault,
}

/// One line of the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Milliseconds since the pool started.
    pub at_ms: u64,
    /// What happened.
    pub happened: Happened,
    /// The scenario's name of the conversation; empty if none.
    pub talk: String,
    /// Href of the conversation as the recorder sees it; empty while it sees none.
    pub conversation: String,
    /// Address (`sip:…`) of who did it; empty if nobody.
    pub who: String,
    /// Plain text of a message, without the line break that the wire adds.
    pub text: Option<String>,
    /// HTML of a message.
    pub html: Option<String>,
    /// The server's time stamp of a message, milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// Href of the message.
    pub href: String,
    /// What became of it.
    pub fate: Fate,
    /// More in words.
    pub detail: String,
}

impl Entry {
    /// Whether the recorder has got the message through the channel.
    pub fn fetched(&self) -> bool {
        matches!(self.fate, Fate::Fetched | Fate::Acknowledged)
    }

    /// Whether the recorder has confirmed it by asking for the next batch.
    pub fn acknowledged(&self) -> bool {
        self.fate == Fate::Acknowledged
    }
}

/// Everything the pool considers to have happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The lines, oldest first.
    pub entries: Vec<Entry>,
    /// What the client did that the protocol's documents forbid or advise against, in plain words.
    pub complaints: Vec<String>,
    /// Token requests with user name and password that were refused.
    pub refused_passwords: u32,
    /// Tickets issued, by origin.
    pub tickets: BTreeMap<String, u32>,
    /// Applications created.
    pub applications: u32,
    /// POSTs to addMessaging, whatever the answer.
    pub add_messaging: u32,
    /// Those answered 409.
    pub conflicts: u32,
    /// Answers given on the event channel.
    pub batches: u64,
}

impl Ledger {
    /// Everything said by people, in order.
    pub fn said(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.happened == Happened::Said)
    }

    /// Everything said in one conversation of the scenario.
    pub fn said_in<'a>(&'a self, talk: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.said().filter(move |e| e.talk == talk)
    }

    /// Messages that the recorder has acknowledged: each must be in the archive, exactly once.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Entry> {
        self.said().filter(|e| e.acknowledged())
    }

    /// How often something happened.
    pub fn count(&self, happened: Happened) -> usize {
        self.entries.iter().filter(|e| e.happened == happened).count()
    }
}
