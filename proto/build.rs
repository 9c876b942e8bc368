//! Compiles the protocol without a system `protoc`. Writes to `OUT_DIR` only.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 4] = [
    "k8s_auto_fix/v1/types.proto",
    "k8s_auto_fix/v1/llm.proto",
    "k8s_auto_fix/v1/fleet.proto",
    "k8s_auto_fix/v1/runs.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=k8s_auto_fix");
    let descriptors = protox::compile(FILES, ["."])?;

    let mut public = descriptors.clone();
    for file in &mut public.file {
        // Reflection has no use for comments and places.
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor.bin"), public.encode_to_vec())?;

    tonic_prost_build::configure()
        // Texts and parts are shared slices of the message that carried them, not copies.
        .bytes(".k8s_auto_fix.v1.Document.text")
        .bytes(".k8s_auto_fix.v1.CommitShardRequest.chunk")
        .compile_fds(descriptors)?;
    Ok(())
}
