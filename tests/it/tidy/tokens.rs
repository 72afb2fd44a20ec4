//! Rust source as words and signs, without comments and literals: enough to look for what a rule forbids.

/// A word (identifier or keyword) or one sign, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The tokens of `source`. Comments, strings and characters are left out; numbers are words.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut scanner = Scanner {
        rest: source.chars().collect(),
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while scanner.at < scanner.rest.len() {
        scanner.step();
    }
    scanner.found
}

/// The tokens up to the unit tests at the end of the file.
pub(super) fn without_tests(mut tokens: Vec<Token>) -> Vec<Token> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    if let Some(start) = positions(&tokens, &marker).first() {
        tokens.truncate(*start);
    }
    tokens
}

/// Where `pattern` begins.
pub(super) fn positions(tokens: &[Token], pattern: &[&str]) -> Vec<usize> {
    let fits = |start: &usize| {
        let window = tokens[*start..].iter().take(pattern.len());
        window.clone().count() == pattern.len()
            && window.zip(pattern).all(|(token, word)| token.text == *word)
    };
    (0..tokens.len()).filter(fits).collect()
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip(&mut self) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_while(&mut self, holds: impl Fn(&Self) -> bool) {
        while self.at < self.rest.len() && holds(self) {
            self.skip();
        }
    }

    fn step(&mut self) {
        let sign = self.peek(0);
        match sign {
            '/' if self.peek(1) == '/' => self.skip_while(|s| s.peek(0) != '\n'),
            '/' if self.peek(1) == '*' => {
                self.skip_while(|s| (s.peek(0), s.peek(1)) != ('*', '/'));
                self.at += 2;
            }
            '"' => self.string(),
            'r' if matches!(self.peek(1), '"' | '#') && self.is_raw_string() => self.raw_string(),
            '\'' => self.character(),
            _ if sign.is_alphanumeric() || sign == '_' => self.word(),
            _ if sign.is_whitespace() => self.skip(),
            _ => {
                self.push(sign.to_string());
                self.skip();
            }
        }
    }

    fn push(&mut self, text: String) {
        let line = self.line;
        self.found.push(Token { line, text });
    }

    fn word(&mut self) {
        let start = self.at;
        self.skip_while(|s| s.peek(0).is_alphanumeric() || s.peek(0) == '_');
        self.push(self.rest[start..self.at].iter().collect());
    }

    fn string(&mut self) {
        self.skip();
        while self.at < self.rest.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.skip();
            }
            self.skip();
        }
        self.skip();
    }

    fn is_raw_string(&self) -> bool {
        let mut ahead = 1;
        while self.peek(ahead) == '#' {
            ahead += 1;
        }
        self.peek(ahead) == '"'
    }

    fn raw_string(&mut self) {
        self.skip();
        let start = self.at;
        self.skip_while(|s| s.peek(0) == '#');
        let marks = self.at - start;
        self.skip();
        self.skip_while(|s| !(s.peek(0) == '"' && (1..=marks).all(|ahead| s.peek(ahead) == '#')));
        self.at += marks + 1;
    }

    /// `'x'` or `'\n'`; a lifetime is left to the next step as a word.
    fn character(&mut self) {
        if self.peek(1) == '\\' {
            self.at += 3;
            self.skip_while(|s| s.peek(0) != '\'');
            self.skip();
        } else if self.peek(2) == '\'' {
            self.skip();
            self.skip();
            self.skip();
        } else {
            self.skip();
        }
    }
}
