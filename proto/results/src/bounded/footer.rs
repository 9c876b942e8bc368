//! The footer of a Parquet file, looked through before it is parsed: the parser of the crate `parquet` skips lists by their
//! count, so that a hundred bytes that announce billions of truth values keep it busy for ten seconds.

use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::page_header::Compact;

/// Bytes behind a footer: its length and the mark.
const TAIL: usize = 8;

/// Looks through the footer of a file, in a time that its bytes bound; returns where it begins. A file that is too short for one
/// is left to its reader, which says so: `None`.
///
/// # Errors
/// When the footer cannot be read, or is not what Thrift's compact protocol allows.
pub(crate) fn check(file: &impl ChunkReader) -> Result<Option<u64>, ParquetError> {
    let Some(tail_at) = file.len().checked_sub(TAIL as u64) else { return Ok(None) };
    let tail = file.get_bytes(tail_at, TAIL)?;
    let Some(length) = tail.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) else {
        return Ok(None);
    };
    let Some(start) = tail_at.checked_sub(u64::from(length)) else { return Ok(None) };
    let footer = file.get_bytes(start, length as usize)?;
    match (Compact { rest: &footer }).structure() {
        Some(()) => Ok(Some(start)),
        None => Err(ParquetError::General("its footer is damaged".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(footer: &[u8]) -> Bytes {
        let length = u32::try_from(footer.len()).unwrap();
        [b"PAR1", footer, &length.to_le_bytes(), b"PAR1"].concat().into()
    }

    #[test]
    fn lists_are_as_long_as_their_bytes() {
        // Field 1: a list of truth values. Their number: three, then four billion.
        assert_eq!(check(&file(&[0x19, 0x31, 1, 2, 1, 0])).unwrap(), Some(4));
        let endless = [0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(check(&file(&endless)).is_err());
        let nested: Vec<u8> = [0x1c].repeat(1000);
        assert!(check(&file(&nested)).is_err());
        assert_eq!(
            check(&Bytes::from_static(b"PAR1")).unwrap(),
            None,
            "its reader says that it is too short"
        );
    }
}
