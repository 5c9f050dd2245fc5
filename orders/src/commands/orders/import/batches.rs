//! Reads a file of orders in batches. The same file, start and size of batches give the same batches.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::Error;

/// Maximum size of a batch, in bytes. Four of them are the maximum of a gateway for all bulk creates together.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Maximum length of a line, in bytes. An order has at most 64 KiB of text.
const MAX_LINE: usize = 512 * 1024;

/// Consecutive lines of the file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::orders) struct Batch {
    pub(in crate::commands::orders) rows: Vec<Row>,
    /// Position after the last line, in bytes.
    pub(in crate::commands::orders) end: u64,
    /// Number of the last line, from 1.
    pub(in crate::commands::orders) last_line: u64,
}

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::orders) struct Row {
    /// Number of the line, from 1.
    pub(in crate::commands::orders) line: u64,
    pub(in crate::commands::orders) text: String,
}

/// The batches of a file.
#[derive(Debug)]
pub(in crate::commands::orders) struct Batches {
    reader: BufReader<File>,
    name: String,
    /// Position after the last line that was read.
    offset: u64,
    line: u64,
    most: usize,
    /// A line that did not fit into the previous batch.
    held: Option<(Row, u64)>,
    is_ended: bool,
}

impl Batches {
    /// Opens the file at a position, before which it has `lines` lines.
    pub(in crate::commands::orders) fn open(
        file: &Path,
        offset: u64,
        lines: u64,
        most: u32,
    ) -> Result<Self, Error> {
        let name = file.display().to_string();
        let opened = File::open(file).and_then(|mut file| file.seek(SeekFrom::Start(offset)).map(|_| file));
        let reader = BufReader::new(opened.map_err(|error| unreadable(&name, &error))?);
        Ok(Self { reader, name, offset, line: lines, most: most as usize, held: None, is_ended: false })
    }

    /// Returns the next batch; `None` at the end of the file and after an error.
    pub(in crate::commands::orders) fn next(&mut self) -> Option<Result<Batch, Error>> {
        if self.is_ended {
            return None;
        }
        let batch = self.read();
        self.is_ended = batch.is_err();
        batch.transpose()
    }

    fn read(&mut self) -> Result<Option<Batch>, Error> {
        let mut batch = Batch { rows: Vec::new(), end: self.offset, last_line: self.line };
        let mut bytes = 0;
        while batch.rows.len() < self.most {
            let next = match self.held.take() {
                Some(held) => Some(held),
                None => self.read_line()?,
            };
            let Some((row, end)) = next else { break };
            if bytes + row.text.len() > MAX_BATCH_BYTES && !batch.rows.is_empty() {
                self.held = Some((row, end));
                break;
            }
            bytes += row.text.len() + 1;
            (batch.end, batch.last_line) = (end, row.line);
            if !row.text.is_empty() {
                batch.rows.push(row);
            }
        }
        Ok((!batch.rows.is_empty()).then_some(batch))
    }

    /// Returns the next line without white space at its ends, and the position after it.
    fn read_line(&mut self) -> Result<Option<(Row, u64)>, Error> {
        let mut bytes = Vec::new();
        let mut limited = self.reader.by_ref().take(MAX_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut bytes).map_err(|error| unreadable(&self.name, &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let problem = |problem: &str| {
            Error::usage(format!("line {} of {} {problem}", self.line, self.name))
                .hint(
                "correct the line, remove the state beside the file (.import), and repeat the command within a day with \
                 the --key-prefix that it contains: no order is created twice",
            )
        };
        if read > MAX_LINE {
            return Err(problem("is longer than 512 KiB"));
        }
        self.offset += read as u64;
        let end = self.offset;
        let text = String::from_utf8(bytes).map_err(|_| problem("is not UTF-8"))?;
        Ok(Some((Row { line: self.line, text: text.trim().to_owned() }, end)))
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    Error::usage(format!("--file is {name:?}: it cannot be read: {error}"))
        .hint("give a file with one order as a JSON object in each line")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(content: &str, offset: u64, lines: u64, most: u32) -> Vec<Batch> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.ndjson");
        std::fs::write(&file, content).unwrap();
        let mut batches = Batches::open(&file, offset, lines, most).unwrap();
        std::iter::from_fn(|| batches.next()).map(Result::unwrap).collect()
    }

    fn row(line: u64, text: &str) -> Row {
        Row { line, text: text.to_owned() }
    }

    #[test]
    fn a_batch_continues_where_the_previous_one_ended() {
        let content = "a\n\nb\r\n  c\n\n\nd";
        let all = batches(content, 0, 0, 2);
        assert_eq!(all.len(), 2);
        assert_eq!((&all[0].rows, all[0].last_line), (&vec![row(1, "a"), row(3, "b")], 3));
        assert_eq!((&all[1].rows, all[1].last_line), (&vec![row(4, "c"), row(7, "d")], 7));
        assert_eq!(all[1].end, content.len() as u64);
        assert_eq!(batches(content, all[0].end, all[0].last_line, 2), all[1..]);
        assert_eq!(batches("\n\n", 0, 0, 2), []);
    }

    #[test]
    fn batches_have_a_size() {
        let line = format!("{}\n", "x".repeat(400 * 1024));
        let all = batches(&line.repeat(5), 0, 0, 1_000);
        assert_eq!(all.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(all[1].last_line, 4);
        assert_eq!(all[1].end, line.len() as u64 * 4);
        let again = batches(&line.repeat(5), all[0].end, 2, 1_000);
        assert_eq!(again, all[1..]);
    }

    #[test]
    fn limits_are_documented() {
        use limits_page::{bytes, count, row};
        row("line of an imported file", &bytes(MAX_LINE));
        let batch = format!("{} orders, {}", count(super::super::MAX_BATCH as usize), bytes(MAX_BATCH_BYTES));
        row("batch of an import", &batch);
        row("batches of an import at the same time", &super::super::IN_FLIGHT.to_string());
    }

    #[test]
    fn a_line_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.ndjson");
        std::fs::write(&file, "x".repeat(MAX_LINE + 1)).unwrap();
        let mut batches = Batches::open(&file, 0, 0, 2).unwrap();
        assert!(batches.next().unwrap().unwrap_err().to_string().contains("line 1"));
        assert!(batches.next().is_none());
        assert!(Batches::open(&folder.path().join("none"), 0, 0, 2).is_err());
    }
}
