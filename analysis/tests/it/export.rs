//! `export` and `fingerprint`.
