//! Metadata of the volume claim templates of a pod.

use super::super::ops::Ops;
use super::super::walk::{Node, map_at};

/// `clusterName` is no longer a field of metadata; metadata that held nothing else goes too.
pub(super) fn remove_cluster_name(volume: &Node<'_>, out: &mut Ops) {
    const WAY: [&str; 3] = ["ephemeral", "volumeClaimTemplate", "metadata"];
    let Some(metadata) = map_at(volume.fields, &WAY) else { return };
    if !metadata.contains_key("clusterName") {
        return;
    }
    let at = volume.at.join(&WAY);
    out.remove(at.child("clusterName"));
    if metadata.len() == 1 {
        out.remove(at);
    }
}
