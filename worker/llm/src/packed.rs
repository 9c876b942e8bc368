//! Bodies that a provider or a proxy has packed, though no packed one was asked for.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::error::Failure;

/// What every gzip file begins with, and no JSON text.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A body as it was before it was packed, of at most `limit` bytes; `encoding` is what its header names.
///
/// # Errors
/// It is longer, does not unpack, or is packed in another way.
pub(crate) fn unpacked<'b>(
    body: &'b [u8],
    encoding: Option<&str>,
    limit: usize,
) -> Result<Cow<'b, [u8]>, Failure> {
    let gzip = || read(MultiGzDecoder::new(body), "gzip", limit);
    match encoding {
        _ if body.starts_with(GZIP) => gzip(),
        Some("deflate") if !body.is_empty() => read(ZlibDecoder::new(body), "deflate", limit),
        Some("gzip" | "x-gzip" | "deflate") | None => Ok(body.into()),
        Some(other) => Err(Failure::OtherFormat(format!(
            "it is packed ({other}), which was not asked for: switch that off at the server or gateway"
        ))),
    }
}

fn read<'b>(packed: impl Read, name: &str, limit: usize) -> Result<Cow<'b, [u8]>, Failure> {
    let mut body = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    packed
        .take(bound)
        .read_to_end(&mut body)
        .map_err(|error| Failure::Garbage(format!("it is packed ({name}) and does not unpack: {error}")))?;
    if body.len() > limit { Err(Failure::TooLarge { limit }) } else { Ok(body.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_packed_body_is_read() {
        let body = br#"{"choices": []}"#;
        for (sent, encoding) in [
            (gzip(body), Some("gzip")),
            (gzip(body), Some("x-gzip")),
            (gzip(body), None),
            (gzip(body), Some("br")),
            (zlib(body), Some("deflate")),
            (body.to_vec(), None),
            (body.to_vec(), Some("gzip")),
        ] {
            assert_eq!(&*unpacked(&sent, encoding, 100).unwrap(), body, "{encoding:?}");
        }
        assert_eq!(&*unpacked(b"", Some("deflate"), 100).unwrap(), b"");
    }

    #[test]
    fn a_packed_body_is_bounded_and_a_broken_one_is_named() {
        let bomb = gzip(&vec![b' '; 4 << 20]);
        assert_eq!(unpacked(&bomb, None, 1000), Err(Failure::TooLarge { limit: 1000 }));
        assert_eq!(
            unpacked(&zlib(&[b' '; 1001]), Some("deflate"), 1000),
            Err(Failure::TooLarge { limit: 1000 })
        );
        let text = |body: &[u8], encoding| unpacked(body, encoding, 1000).unwrap_err().to_string();
        let whole = gzip(b"{}");
        assert!(text(&whole[..whole.len() - 9], None).contains("(gzip) and does not unpack"));
        assert!(text(b"\x1b\x05", Some("br")).contains("packed (br), which was not asked for"));
        let other = unpacked(b"\x1b\x05", Some("br"), 1000).unwrap_err();
        assert!(matches!(other, Failure::OtherFormat(_)), "the next one is packed as well: {other:?}");
        assert!(text(b"{}", Some("zstd")).contains("zstd"));
    }
}
