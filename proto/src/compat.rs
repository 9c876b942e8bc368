//! Compares the descriptor with a snapshot of the released protocol, since a field number never changes its meaning.

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

#[test]
fn the_protocol_is_what_was_released() {
    let set = FileDescriptorSet::decode(crate::DESCRIPTOR).unwrap();
    let mut lines = Vec::new();
    for file in &set.file {
        for message in &file.message_type {
            describe(message, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let side = |streaming: bool, name: &str| {
                    format!("{}{}", if streaming { "stream " } else { "" }, name.trim_start_matches('.'))
                };
                lines.push(format!(
                    "rpc {}.{}({}) -> {}",
                    service.name(),
                    method.name(),
                    side(method.client_streaming(), method.input_type()),
                    side(method.server_streaming(), method.output_type()),
                ));
            }
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

fn describe(message: &DescriptorProto, lines: &mut Vec<String>) {
    for field in &message.field {
        let kind = if field.r#type() == Type::Message {
            field.type_name().trim_start_matches('.').to_owned()
        } else {
            field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase()
        };
        lines.push(format!(
            "{}.{} = {} : {} {}",
            message.name(),
            field.name(),
            field.number(),
            field.label().as_str_name().trim_start_matches("LABEL_").to_lowercase(),
            kind
        ));
    }
}
