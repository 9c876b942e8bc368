#![doc = include_str!("../README.md")]

pub mod channel;
#[cfg(test)]
mod codegen;
#[cfg(test)]
mod compat;
pub mod convert;
pub mod known;
pub mod secret;
pub mod status;

/// The generated messages and services of package `k8s_auto_fix.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::derive_partial_eq_without_eq,
    clippy::large_enum_variant,
    reason = "generated from the .proto files, which carry the documentation"
)]
pub mod v1 {
    include!("generated/k8s_auto_fix.v1.rs");
}

/// Version of the protocol. It increases with each incompatible change; `Join` is refused unless both ends have the same
/// version.
pub const PROTOCOL_VERSION: u32 = 5;

/// The encoded `FileDescriptorSet` of the package, for the reflection service.
pub const DESCRIPTOR: &[u8] = include_bytes!("generated/descriptor.bin");
