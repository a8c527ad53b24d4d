//! What we are measured against: the bare engine, and SQLite's own full text search.

use std::path::Path;
use std::time::Instant;

use greffier::archive::Reader;
use greffier::index::Sort;
use greffier::index::analysis;
use greffier::model::Seq;
use rusqlite::Connection;
use tantivy::collector::TopDocs;
use tantivy::columnar::Column;
use tantivy::query::{BooleanQuery, Occur, PhrasePrefixQuery, PhraseQuery, Query, RangeQuery, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::snippet::SnippetGenerator;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use tantivy::{DocAddress, Index, IndexWriter, Order, Searcher, TantivyDocument, Term};

use crate::{Asked, Shown, TOP};

/// tantivy as its documentation shows it, over our analysis (its own cuts no Chinese), text fetched from SQLite.
pub struct Bare {
    index: Index,
    searcher: Searcher,
    ids: Vec<Column<u64>>,
    text: Field,
    sender: Field,
    time: Field,
    archive: Connection,
    pub made: String,
}

#[derive(Clone, Default)]
struct Analysis {
    tokens: Vec<Token>,
    next: usize,
}

impl Tokenizer for Analysis {
    type TokenStream<'a> = &'a mut Analysis;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> &'a mut Analysis {
        self.tokens.clear();
        self.next = 0;
        analysis::tokens(text, &mut |found| {
            self.tokens.push(Token {
                offset_from: found.from,
                offset_to: found.to,
                position: found.position as usize,
                text: found.text.to_owned(),
                position_length: 1,
            });
        });
        self
    }
}

impl TokenStream for &mut Analysis {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

impl Bare {
    pub fn open(dir: &Path, reader: &Reader) -> Bare {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("ours")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let sender = schema.add_text_field("sender", STRING);
        let id = schema.add_u64_field("id", FAST);
        let time = schema.add_i64_field("time", FAST | INDEXED);
        let made;
        let index = if dir.exists() {
            made = "from an earlier run".to_owned();
            let index = Index::open_in_dir(dir).expect("index");
            index.tokenizers().register("ours", Analysis::default());
            index
        } else {
            std::fs::create_dir_all(dir).expect("directory");
            let index = Index::create_in_dir(dir, schema.build()).expect("index");
            index.tokenizers().register("ours", Analysis::default());
            let start = Instant::now();
            let mut writer: IndexWriter = index.writer_with_num_threads(2, 100_000_000).expect("writer");
            let mut count = 0;
            for event in reader.log_between(None, None) {
                let event = event.expect("event");
                let message = event.content.message.expect("message");
                let mut document = TantivyDocument::default();
                document.add_text(text, message.text);
                document.add_text(sender, event.content.actor.expect("actor").id);
                document.add_u64(id, event.seq.0);
                document.add_i64(time, event.source_time.expect("time").micros());
                writer.add_document(document).expect("add");
                count += 1;
            }
            writer.commit().expect("commit");
            writer.wait_merging_threads().expect("merges");
            let took = start.elapsed().as_secs_f64();
            let size = crate::size_of(dir) as f64 / 1e6;
            made = format!(
                "{count} messages in {took:.2} s = {:.0}/s with events read as we read them; {size:.1} MB",
                f64::from(count) / took
            );
            index
        };
        let searcher = index.reader().expect("reader").searcher();
        let ids =
            searcher.segment_readers().iter().map(|segment| segment.fast_fields().u64("id").expect("ids")).collect();
        let archive = Connection::open(reader.path()).expect("archive");
        Bare { index, searcher, ids, text, sender, time, archive, made }
    }

    fn tokens(&self, text: &str) -> Vec<Term> {
        let slots = analysis::pattern(&greffier::index::query::Words::Phrase(text.to_owned())).slots;
        slots.iter().map(|slot| Term::from_field_text(self.text, &slot.any[0])).collect()
    }

    fn query(&self, asked: &Asked) -> Box<dyn Query> {
        let word = |term: Term| -> Box<dyn Query> { Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) };
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        match asked.kind.as_str() {
            "prefix" => {
                let term = Term::from_field_text(self.text, &asked.terms[0]);
                clauses.push((Occur::Must, Box::new(PhrasePrefixQuery::new(vec![term]))));
            }
            "phrase" | "zh" => {
                let mut terms = self.tokens(&asked.terms.join(" "));
                let query = if terms.len() == 1 { word(terms.remove(0)) } else { Box::new(PhraseQuery::new(terms)) };
                clauses.push((Occur::Must, query));
            }
            _ => {
                let terms = asked.terms.iter().flat_map(|term| self.tokens(term));
                clauses.extend(terms.map(|term| (Occur::Must, word(term))));
            }
        }
        if let Some(sender) = &asked.sender {
            let term = Term::from_field_text(self.sender, &format!("sip:{sender}@contoso.com"));
            clauses.push((Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
        }
        if let (Some(from), Some(to)) = (&asked.from, &asked.to) {
            use std::ops::Bound;
            let at = |day: &str| {
                let text = format!("{day}T00:00:00Z");
                let micros = greffier::model::Timestamp::parse_rfc3339(&text).expect("date").micros();
                Term::from_field_i64(self.time, micros)
            };
            let range = RangeQuery::new(Bound::Included(at(from)), Bound::Excluded(at(to)));
            clauses.push((Occur::Must, Box::new(range)));
        }
        if clauses.len() == 1 { clauses.remove(0).1 } else { Box::new(BooleanQuery::new(clauses)) }
    }

    pub fn search(&self, asked: &Asked, sort: Sort, snippets: bool) -> Shown {
        let query = self.query(asked);
        let by_time = |order| -> Vec<DocAddress> {
            let collector = TopDocs::with_limit(TOP).order_by_fast_field::<i64>("time", order);
            self.searcher.search(&query, &collector).expect("search").into_iter().map(|(_, doc)| doc).collect()
        };
        let docs: Vec<DocAddress> = match sort {
            Sort::Relevance => {
                let found = self.searcher.search(&query, &TopDocs::with_limit(TOP).order_by_score()).expect("search");
                found.into_iter().map(|(_, doc)| doc).collect()
            }
            Sort::Newest => by_time(Order::Desc),
            Sort::Oldest => by_time(Order::Asc),
        };
        let generator = snippets.then(|| {
            let mut generator = SnippetGenerator::create(&self.searcher, &query, self.text).expect("snippets");
            generator.set_max_num_chars(200);
            generator
        });
        let mut bytes = 0;
        for doc in &docs {
            let id = self.ids[doc.segment_ord as usize].first(doc.doc_id).expect("id");
            let text = self.text_of(Seq(id));
            bytes += match &generator {
                Some(generator) => generator.snippet(&text).to_html().len(),
                None => text.len(),
            };
        }
        Shown { hits: docs.len(), bytes }
    }

    fn text_of(&self, seq: Seq) -> String {
        let mut statement = self
            .archive
            .prepare_cached("SELECT canonical ->> '$.message.text' FROM content WHERE seq = ?1")
            .expect("prepare");
        statement.query_row([seq.0 as i64], |row| row.get(0)).expect("text")
    }

    #[allow(dead_code, reason = "keeps the directory open")]
    fn index(&self) -> &Index {
        &self.index
    }
}

/// FTS5 with its `unicode61`, text in a table beside it.
pub struct Fts(Connection);

impl Fts {
    pub fn open(path: &Path, reader: &Reader) -> Fts {
        let exists = path.exists();
        let mut conn = Connection::open(path).expect("open");
        if !exists {
            conn.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
                 CREATE TABLE message (id INTEGER PRIMARY KEY, sender TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL);
                 CREATE VIRTUAL TABLE words USING fts5 (text, content = 'message', content_rowid = 'id', tokenize = 'unicode61');",
            )
            .expect("schema");
            let tx = conn.transaction().expect("begin");
            {
                let mut message = tx.prepare("INSERT INTO message VALUES (?1, ?2, ?3, ?4)").expect("prepare");
                let mut words = tx.prepare("INSERT INTO words (rowid, text) VALUES (?1, ?2)").expect("prepare");
                for event in reader.log_between(None, None) {
                    let event = event.expect("event");
                    let text = event.content.message.expect("message").text;
                    let sender = event.content.actor.expect("actor").id;
                    let at = event.source_time.expect("time").micros();
                    message.execute((event.seq.0 as i64, sender, at, &text)).expect("insert");
                    words.execute((event.seq.0 as i64, &text)).expect("insert");
                }
            }
            tx.commit().expect("commit");
            conn.execute("INSERT INTO words (words) VALUES ('optimize')", []).expect("optimize");
        }
        Fts(conn)
    }

    pub fn search(&self, asked: &Asked, sort: Sort) -> Shown {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let text = match asked.kind.as_str() {
            "prefix" => format!("{} *", quoted(&asked.terms[0])),
            "phrase" => quoted(&asked.terms.join(" ")),
            _ => asked.terms.iter().map(|term| quoted(term)).collect::<Vec<_>>().join(" "),
        };
        let order = if sort == Sort::Relevance { "w.rank" } else { "w.rowid DESC" };
        let mut condition = String::new();
        if let Some(sender) = &asked.sender {
            condition.push_str(&format!(" AND m.sender = 'sip:{sender}@contoso.com'"));
        }
        if let (Some(from), Some(to)) = (&asked.from, &asked.to) {
            let at = |day: &str| {
                greffier::model::Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z")).expect("date").micros()
            };
            condition.push_str(&format!(" AND m.at >= {} AND m.at < {}", at(from), at(to)));
        }
        let join = if condition.is_empty() { "" } else { "JOIN message m ON m.id = w.rowid" };
        let sql = format!(
            "SELECT w.rowid, snippet(words, 0, '<mark>', '</mark>', '…', 32) FROM words w {join}
             WHERE words MATCH ?1{condition} ORDER BY {order} LIMIT {TOP}"
        );
        let mut statement = self.0.prepare_cached(&sql).expect("prepare");
        let rows = statement.query_map([text], |row| row.get::<_, String>(1)).expect("query");
        let rows: Vec<String> = rows.map(|row| row.expect("row")).collect();
        Shown { hits: rows.len(), bytes: rows.iter().map(String::len).sum() }
    }
}
