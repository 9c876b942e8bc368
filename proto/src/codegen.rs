//! The generated code is checked in, so that a build needs no protocol compiler: this test generates it anew and compares.
//!
//! After a change of a `.proto` file, `UPDATE_GENERATED=1 cargo test --workspace --lib codegen` writes it.

use std::fs;
use std::path::Path;

use prost::Message;

const FILES: [&str; 4] = [
    "k8s_auto_fix/v1/types.proto",
    "k8s_auto_fix/v1/llm.proto",
    "k8s_auto_fix/v1/fleet.proto",
    "k8s_auto_fix/v1/runs.proto",
];

#[test]
fn the_generated_code_is_that_of_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root]).unwrap();
    let mut public = descriptors.clone();
    for file in &mut public.file {
        // Reflection has no use for comments and places.
        file.source_code_info = None;
    }
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("descriptor.bin"), public.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        // Texts and parts are shared slices of the message that carried them, not copies.
        .bytes(".k8s_auto_fix.v1.Document.text")
        .bytes(".k8s_auto_fix.v1.CommitShardRequest.chunk")
        .compile_fds(descriptors)
        .unwrap();

    for name in ["descriptor.bin", "k8s_auto_fix.v1.rs"] {
        let (generated, kept) = (out.path().join(name), root.join("src/generated").join(name));
        let generated = fs::read(generated).unwrap();
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&kept, &generated).unwrap();
        }
        assert!(
            fs::read(&kept).unwrap() == generated,
            "{} is not what the .proto files generate: UPDATE_GENERATED=1 cargo test --workspace --lib codegen",
            kept.display()
        );
    }
}
