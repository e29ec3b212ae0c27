//! What a script consists of.

use std::sync::Arc;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text, and whether it was quoted.
    Text(String, bool),
    /// `$NAME` or `${NAME…}`.
    Parameter {
        /// Name, digits or one of `?$#@*!-`.
        name: String,
        /// What is done to its value.
        change: Change,
        /// The word after the operator.
        word: Word,
        /// Inside double quotes.
        quoted: bool,
    },
    /// `$(…)`, and whether it was quoted.
    Substitution(Arc<Command>, bool),
    /// `$((…))`, and whether it was quoted.
    Arithmetic(Word, bool),
}

/// A word: its pieces one after another.
pub type Word = Vec<Part>;

/// What `${NAME…}` does to a value. `colon`: an empty value counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// `${#NAME}`.
    Length,
    /// `-`: the word where there is none.
    Default(bool),
    /// `=`: and so from now on.
    Assign(bool),
    /// `+`: the word where there is one.
    Instead(bool),
    /// `?`: an error where there is none.
    Require(bool),
    /// `#`, `##`, `%`, `%%`: without what the pattern fits.
    Trim {
        /// At the end.
        suffix: bool,
        /// As much as possible.
        longest: bool,
    },
}

/// A redirection.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirection {
    /// Which stream.
    pub stream: u32,
    /// Where to.
    pub to: To,
}

/// Where a stream is led.
#[derive(Debug, Clone, PartialEq)]
pub enum To {
    /// `<`.
    From(Word),
    /// `>`.
    Into(Word),
    /// `>>`.
    Append(Word),
    /// `>&N`, `<&N`, `>&-`.
    Copy(Word),
    /// `<<`.
    Text(Word),
}

/// A command of any form.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Assignments and words.
    Simple(Vec<(String, Word)>, Vec<Word>, Vec<Redirection>),
    /// One with redirections around it.
    Redirected(Box<Command>, Vec<Redirection>),
    /// `a | b`, and whether `!` stands before it.
    Pipeline(Vec<Command>, bool),
    /// `a && b` (true) or `a || b`.
    Both(Box<Command>, bool, Box<Command>),
    /// One after another.
    List(Vec<Command>),
    /// `&`.
    Background(Box<Command>),
    /// Conditions with what to do, and what else.
    If(Vec<(Command, Command)>, Option<Box<Command>>),
    /// Name, words (None: the arguments), body.
    For(String, Option<Vec<Word>>, Box<Command>),
    /// Until (true) or while, condition, body.
    Loop(bool, Box<Command>, Box<Command>),
    /// Word, patterns with what to do.
    Case(Word, Vec<(Vec<Word>, Command)>),
    /// Name, body.
    Function(String, Arc<Command>),
    /// `( )`.
    Subshell(Box<Command>),
}
