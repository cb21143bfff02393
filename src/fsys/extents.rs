//! Reading parts of a file one after another, as if nothing lay between them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Reads extents of a file in order.
#[derive(Debug)]
pub struct ExtentReader<'a> {
    file: &'a File,
    extents: std::vec::IntoIter<(u64, u64)>,
    left: u64,
}

impl<'a> ExtentReader<'a> {
    /// Reads these extents, each an offset and a length.
    pub fn new(file: &'a File, extents: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self { file, extents: extents.into_iter().collect::<Vec<_>>().into_iter(), left: 0 }
    }
}

impl Read for ExtentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some((offset, length)) = self.extents.next() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(offset))?;
            self.left = length;
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read_in_order_and_nothing_between_them() {
        let mut file = tempfile::tempfile().expect("writable");
        io::Write::write_all(&mut file, b"abcdefghij").expect("room");
        let read = |extents: &[(u64, u64)]| {
            let mut bytes = Vec::new();
            ExtentReader::new(&file, extents.iter().copied()).read_to_end(&mut bytes).expect("readable");
            bytes
        };
        assert_eq!(read(&[(2, 3), (8, 2)]), b"cdeij");
        assert_eq!(read(&[(0, 0), (9, 1)]), b"j");
        assert_eq!(read(&[]), b"");
        assert_eq!(read(&[(8, 9)]), b"ij", "a file that ends before");
    }
}
