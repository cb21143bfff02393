//! Results that are printed as they are found: lines for a person, or the items of one JSON document.
//!
//! A document that has begun ends as one, whatever happens: then `ok` is false and the error stands in it. One that has
//! not begun leaves the error to whoever prints errors.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::Value;

use super::json;
use crate::error::{Error, Result};
use crate::path::printable_json;

/// A result under way.
pub(super) struct Stream {
    out: BufWriter<StdoutLock<'static>>,
    // Schema and name of the list, for a document.
    document: Option<(&'static str, &'static str)>,
    begun: bool,
}

impl Stream {
    /// Begins a result; as a document, `name` is the list that holds the items.
    pub(super) fn new(json: bool, schema: &'static str, name: &'static str) -> Self {
        let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        Self { out, document: json.then_some((schema, name)), begun: false }
    }

    /// Prints an item.
    pub(super) fn item(&mut self, document: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<()> {
        let printed = match self.document {
            Some(_) => {
                let separator = if self.begun { "," } else { "" };
                self.begin().and_then(|()| write!(self.out, "{separator}{}", printable_json(&document().to_string())))
            }
            None => self.out.write_all(text().as_bytes()),
        };
        printed.map_err(closed)
    }

    fn begin(&mut self) -> io::Result<()> {
        let Some((schema, name)) = self.document.filter(|_| !self.begun) else { return Ok(()) };
        self.begun = true;
        write!(self.out, "{{\"schema\":\"{schema}\",\"{name}\":[")
    }

    /// Ends with what is known only now: fields of the document, or text. Findings may have decided the exit status.
    pub(super) fn end(mut self, exit: u8, fields: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<()> {
        let printed = match self.document {
            Some(_) => self.begin().and_then(|()| {
                let fields = printable_json(&fields().to_string());
                // An object without its opening brace continues the one that has begun.
                writeln!(self.out, "],\"ok\":{},\"exit\":{exit},{}", exit == 0, fields.strip_prefix('{').unwrap_or("}"))
            }),
            None => self.out.write_all(text().as_bytes()),
        };
        printed.and_then(|()| self.out.flush()).map_err(closed)
    }

    /// Ends early.
    ///
    /// # Errors
    /// The error, unless it stands in the document already; then its exit status is returned.
    pub(super) fn broken(mut self, error: Error) -> Result<u8> {
        if self.document.is_some() && self.begun {
            let (exit, told) = (error.exit(), json::error(&error).to_string());
            writeln!(self.out, "],\"ok\":false,\"exit\":{exit},\"error\":{}}}", printable_json(&told))
                .map_err(closed)?;
            self.out.flush().map_err(closed)?;
            return Ok(error.exit());
        }
        // What was found is printed before what is wrong.
        self.out.flush().map_err(closed)?;
        Err(error)
    }
}

/// Says that the output takes no more.
pub(super) fn closed(error: io::Error) -> Error {
    Error::environment("print the result", error)
}
