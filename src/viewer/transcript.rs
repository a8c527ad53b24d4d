//! A conversation as people read it: from events to what a page shows, without HTTP.
//!
//! [`page`] groups events by day and sender, puts what later became of a message under it ([`message`]), tells everything
//! else in quiet [`mod@line`]s and leaves gaps unmissable. Text of strangers becomes [`said`] pieces that the templates escape;
//! nothing here makes markup except [`formatted`], which makes it safe.
//!
//! Every event of a page appears exactly once: as a message, a line or a gap of its own, or, if it changes a message of the
//! same page, under that message.

pub mod ask;
pub mod attendance;
pub mod coverage;
pub mod formatted;
pub mod line;
pub mod message;
pub mod page;
pub mod said;
pub mod who;

pub use page::{Context, Setting, Target, days};
