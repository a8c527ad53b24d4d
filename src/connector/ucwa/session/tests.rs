//! Transcripts of the session: what the server does on the left, what the recorder does and records on the right.

mod flows;
mod outages;
mod people;
mod random;
mod rig;
