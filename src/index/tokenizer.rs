//! Our analysis as the engine calls it.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::analysis;

/// Name under which the index knows the analysis.
pub(super) const NAME: &str = "greffier";

/// Cuts text with [`analysis::tokens`].
#[derive(Clone, Default)]
pub(super) struct Analysis {
    tokens: Vec<Token>,
    used: usize,
}

impl Tokenizer for Analysis {
    type TokenStream<'a> = Tokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens<'a> {
        self.used = 0;
        analysis::tokens(text, &mut |found| {
            if self.used == self.tokens.len() {
                self.tokens.push(Token::default());
            }
            let token = &mut self.tokens[self.used];
            token.text.clear();
            token.text.push_str(found.text);
            token.position = found.position as usize;
            token.offset_from = found.from;
            token.offset_to = found.to;
            self.used += 1;
        });
        Tokens { tokens: &mut self.tokens[..self.used], next: 0 }
    }
}

/// The tokens of one text; their memory is used again for the next.
pub(super) struct Tokens<'a> {
    tokens: &'a mut [Token],
    next: usize,
}

impl TokenStream for Tokens<'_> {
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
