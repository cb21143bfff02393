//! Reading parts of a file one after another, as if nothing lay between them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Reads extents of a file in order.
#[derive(Debug)]
pub struct ExtentReader<'a, I> {
    file: &'a File,
    extents: I,
    left: u64,
}

impl<'a, I: Iterator<Item = io::Result<(u64, u64)>>> ExtentReader<'a, I> {
    /// Reads these extents, each an offset and a length.
    pub fn new(file: &'a File, extents: I) -> Self {
        Self { file, extents, left: 0 }
    }
}

impl<I: Iterator<Item = io::Result<(u64, u64)>>> Read for ExtentReader<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(extent) = self.extents.next() else { return Ok(0) };
            let (offset, length) = extent?;
            self.file.seek(SeekFrom::Start(offset))?;
            self.left = length;
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// How many bytes are read at once in search of data where there should be none.
const LOOK_BYTES: u64 = 256 << 10;

/// Returns whether ranges of a file of `size` bytes, ascending, hold nothing but zeros: the longest stretch of them that
/// the file system does not call a hole, so that it had to be read; nothing where there is data.
///
/// # Errors
/// The file cannot be read, or ends before; whatever ends the ranges.
pub fn longest_zeros<E: From<io::Error>>(
    mut file: &File,
    ranges: impl IntoIterator<Item = Result<(u64, u64), E>>,
    size: u64,
) -> Result<Option<u64>, E> {
    let holes = super::holes(file, size)?;
    let (mut longest, mut buffer) = (0, Vec::new());
    for range in ranges {
        let (offset, length) = range?;
        let (mut at, end) = (offset, offset.saturating_add(length));
        while at < end {
            let next = holes.get(holes.partition_point(|&(offset, length)| offset + length <= at));
            let stretch = match next {
                Some(&(offset, length)) if offset <= at => {
                    at = end.min(offset + length);
                    continue;
                }
                Some(&(offset, _)) => end.min(offset) - at,
                None => end - at,
            };
            longest = longest.max(stretch);
            file.seek(SeekFrom::Start(at))?;
            let mut left = stretch;
            while left > 0 {
                buffer.resize(usize::try_from(left.min(LOOK_BYTES)).unwrap_or(1), 0);
                file.read_exact(&mut buffer)?;
                if buffer.iter().any(|&byte| byte != 0) {
                    return Ok(None);
                }
                left -= buffer.len() as u64;
            }
            at += stretch;
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(Some(longest))
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
            ExtentReader::new(&file, extents.iter().copied().map(Ok)).read_to_end(&mut bytes).expect("readable");
            bytes
        };
        assert_eq!(read(&[(2, 3), (8, 2)]), b"cdeij");
        assert_eq!(read(&[(0, 0), (9, 1)]), b"j");
        assert_eq!(read(&[]), b"");
        assert_eq!(read(&[(8, 9)]), b"ij", "a file that ends before");
    }

    #[test]
    fn data_where_zeros_should_be_is_found() {
        let mut file = tempfile::tempfile().expect("writable");
        io::Write::write_all(&mut file, b"ab\0\0\0cd").expect("room");
        file.set_len(8 << 20).expect("room");
        let longest = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().copied().map(Ok::<_, io::Error>);
            longest_zeros(&file, ranges, 8 << 20).expect("readable")
        };
        assert_eq!(longest(&[(2, 3)]), Some(3));
        assert!(longest(&[(2, 3), (7, (8 << 20) - 7)]).is_some());
        assert_eq!(longest(&[(1, 3)]), None);
        assert_eq!(longest(&[(4, 1), (6, 100)]), None);
    }
}
