//! Exports, read back by readers of other hands and compared with the archive.

mod review;
